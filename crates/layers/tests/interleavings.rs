//! Two requests beside each other on one thread, of all fates, in every order of their steps: after
//! each step exactly those are in flight that have begun and not ended, and each is recorded once,
//! under its own outcome and with its own time.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use latency_experiment_flags::{Flag, FlagSet};
use latency_experiment_layers::{Config, Experiments, RouteSource};
use latency_experiment_record::{Milestone, Outcome, Snapshot};
use latency_experiment_testkit::{Fate, FatedService, ManualClock, ScriptedError, interleavings};
use tower::{Layer, Service};

/// Calling it, polling it twice, and the two frames or the end of the body; what is left is dropped
/// in the step where its fate says so, at the latest in the last.
const STEPS: usize = 5;

struct Actor<S: Service<Request<Fate>, Response = Response<B>>, B> {
    fate: Fate,
    with_body: bool,
    service: S,
    future: Option<Pin<Box<S::Future>>>,
    body: Option<Pin<Box<B>>>,
    next: usize,
}

impl<S, B> Actor<S, B>
where
    S: Service<Request<Fate>, Response = Response<B>, Error = ScriptedError>,
    B: Body,
{
    fn new(service: S, fate: Fate, with_body: bool) -> Self {
        Self { fate, with_body, service, future: None, body: None, next: 0 }
    }

    /// The step in which the request ends.
    fn last_step(&self) -> usize {
        match self.fate {
            Fate::PanicInCall => 0,
            Fate::DroppedUnpolled => 1,
            Fate::DroppedPolled | Fate::Error | Fate::PanicInFuture | Fate::Answer(_) => 2,
            _ if !self.with_body => 2,
            Fate::BodyUntouched => 3,
            _ => 4,
        }
    }

    /// Takes the next step. Panics that are meant stay inside of it.
    fn step(&mut self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.go_on()));
        self.next += 1;
    }

    fn go_on(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        match (self.next, self.fate) {
            (0, fate) => {
                let request = Request::get("/").body(fate).unwrap();
                self.future = Some(Box::pin(self.service.call(request)));
            }
            (1, Fate::DroppedUnpolled) | (2, Fate::DroppedPolled) => self.future = None,
            (1 | 2, _) => {
                let Some(future) = &mut self.future else { return };
                if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                    self.future = None;
                    self.body = result.ok().map(|response| Box::pin(response.into_body()));
                }
            }
            (3, Fate::BodyUntouched) => self.body = None,
            (4, fate) => {
                // What panicked is dropped later, as it is in a server.
                if let (Some(body), false) = (&mut self.body, fate == Fate::BodyDropped) {
                    let _ = body.as_mut().poll_frame(&mut context);
                }
                self.body = None;
            }
            _ => {
                let Some(body) = &mut self.body else { return };
                let _ = body.as_mut().poll_frame(&mut context);
            }
        }
    }

    fn is_in_flight(&self) -> bool {
        (1..=self.last_step()).contains(&self.next)
    }
}

fn in_flight(snapshot: &Snapshot) -> u64 {
    snapshot.counters.in_flight.values().sum()
}

/// Requests and their latencies in milliseconds, by outcome.
fn latencies(snapshot: &Snapshot) -> BTreeMap<Outcome, (u64, u128)> {
    let mut latencies = BTreeMap::<_, (u64, u128)>::new();
    for (key, histogram) in &snapshot.series {
        if key.milestone == Milestone::Latency {
            let (count, sum) = latencies.entry(key.outcome).or_default();
            *count += histogram.count();
            *sum += histogram.sums().sum.unwrap() / 1_000_000;
        }
    }
    latencies
}

#[test]
fn two_requests_of_all_fates_in_all_orders_of_their_steps() {
    // The panics that the script wants; all others still fail the test.
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<&str>().copied().unwrap_or_default();
        if !text.contains("the script says so") {
            eprintln!("{info}");
        }
    }));
    let clock = ManualClock::new();
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    let routes = RouteSource::function(|_| Some("/"));
    let config = Config::new(flags).with_route_source(routes).with_clock(clock.clone());
    let experiments = Experiments::new(config);
    let flag = experiments.flag("flag").unwrap();
    let orders = interleavings(&[STEPS, STEPS]);
    let mut expected = BTreeMap::<Outcome, (u64, u128)>::new();
    let mut played = 0;
    for (n, order) in orders.iter().enumerate() {
        for first in Fate::KINDS {
            for second in Fate::KINDS {
                let mut head_only =
                    Actor::new(experiments.layer().layer(FatedService), first, false);
                let mut with_body =
                    Actor::new(experiments.layer().with_body().layer(FatedService), second, true);
                let mut called_ms = [0; 2];
                for (now_ms, &actor) in order.iter().enumerate() {
                    clock.advance(Duration::from_millis(1));
                    let (step, last_head_step, outcome) = match actor {
                        0 => (head_only.next, head_only.last_step(), first.outcome(false)),
                        // The latency is that of the head, also where the body ends the request.
                        _ => (with_body.next, with_body.last_step().min(2), second.outcome(true)),
                    };
                    if step == 0 {
                        called_ms[actor] = now_ms;
                    }
                    if step == last_head_step {
                        let (count, sum) = expected.entry(outcome).or_default();
                        *count += 1;
                        *sum += (now_ms - called_ms[actor]) as u128;
                    }
                    match actor {
                        0 => head_only.step(),
                        _ => with_body.step(),
                    }
                    // Looking at all of them would take minutes.
                    if (n + played) % 64 == 0 {
                        let now = u64::from(head_only.is_in_flight())
                            + u64::from(with_body.is_in_flight());
                        let said = in_flight(&experiments.snapshot(flag));
                        assert_eq!(said, now, "{first:?} and {second:?} in {order:?}");
                    }
                }
                played += 1;
            }
        }
        let snapshot = experiments.snapshot(flag);
        assert_eq!(in_flight(&snapshot), 0, "{order:?}");
        assert_eq!(latencies(&snapshot), expected, "{order:?}");
    }
    let started: u64 = experiments.snapshot(flag).counters.started.values().sum();
    assert_eq!((played, started), (30_492, 2 * 30_492));
}
