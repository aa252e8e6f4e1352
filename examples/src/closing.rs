//! What is printed after the report: the client's view, the count check, and where to look next.

use std::fmt::{self, Display};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use latency_experiment::{Report, Snapshot};

use crate::Error;
use crate::api::TENANT;
use crate::options::Options;
use crate::tally::{Counts, Tally};

/// The client's latencies per route and arm.
struct ClientView<'a>(&'a Counts);

/// Where to look after this run.
pub struct WhereNext<'a>(pub &'a Options);

/// What a service that stays up offers.
pub struct Addresses(pub SocketAddr);

/// Prints how the arms compare.
pub fn print_report(options: &Options, report: &Report) {
    println!("{report}");
    if options.flag_off {
        println!("The flag is off: every request got control and is in no arm.\n");
    } else if options.aa {
        println!("Both arms ran the same code: whatever differs is chance.\n");
    }
}

/// Prints what the client measured, and fails unless the service recorded the very same requests.
pub fn print_client_view(tally: &Tally, snapshot: &Snapshot) -> Result<(), Error> {
    let counts = tally.read();
    println!("{}", ClientView(&counts));
    println!("{}\n", check_counts(&counts, snapshot)?);
    Ok(())
}

/// Writes the files that were asked for.
pub fn write_files(options: &Options, snapshot: &Snapshot, report: &Report) -> Result<(), Error> {
    if let Some(file) = &options.snapshot {
        write_file(file, &snapshot.to_json())?;
    }
    if let Some(file) = &options.report {
        write_file(file, &serde_json::to_string_pretty(report)?)?;
    }
    Ok(())
}

/// That the service recorded exactly the requests that the client sent, in words, or what differs.
fn check_counts(counts: &Counts, snapshot: &Snapshot) -> Result<String, Error> {
    let Counts { sent, responses, unanswered, .. } = *counts;
    let started: u64 = snapshot.counters.started.values().sum();
    let recorded = snapshot.series.values().fold(0, |sum, histogram| sum + histogram.count());
    if (started, recorded, responses) == (sent, sent, sent) {
        let [sent, recorded] = [sent, recorded].map(grouped);
        return Ok(format!(
            "The client sent {sent} requests, the service recorded {recorded}: all of them."
        ));
    }
    let why = match &counts.first_failure {
        Some(failure) => format!("{unanswered} had no response; the first one: {failure}"),
        None => "did anybody else send requests?".to_owned(),
    };
    Err(format!(
        "the client sent {sent} requests and got {responses} responses, the service started \
         {started} and recorded {recorded}: {why}"
    )
    .into())
}

fn write_file(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).map_err(|error| format!("can't write {}: {error}", file.display()).into())
}

/// A number with a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Display for ClientView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "The same run, measured by the client: from the moment a request was due to the last byte\n\
             of its response. Beside the service's time it has the way there and back, and waiting\n\
             for a core."
        )?;
        let width = self.0.latencies.keys().map(|(route, _)| route.len()).max().unwrap_or(0);
        writeln!(
            f,
            "  {:width$}  {:9}  {:>7} {:>9} {:>9} {:>9}",
            "", "", "n", "p50", "p95", "p99"
        )?;
        let mut last = "";
        for ((route, arm), latencies) in &self.0.latencies {
            let shown = if *route == last { "" } else { route };
            last = route;
            let arm = arm.as_deref().unwrap_or("");
            write!(f, "  {shown:width$}  {arm:9}  {:>7}", grouped(latencies.len()))?;
            for quantile in [0.5, 0.95, 0.99] {
                let ms = latencies.value_at_quantile(quantile) as f64 / 1e6;
                write!(f, " {:>9}", format!("{ms:.2} ms"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Display for WhereNext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { snapshot, report, aa, serve, .. } = self.0;
        writeln!(f, "Where to look next")?;
        let mut line = |what: &str, text: &str| writeln!(f, "  {what:<28}  {text}");
        let again = "cargo run --release --example cached_whitelist --";
        if let Some(report) = report {
            line("the report as JSON", &report.display().to_string())?;
        }
        if let Some(snapshot) = snapshot {
            let snapshot = snapshot.display();
            line("everything recorded", &snapshot.to_string())?;
            line(
                "  read it again",
                &format!("cargo run -p latency-experiment-cli -- report {snapshot}"),
            )?;
        } else {
            line("keep what was recorded", &format!("{again} --snapshot s.json"))?;
        }
        if !aa {
            line("both arms the same code", &format!("{again} --aa"))?;
        }
        if !serve {
            line("stay up, with /metrics", &format!("{again} --serve"))?;
        }
        line("the code behind this", "examples/cached_whitelist.rs")?;
        line("your own service", "README.md")
    }
}

impl Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = format!("http://{}", self.0);
        writeln!(f, "Service    {base}, until Ctrl-C; then it prints the report")?;
        writeln!(f, "Try        curl -i -H '{TENANT}: 1' {base}/api/v1/categories")?;
        writeln!(f, "Metrics    {base}/metrics")?;
        writeln!(f, "Report     {base}/experiments/report.json")?;
        write!(f, "Snapshot   {base}/experiments/snapshot.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
