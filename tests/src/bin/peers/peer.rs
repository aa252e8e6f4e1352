//! A middleware under comparison, and what it tells of a request.

use latency_experiment_tests::{Stack, Subject};

/// A middleware.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The package that it is from.
    pub(crate) package: &'static str,
    /// The servers that its documentation names; all, when it is for any Tower service.
    pub(crate) stacks: &'static [Stack],
    /// Sets it up anew.
    pub(crate) instrument: fn(Stack) -> Instrument,
}

/// One instance, and the way to what it recorded.
pub(crate) struct Instrument {
    pub(crate) subject: Subject,
    pub(crate) read: Box<dyn Fn() -> Reading>,
}

/// What was recorded since the instrument was made.
pub(crate) enum Reading {
    /// Requests with their labels, and those that are said to be in flight.
    Requests { records: Vec<Record>, active: Option<i64> },
    /// Only those that are said to be in flight.
    Gauge(i64),
    /// Only what was dropped early: before the head, and with the body.
    Drops { before_head: u64, body: u64 },
}

/// Requests with the same labels.
pub(crate) struct Record {
    pub(crate) count: u64,
    pub(crate) told: Told,
    /// Names and values.
    pub(crate) labels: Vec<(String, String)>,
}

/// What the labels of a request tell of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was answered, and not with an error.
    Success,
    Failure,
    /// There is no status and no error: that is how it can be told from the others.
    Nothing,
}

impl Told {
    pub(crate) fn by(status: Option<&str>, error: Option<&str>) -> Self {
        let status = status.and_then(|status| status.parse::<u16>().ok());
        match (status, error) {
            (Some(..400), None) => Self::Success,
            (None, None) => Self::Nothing,
            _ => Self::Failure,
        }
    }
}
