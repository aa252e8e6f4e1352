//! Feature flags whose arms are chosen by hashing a subject.
//!
//! ```
//! use latency_experiment_flags::{Flag, FlagSet, NoAttributes, Reason};
//!
//! let flags = FlagSet::try_new([Flag::new("cached_whitelist")])?;
//! let flag = flags.find("cached_whitelist")?;
//!
//! // The same subject gets the same arm, on every machine and after every restart.
//! let assignment = flags.evaluate(flag, b"c386bbc4cd613e30d8f16adf91b7584a", &NoAttributes);
//! assert_eq!(flags.flag(flag).variation_name(assignment.variation), "control");
//! assert_eq!(assignment.reason, Reason::Split);
//!
//! let error = flags.find("cached_whitlist").unwrap_err();
//! assert_eq!(error.to_string(), "`cached_whitlist` is not a flag of this set; did you mean `cached_whitelist`?");
//! # Ok::<(), latency_experiment_flags::Error>(())
//! ```
//!
//! | type | job |
//! |---|---|
//! | [`Flag`] | is built in code: variations, weights, coverage, salt |
//! | [`FlagSet`] | holds validated flags, ready to evaluate |
//! | [`Attributes`] | what an evaluation may read of a request |
//! | [`Assignment`] | the outcome: a variation and the reason |
//!
//! # Guarantees
//!
//! - Evaluation is a pure function of flag, subject and attributes. It cannot fail, allocate or
//!   read a clock.
//! - Allocation is integer arithmetic on one XXH3 hash. One hash decides both inclusion and arm,
//!   so growing the coverage never moves a subject to another arm. Vectors computed with another
//!   implementation of XXH3 hold it in place.
//! - Flags with different salts are independent of each other.
//!
//! # What it does not do
//!
//! It does not read files or the network, record anything, or know which request is being served
//! (that is `latency-experiment-layers`).
//!
//! # Errors and panics
//!
//! [`FlagSet::try_new`] reports everything that is wrong at once, in an [`Error`]. Nothing here
//! panics but out-of-range indices, where documented.

mod allocation;
mod error;
mod evaluate;
mod flag;
mod hash;
mod set;
mod split;

pub use allocation::FULL_COVERAGE_BP;
pub use error::{Error, Problem};
pub use evaluate::{Assignment, Attributes, NoAttributes, Reason};
pub use flag::{ExclusionGroup, Flag, Subject, Variation};
pub use hash::{RANDOM_GROUPS, exclusion_position, slot};
pub use set::{FlagIndex, FlagSet, MAX_FLAGS, MAX_VARIATIONS, ValidFlag};
pub use split::Split;
