//! What a layer costs in a real server.

use std::io;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Parser;
use latency_experiment_benches::end_to_end::{self, EndToEnd};
use latency_experiment_benches::table;
use latency_experiment_benches::target::{Bound, Target};

/// Processor time that a server has more per request with a layer than without.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON document with the medians of every router.
    #[arg(long)]
    json: bool,
    /// How many rounds each router has.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How often to start anew when the control says that the machine was too noisy.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    attempts: u8,
    /// Be the server.
    #[arg(long, hide = true)]
    serve: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.serve { end_to_end::serve().map(|()| true) } else { run(&arguments) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let mut measured = measure(arguments)?;
    for _ in 1..arguments.attempts {
        if !measured.is_void() {
            break;
        }
        measured = measure(arguments)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured).expect("it is plain data"));
    } else {
        print(&measured);
    }
    Ok(!measured.is_void())
}

/// A server that ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(arguments: &Arguments) -> io::Result<EndToEnd> {
    let server = Command::new(std::env::current_exe()?)
        .arg("--serve")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    end_to_end::measure(&mut Server(server).0, arguments.rounds.into())
}

fn print(measured: &EndToEnd) {
    let rows = measured.routers.iter().map(|router| {
        vec![
            router.name.clone(),
            format!("{:.2}", router.cpu_ns / 1e3),
            format!("{:.2}", router.above_bare_ns / 1e3),
            format!("{:.2}", router.added_cpu_ns / 1e3),
            format!("{:.0}", router.requests_per_second),
            format!("{:.0}", router.median_latency_ns / 1e3),
        ]
    });
    let header =
        ["router", "CPU, µs", "above bare", "above no-op", "requests / s", "median latency, µs"];
    println!("Per request, of a server with one thread on loopback:\n");
    println!("{}\n", table::table(&header, rows));
    println!("A/A control: {:.3}, which must be within 0.97 and 1.03.", measured.control);
    if measured.is_void() {
        println!("VOID: the machine was too noisy; nothing above means anything.");
    } else if let Some(ratio) = measured.ratio("axum/axum-prometheus", "axum/ours") {
        let name = "added CPU, axum-prometheus / ours";
        let (gate, aim) = (Bound::AtLeast(6.0), Bound::AtLeast(10.0));
        println!("\n{}", table::targets(&[Target::new(name, ratio, gate, Some(aim))]));
    }
}
