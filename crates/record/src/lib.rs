//! Latency histograms per arm and segment: recorded without locks, merged into snapshots,
//! exchanged as JSON.
//!
//! ```
//! use jiff::Timestamp;
//! use latency_experiment_record::*;
//!
//! let recorder = Recorder::new(Limits::default(), Timestamp::now());
//! let (experiment, _) = recorder.register(Experiment {
//!     name: "cached_whitelist".to_owned(),
//!     epoch: 1,
//!     fingerprint: Fingerprint(0x5eed),
//!     control: "control".to_owned(),
//!     arms: ["control", "variation"].map(|name| Arm { name: name.to_owned(), weight: 1 }).into(),
//!     subject: Subject::RequestId,
//!     coverage_bp: 10_000,
//! });
//! // Once per route and series; the IDs are what the request path keeps.
//! let started = recorder.started_counters(experiment, "GET /api/v1/categories");
//! let series = recorder.series(experiment, SeriesKey {
//!     arm: "control".to_owned(),
//!     route: "GET /api/v1/categories".to_owned(),
//!     size: "0-500kB".to_owned(),
//!     outcome: Outcome::Completed,
//!     milestone: Milestone::Latency,
//!     exposed: true,
//!     group: None,
//!     block: None,
//! });
//!
//! // Once per request: no lock, no allocation, no cache line that another thread writes.
//! let writer = recorder.writer();
//! writer.started(started, ArmId::arm(0));
//! writer.record(series, 1_234_567);
//!
//! let snapshot = recorder.snapshot(experiment, Timestamp::now());
//! assert_eq!(snapshot.counters.started["control"], 1);
//! let histogram = snapshot.series.values().next().unwrap();
//! assert_eq!((histogram.count(), histogram.sums().sum), (1, Some(1_234_567)));
//! assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
//! ```
//!
//! | type | job |
//! |---|---|
//! | [`Recorder`] | records, from any thread, and takes snapshots |
//! | [`Writer`], [`WriterGuard`] | writes the calling thread's tables |
//! | [`Histogram`] | holds the counts of one series |
//! | [`Snapshot`] | holds all series of one experiment and epoch; merges, subtracts, JSON |
//! | [`ThresholdFreeze`] | freezes thresholds from the first requests and counts those after |
//! | [`IntervalRing`] | makes intervals out of successive snapshots |
//! | [`Clock`] | how time comes in |
//!
//! # Guarantees
//!
//! - Integer nanoseconds, 128 buckets per octave: at most 0.78 % wide, exact below 256 ns, up to
//!   68.7 s; above that one overflow bucket, never lost.
//! - No count is lost or made up: not by a snapshot at any moment, not by threads that come and
//!   go, not by 2³² values in one bucket. The count of a series is the sum of its buckets.
//! - Memory is bounded by [`Limits`]; what is beyond a bound is still counted, in less detail, and
//!   the snapshot says how much.
//! - The steady state neither allocates nor locks. The first touch of a thread, a series or an
//!   octave allocates; one value in 2²³ at the very least, and each above 68.7 s, takes a lock
//!   that only a snapshot could hold.
//!
//! # What it does not do
//!
//! It keeps no raw values, forgets nothing by itself, and reads no clock. It does not evaluate
//! flags (`latency-experiment-flags`) or compare arms (`latency-experiment-analysis`).
//!
//! # Errors and panics
//!
//! Documents and merges fail with [`Error`], which names place, value and rule. Recording never
//! fails and never panics.

mod atomic_ref;
mod attached;
mod bucket;
mod clock;
mod copier;
mod ended;
mod error;
mod histogram;
mod interval_ring;
mod json;
mod layout;
mod part;
mod recorder;
mod runs;
mod segments;
mod series;
mod shard;
mod slowest;
mod snapshot;
mod sync;
mod threshold_freeze;
mod totals;

pub use atomic_ref::AtomicRef;
pub use attached::{Attached, SinceFreeze};
pub use bucket::{Bucket, Buckets, BucketsIter};
pub use clock::Clock;
pub use error::Error;
pub use histogram::{Histogram, Sums};
pub use interval_ring::IntervalRing;
pub use part::Part;
pub use recorder::{
    ArmId, AssignedCounters, ExperimentId, Limits, Recorder, StartedCounters, Writer, WriterGuard,
};
pub use series::{Milestone, Outcome, SeriesKey, reserved};
pub use shard::{Sample, SeriesId};
pub use slowest::{CompactId, SlowRequest};
pub use snapshot::{Arm, Counters, Experiment, Fingerprint, RouteCounts, Snapshot, Subject};
pub use threshold_freeze::ThresholdFreeze;
