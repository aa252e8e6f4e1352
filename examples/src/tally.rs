//! What the client measured: a witness that shares no code with the experiment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// How one request ended for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A response, read to its last byte.
    Response {
        /// The HTTP status.
        status: u16,
        /// The arm that the service named, where it did.
        arm: Option<String>,
    },
    /// None: the connection failed, or it took too long.
    None {
        /// What went wrong.
        reason: String,
    },
}

/// Requests of one route and arm.
type Key = (&'static str, Option<String>);

/// Counts and latencies so far. Written by the client, read by the progress bar.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

/// What a [`Tally`] holds.
#[derive(Default)]
pub struct Counts {
    /// Requests that were sent.
    pub sent: u64,
    /// Responses, whatever their status.
    pub responses: u64,
    /// Responses with a status of 500 or more.
    pub server_errors: u64,
    /// Requests that got no response.
    pub unanswered: u64,
    /// Why the first of those got none.
    pub first_failure: Option<String>,
    /// Nanoseconds from the scheduled time to the last byte.
    pub latencies: BTreeMap<Key, Histogram<u64>>,
}

impl Tally {
    /// Counts a request that is being sent.
    pub(crate) fn sent(&self) {
        self.read().sent += 1;
    }

    /// Counts the end of a request, `latency` after it was due.
    pub(crate) fn ended(&self, route: &'static str, latency: Duration, answer: Answer) {
        let mut counts = self.read();
        match answer {
            Answer::Response { status, arm } => {
                counts.responses += 1;
                counts.server_errors += u64::from(status >= 500);
                let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                let histogram = counts.latencies.entry((route, arm)).or_insert_with(empty);
                histogram.saturating_record(latency_ns);
            }
            Answer::None { reason } => {
                counts.unanswered += 1;
                counts.first_failure.get_or_insert(reason);
            }
        }
    }

    /// The counts as they are now.
    pub fn read(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Requests that have ended, one way or the other.
    pub fn ended(&self) -> u64 {
        self.responses + self.unanswered
    }

    /// Per arm that the service named, the latencies of all routes together.
    pub fn by_arm(&self) -> BTreeMap<&str, Histogram<u64>> {
        let mut arms = BTreeMap::new();
        for ((_, arm), histogram) in &self.latencies {
            let Some(arm) = arm else { continue };
            let all = arms.entry(arm.as_str()).or_insert_with(empty);
            *all += histogram;
        }
        arms
    }
}

/// Up to a minute, three significant digits.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_that_was_sent_ends_once() {
        let tally = Tally::default();
        let response =
            |status, arm: Option<&str>| Answer::Response { status, arm: arm.map(Into::into) };
        for (ms, answer) in [
            (1, response(200, Some("control"))),
            (3, response(404, Some("control"))),
            (5, response(503, Some("variation"))),
            (7, response(200, None)),
            (9, Answer::None { reason: "refused".to_owned() }),
            (9, Answer::None { reason: "timed out".to_owned() }),
        ] {
            tally.sent();
            tally.ended("GET /", Duration::from_millis(ms), answer);
        }
        let counts = tally.read();
        assert_eq!((counts.sent, counts.ended()), (6, 6));
        assert_eq!((counts.responses, counts.server_errors, counts.unanswered), (4, 1, 2));
        assert_eq!(counts.first_failure.as_deref(), Some("refused"));
        let arms = counts.by_arm();
        assert_eq!(arms.keys().copied().collect::<Vec<_>>(), ["control", "variation"]);
        assert_eq!((arms["control"].len(), arms["variation"].len()), (2, 1));
        assert!((2_990_000..=3_010_000).contains(&arms["control"].max()));
    }
}
