//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;

/// A catalogue service whose `cached_whitelist` flag is a latency experiment: half of the requests
/// that need a whitelist query SQLite for it, the other half read a cache in front of that query.
///
/// Starts the service, sends it requests over loopback, and prints how the two compare.
#[derive(Clone, Debug, Parser)]
#[command(name = "cached_whitelist", version)]
pub struct Options {
    /// How many requests to send.
    #[arg(long, value_name = "N", default_value_t = 12_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub requests: u64,

    /// Requests per second on average. They arrive at random moments (Poisson).
    #[arg(long, value_name = "N", default_value_t = 400.0, value_parser = rate)]
    pub rate: f64,

    /// What decides arrivals and the mix of routes. The arms are drawn from random request IDs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Switch the flag off: every request gets control, and nothing is compared.
    #[arg(long)]
    pub flag_off: bool,

    /// A/A test: both arms run the same costly code, so that no difference should be found.
    #[arg(long, conflicts_with = "flag_off")]
    pub aa: bool,

    /// Write everything that was recorded to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,

    /// Write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Send no requests: stay up for yours until Ctrl-C.
    #[arg(long, conflicts_with_all = ["requests", "rate", "seed"])]
    pub serve: bool,
}

impl Options {
    /// What would fail only after the load, found before it.
    pub fn check(&self) -> Result<(), String> {
        for (option, file) in [("--snapshot", &self.snapshot), ("--report", &self.report)] {
            let Some(file) = file else { continue };
            let folder = match file.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            if !folder.is_dir() {
                return Err(format!(
                    "{option} {}: no such folder: {}",
                    file.display(),
                    folder.display()
                ));
            }
            if file.is_dir() {
                return Err(format!("{option} {}: is a folder, not a file", file.display()));
            }
        }
        Ok(())
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().unwrap_or(f64::NAN);
    // Below, a gap would not fit into a `Duration`; above, nobody could keep the schedule.
    if (0.001..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("must be a number from 0.001 to 1000000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let options = Options::try_parse_from([&["cached_whitelist"], arguments].concat());
        options.map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_checked_when_they_are_read() {
        let defaults = parse(&[]).unwrap();
        assert!(
            defaults.requests as f64 / defaults.rate < 40.0,
            "a first run takes less than a minute"
        );
        for (arguments, problem) in [
            (&["--requests", "0"][..], "0 is not in 1..="),
            (&["--requests", "many"], "'many'"),
            (&["--rate", "0"], "from 0.001 to 1000000"),
            (&["--rate=-5"], "from 0.001 to 1000000"),
            (&["--rate", "NaN"], "from 0.001 to 1000000"),
            (&["--listen", "8080"], "'8080'"),
            (&["--serve", "--rate", "5"], "cannot be used with"),
            (&["--aa", "--flag-off"], "cannot be used with"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(problem), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn files_that_could_not_be_written_are_found_before_the_load() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        assert_eq!(parse(&["--report", "report.json"]).unwrap().check(), Ok(()));
        assert_eq!(parse(&["--report", &format!("{folder}/r.json")]).unwrap().check(), Ok(()));
        let error = parse(&["--report", &format!("{folder}/no/r.json")]).unwrap().check();
        assert!(error.unwrap_err().contains("no such folder"));
        let error = parse(&["--snapshot", folder]).unwrap().check();
        assert!(error.unwrap_err().contains("is a folder"));
    }
}
