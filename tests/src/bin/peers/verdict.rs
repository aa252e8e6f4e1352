//! Whether what was recorded of a cell is what happened in it.

use std::fmt;

use latency_experiment_record::Outcome;
use latency_experiment_tests::{Ending, Stack, outcomes};

use crate::peer::{Reading, Told};

/// What is to be said of a cell. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Counted once, told as what it was.
    Right,
    /// Counted once, and told by its head: that the body failed is not seen.
    HeadOnly,
    /// Counted once, and told by its HTTP status: that of gRPC is not looked at.
    HttpStatus,
    /// Counted once, and a failure only by the lack of a status.
    NoStatus,
    /// A panic is told as a drop.
    PanicAsDrop,
    /// It tells of a body that the server had no use for, of a response that was complete.
    UnusedBody,
    /// It alarms at a request that ended as it should.
    FalseAlarm,
    /// It does not see what it is for.
    Missed,
    /// A label has a value that the client made up.
    ClientLabel,
    /// A failure is told as a success, or the other way round.
    WrongOutcome,
    /// Not counted.
    Lost,
    /// Counted more than once.
    Double,
    /// In flight for ever.
    Leak,
    /// Not counted, and in flight for ever.
    LostAndLeak,
}

impl Verdict {
    /// Whether it is a mistake, not a choice.
    pub(crate) fn is_wrong(self) -> bool {
        !matches!(
            self,
            Self::Right
                | Self::HeadOnly
                | Self::HttpStatus
                | Self::NoStatus
                | Self::PanicAsDrop
                | Self::UnusedBody
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "ok",
            Self::HeadOnly => "head only",
            Self::HttpStatus => "HTTP status",
            Self::NoStatus => "no status",
            Self::PanicAsDrop => "panic as drop",
            Self::UnusedBody => "unused body",
            Self::FalseAlarm => "**false alarm**",
            Self::Missed => "**missed**",
            Self::ClientLabel => "**client's label**",
            Self::WrongOutcome => "**wrong outcome**",
            Self::Lost => "**lost**",
            Self::Double => "**double**",
            Self::Leak => "**gauge leaks**",
            Self::LostAndLeak => "**lost, gauge leaks**",
        })
    }
}

pub(crate) fn of(stack: Stack, ending: Ending, reading: &Reading) -> Verdict {
    let (head_only, whole_body) = outcomes(stack, ending);
    let count = |filed: &[(Outcome, &str)], wanted: Outcome| {
        filed.iter().filter(|(outcome, _)| *outcome == wanted).count() as u64
    };
    match reading {
        Reading::Gauge(active) => {
            if *active == 0 {
                Verdict::Right
            } else {
                Verdict::Leak
            }
        }
        Reading::Drops { before_head, body } => {
            let cancelled = count(&whole_body, Outcome::Cancelled);
            // An event stream has no end but this: to tell of it is right, and so is not to.
            let aborted = count(&whole_body, Outcome::Aborted);
            let at_most = aborted + u64::from(ending == Ending::EventStream);
            let panicked = count(&whole_body, Outcome::Panicked);
            if before_head + body > cancelled + at_most && panicked > 0 {
                Verdict::PanicAsDrop
            } else if *before_head <= cancelled && *body > at_most && has_unused_body(ending) {
                Verdict::UnusedBody
            } else if *before_head > cancelled || *body > at_most {
                Verdict::FalseAlarm
            } else if *before_head < cancelled || *body < aborted {
                Verdict::Missed
            } else {
                Verdict::Right
            }
        }
        Reading::Requests { records, active } => {
            let counted: u64 = records.iter().map(|record| record.count).sum();
            let leaks = active.is_some_and(|active| active != 0);
            if counted < ending.requests() {
                return if leaks { Verdict::LostAndLeak } else { Verdict::Lost };
            }
            if leaks {
                return Verdict::Leak;
            }
            if counted > ending.requests() {
                return Verdict::Double;
            }
            let told = |what| -> u64 {
                let such = records.iter().filter(|record| record.told == what);
                such.map(|record| record.count).sum()
            };
            let successes = told(Told::Success);
            let by_head = count(&head_only, Outcome::Completed);
            let by_body = count(&whole_body, Outcome::Completed);
            let is_right = successes == by_head || successes == by_body;
            if ending == Ending::Unmatched && !made_up_labels(reading).is_empty() {
                Verdict::ClientLabel
            } else if !is_right && has_grpc_status_only(stack, ending) {
                Verdict::HttpStatus
            } else if !is_right {
                Verdict::WrongOutcome
            } else if told(Told::Nothing) > 0 {
                Verdict::NoStatus
            } else if successes == by_body {
                Verdict::Right
            } else {
                Verdict::HeadOnly
            }
        }
    }
}

/// Whether the handler answers with a body of which the server sends nothing, or which ends with
/// trailers and does not say so by `is_end_stream`.
fn has_unused_body(ending: Ending) -> bool {
    matches!(ending, Ending::Head | Ending::NoContent | Ending::NotModified | Ending::Trailers)
}

/// Whether the error is one of gRPC, with HTTP status 200.
fn has_grpc_status_only(stack: Stack, ending: Ending) -> bool {
    stack.is_grpc()
        && matches!(ending, Ending::ClientError | Ending::ServerError | Ending::Unmatched)
}

/// The names of labels that have what only the client knows: its path, method or host.
pub(crate) fn made_up_labels(reading: &Reading) -> Vec<String> {
    let Reading::Requests { records, .. } = reading else { return Vec::new() };
    let labels = records.iter().flat_map(|record| &record.labels);
    let made_up = labels.filter(|(_, value)| {
        ["31337", "cells.test"].iter().any(|theirs| value.to_lowercase().contains(theirs))
    });
    made_up.map(|(name, _)| name.clone()).collect()
}
