//! Shows a load while it runs: a bar on a terminal, a line every few seconds elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, interval};

use crate::Error;
use crate::load::Load;
use crate::tally::Counts;

const REFRESH: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(5);

/// Waits until the load has ended, and shows how it goes on standard error.
pub async fn watch(mut load: Load, requests: u64) -> Result<Load, Error> {
    let terminal = std::io::stderr().is_terminal();
    let bar = if terminal { bar(requests) } else { ProgressBar::hidden() };
    let begin = Instant::now();
    let mut refresh = interval(if terminal { REFRESH } else { LINE });
    refresh.tick().await;
    loop {
        tokio::select! {
            done = load.finish() => {
                bar.finish_and_clear();
                return done.map(|()| load);
            }
            _ = refresh.tick() => {
                let (ended, status) = {
                    let counts = load.tally.read();
                    (counts.ended(), status(&counts, begin.elapsed()))
                };
                if terminal {
                    bar.set_position(ended);
                    bar.set_message(status);
                } else {
                    eprintln!("{ended} of {requests} requests: {status}");
                }
            }
        }
    }
}

fn bar(requests: u64) -> ProgressBar {
    // Two lines, so that both fit into 80 columns.
    let template = "{bar:40.cyan/dim} {human_pos} of {human_len} requests, {eta} left\n{msg}";
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    ProgressBar::new(requests).with_style(style)
}

/// Rate, requests in flight, and the latencies that the client has seen so far in each arm.
fn status(counts: &Counts, elapsed: Duration) -> String {
    let rate = counts.ended() as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = format!("{rate:.0}/s, {} in flight", counts.sent - counts.ended());
    if counts.unanswered + counts.server_errors > 0 {
        let _ = write!(text, ", {} errors", counts.unanswered + counts.server_errors);
    }
    for (arm, latencies) in counts.by_arm() {
        let [p50, p99] = [0.5, 0.99].map(|q| latencies.value_at_quantile(q) as f64 / 1e6);
        let _ = write!(text, " | {arm} p50 {p50:.1} p99 {p99:.1} ms");
    }
    text
}
