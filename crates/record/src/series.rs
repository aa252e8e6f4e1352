//! What identifies a series.

use std::fmt;

/// How a request ended. Every started request ends in exactly one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The service answered; for gRPC with status OK.
    Completed,
    /// The service answered that the request was wrong: HTTP 4xx and the gRPC codes that mean it.
    ClientError,
    /// The service answered that it failed: HTTP 5xx and the gRPC codes that mean it.
    ServerError,
    /// The service returned `Err` in place of a response.
    Failed,
    /// The future was dropped before the response head: the client went away, or a timeout
    /// outside the layer struck. Right-censored: the latency is at least what was recorded.
    Cancelled,
    /// The service panicked in `call` or `poll`. Right-censored.
    Panicked,
    /// The body was dropped before its end; only seen when bodies are measured.
    Aborted,
}

impl Outcome {
    /// All outcomes; the position of each is its [`index`](Self::index).
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::ClientError,
        Self::ServerError,
        Self::Failed,
        Self::Cancelled,
        Self::Panicked,
        Self::Aborted,
    ];

    /// The position in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in snapshots and metrics, such as `client_error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Aborted => "aborted",
        }
    }

    /// The outcome with this word, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a series measures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Milestone {
    /// Call to response head built.
    Latency,
    /// Call to the end of the body.
    Duration,
    /// Time spent inside `poll`.
    Busy,
    /// A named unit of work inside the request.
    Section(String),
}

impl Milestone {
    /// The milestone with this text, if there is one: `latency`, `duration`, `busy` or
    /// `section:NAME` with a name that is not empty.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "latency" => Some(Self::Latency),
            "duration" => Some(Self::Duration),
            "busy" => Some(Self::Busy),
            _ => match text.strip_prefix("section:") {
                Some(name) if !name.is_empty() => Some(Self::Section(name.to_owned())),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency => f.write_str("latency"),
            Self::Duration => f.write_str("duration"),
            Self::Busy => f.write_str("busy"),
            Self::Section(name) => write!(f, "section:{name}"),
        }
    }
}

/// Names that stand where an arm stands but are no arm of the experiment.
///
/// They may appear in series, never among the arms or in the assigned counts. The analysis skips
/// them.
pub mod reserved {
    /// Not in the experiment: outside the coverage, disabled, or without a subject. Served control.
    pub const OUTSIDE: &str = "_outside";
    /// Sent to a variation by an override or a forcing rule.
    pub const FORCED: &str = "_forced";
    /// Served by an arm in the first fifth of a switchback block.
    pub const WASHOUT: &str = "_washout";
    /// All reserved names, in the order in which tables index them.
    pub const ALL: [&str; 3] = [OUTSIDE, FORCED, WASHOUT];
    /// The route of requests that no route matched.
    pub const UNMATCHED: &str = "_unmatched";
    /// The route of series beyond the bound of the table.
    pub const OVERFLOW: &str = "_overflow";
    /// The size class of a response whose size is not known.
    pub const UNKNOWN_SIZE: &str = "unknown";

    /// Whether the name is one of [`ALL`].
    pub fn is_reserved(arm: &str) -> bool {
        ALL.contains(&arm)
    }
}

/// What identifies a series within one experiment and epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// An arm of the experiment, or one of the [`reserved`] names.
    pub arm: String,
    /// The route, such as `GET /api/v1/categories`.
    pub route: String,
    /// The size class, such as `0-500kB`, or `unknown`.
    pub size: String,
    /// How the requests of the series ended.
    pub outcome: Outcome,
    /// What the series measures.
    pub milestone: Milestone,
    /// Whether the requests of the series consulted the flag.
    pub exposed: bool,
    /// The random group of a sticky subject; absent when requests are the subjects.
    pub group: Option<u32>,
    /// The switchback block; absent outside switchback experiments.
    pub block: Option<u64>,
}

impl SeriesKey {
    /// What names the series in a message.
    pub(crate) fn describe(&self) -> String {
        let Self { arm, route, size, outcome, .. } = self;
        format!("series {{arm: {arm}, route: {route}, size: {size}, outcome: {outcome}}}")
    }
}
