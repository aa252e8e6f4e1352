//! The cost of a layer in a real server: what the processor time of a server per request grows by.
//!
//! One process serves every router on a port of its own; another one, the load generator, sends
//! requests over loopback, to one port after the other in random order, round by round. The server
//! has one thread, whose processor time the kernel accounts in nanoseconds. A cost is the difference
//! to the bare router within the same round, or to the one with a layer that does nothing: axum boxes
//! its routes for any layer at all. The bare router is there twice: when the two differ,
//! the machine was too noisy and the run is void.

mod client;
mod server;

use std::io;
use std::process::Child;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::tables::LogNormal;
use client::Client;

pub use server::serve;

/// The second bare router.
pub const CONTROL: &str = "axum/bare, again";
/// How far the control may be from 1.
const TOLERANCE: f64 = 0.03;
/// Requests per round and router.
const BATCH: u32 = 2_000;

/// What a run says.
#[derive(Debug, Serialize)]
pub struct EndToEnd {
    /// Processor time of the second bare router in terms of the first.
    pub control: f64,
    /// The routers, the bare one first.
    pub routers: Vec<RouterCost>,
}

/// What is said of one router: medians over the rounds.
#[derive(Debug, Serialize)]
pub struct RouterCost {
    /// Its case.
    pub name: String,
    /// Processor time of the server per request, in nanoseconds.
    pub cpu_ns: f64,
    /// The same above the bare router.
    pub above_bare_ns: f64,
    /// The same above the router with a layer that does nothing, which is what a layer adds.
    pub added_cpu_ns: f64,
    /// Requests per second, as the load generator saw them.
    pub requests_per_second: f64,
    /// Half of the requests took longer, in nanoseconds. The generator keeps eight under way.
    pub median_latency_ns: f64,
}

/// What one round of one router took.
#[derive(Clone, Copy, Debug)]
struct Round {
    cpu: Duration,
    wall: Duration,
    median_latency: Duration,
}

impl EndToEnd {
    /// Whether the machine was too noisy.
    pub fn is_void(&self) -> bool {
        (self.control - 1.0).abs() > TOLERANCE
    }

    /// The added processor time of one router in terms of another's.
    pub fn ratio(&self, numerator: &str, denominator: &str) -> Option<f64> {
        let added = |name| {
            let router = self.routers.iter().find(|router| router.name == name)?;
            Some(router.added_cpu_ns)
        };
        Some(added(numerator)? / added(denominator)?)
    }
}

/// Measures against a server that [`serve`] runs in this process.
pub fn measure(server: &mut Child, rounds: usize) -> io::Result<EndToEnd> {
    let (thread, mut clients) = client::connect(server)?;
    let mut taken: Vec<Vec<Round>> = vec![Vec::with_capacity(rounds); clients.len()];
    for client in &mut clients {
        client.send(2 * BATCH)?;
    }
    let mut random = LogNormal::new(u64::from(server.id()));
    for _ in 0..rounds {
        let mut order: Vec<_> = (0..clients.len()).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, (random.next_u64() % (place as u64 + 1)) as usize);
        }
        for position in order {
            taken[position].push(round(&mut clients[position], &thread)?);
        }
    }
    Ok(summary(&clients, &taken))
}

fn round(client: &mut Client, thread: &client::ServerThread) -> io::Result<Round> {
    let (cpu, start) = (thread.cpu()?, clock::now());
    let mut latencies = client.send(BATCH)?;
    let wall = clock::now().duration_since(start);
    latencies.sort_unstable();
    Ok(Round {
        cpu: thread.cpu()?.saturating_sub(cpu),
        wall,
        median_latency: latencies[latencies.len() / 2],
    })
}

fn summary(clients: &[Client], taken: &[Vec<Round>]) -> EndToEnd {
    let per_request = |round: &Round| round.cpu.as_secs_f64() * 1e9 / f64::from(BATCH);
    let of = |name: &str| {
        let position = clients.iter().position(|client| client.name == name);
        &taken[position.unwrap_or_default()]
    };
    let (bare, no_op) = (of("axum/bare"), of("axum/noop"));
    let above = |rounds: &[Round], base: &[Round]| {
        let pairs = rounds.iter().zip(base);
        median(pairs.map(|(round, base)| per_request(round) - per_request(base)))
    };
    let routers = clients.iter().zip(taken).map(|(client, rounds)| {
        let median_of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value));
        RouterCost {
            name: client.name.clone(),
            cpu_ns: median_of(&per_request),
            above_bare_ns: above(rounds, bare),
            added_cpu_ns: above(rounds, no_op),
            requests_per_second: median_of(&|round| f64::from(BATCH) / round.wall.as_secs_f64()),
            median_latency_ns: median_of(&|round| round.median_latency.as_secs_f64() * 1e9),
        }
    });
    let control = of(CONTROL).iter().zip(bare);
    EndToEnd {
        control: median(control.map(|(again, bare)| per_request(again) / per_request(bare))),
        routers: routers.collect(),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
