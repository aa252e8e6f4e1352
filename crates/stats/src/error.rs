use std::error;
use std::fmt;

/// Why an input was refused.
///
/// Every variant names the value and the rule that it breaks. Too little data is not an error:
/// functions answer it with unbounded intervals or `None`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A probability such as a quantile, an error level or a share was not strictly between 0 and 1.
    NotAProbability {
        /// What the number was meant to be.
        what: &'static str,
        /// The number given.
        value: f64,
    },
    /// A number that must be positive and finite was not.
    NotPositive {
        /// What the number was meant to be.
        what: &'static str,
        /// The number given.
        value: f64,
    },
    /// A confidence sequence was tuned for so little information that its guarantee breaks.
    TunedForTooLittle {
        /// The harmonic information asked for, in requests.
        value: f64,
    },
    /// A bucket's lower edge lay above its upper edge.
    ReversedBucket {
        /// Position of the bucket in the input.
        index: usize,
        /// Its lower edge.
        lower: u64,
        /// Its upper edge.
        upper: u64,
    },
    /// A bucket began at or below the upper edge of the bucket before it.
    UnsortedBuckets {
        /// Position of the second of the two buckets in the input.
        index: usize,
        /// Its lower edge.
        lower: u64,
        /// The upper edge of the bucket before it.
        previous_upper: u64,
    },
    /// The observations of one distribution exceeded 2^63 - 1.
    TooManyObservations,
    /// Two distributions that meet in one comparison have buckets that overlap without being equal.
    MixedBuckets {
        /// Lower and upper edge of one bucket.
        first: (u64, u64),
        /// Lower and upper edge of the other.
        second: (u64, u64),
    },
    /// A distribution has a bucket that is not in the grid to which it was to be moved.
    MissingBucket {
        /// Lower and upper edge of the bucket.
        edges: (u64, u64),
    },
    /// A weight was negative, infinite or not a number.
    InvalidWeight {
        /// Position of the weight in the input.
        index: usize,
        /// The weight given.
        value: f64,
    },
    /// All weights of an allocation were zero.
    NoWeight,
    /// A number that must be finite was not.
    NotFinite {
        /// What the number was meant to be.
        what: &'static str,
        /// The number given.
        value: f64,
    },
    /// Arms, strata or epochs named different numbers of random groups.
    GroupMismatch {
        /// How many groups came first.
        first: usize,
        /// How many came with them.
        other: usize,
    },
    /// A distribution had not one count for each bucket of its grid.
    GridMismatch {
        /// How many counts were given.
        counts: usize,
        /// How many buckets the grid has.
        buckets: usize,
    },
    /// An allocation named a different number of counts and weights.
    LengthMismatch {
        /// How many counts were given.
        counts: usize,
        /// How many weights were given.
        weights: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAProbability { what, value } => {
                write!(f, "{what} {value} must be strictly between 0 and 1")
            }
            Self::NotPositive { what, value } => {
                write!(f, "{what} {value} must be positive and finite")
            }
            Self::NotFinite { what, value } => write!(f, "{what} {value} must be finite"),
            Self::GroupMismatch { first, other } => write!(
                f,
                "{first} random groups came with {other}: arms, strata and epochs share their groups"
            ),
            Self::TunedForTooLittle { value } => write!(
                f,
                "tuned_for {value} must be a finite number of at least {}: below it the asymptotic boundaries miss their level",
                crate::TunedFor::MIN.get()
            ),
            Self::ReversedBucket { index, lower, upper } => write!(
                f,
                "bucket {index} has lower edge {lower} above its upper edge {upper}: edges are inclusive and ordered"
            ),
            Self::UnsortedBuckets { index, lower, previous_upper } => write!(
                f,
                "bucket {index} begins at {lower}, not above {previous_upper} where the bucket before it ends: buckets are sorted and disjoint"
            ),
            Self::TooManyObservations => {
                write!(f, "a distribution holds at most {} observations", i64::MAX)
            }
            Self::MixedBuckets { first, second } => write!(
                f,
                "buckets [{}, {}] and [{}, {}] overlap without being equal: reduce both histograms to one resolution first",
                first.0, first.1, second.0, second.1
            ),
            Self::MissingBucket { edges: (lower, upper) } => write!(
                f,
                "bucket [{lower}, {upper}] is not in the grid to move to, which must have all buckets"
            ),
            Self::InvalidWeight { index, value } => {
                write!(f, "weight {index} is {value}: weights are finite and not negative")
            }
            Self::GridMismatch { counts, buckets } => {
                write!(
                    f,
                    "{counts} counts came with a grid of {buckets} buckets: one count for each"
                )
            }
            Self::NoWeight => write!(f, "all weights are zero: at least one must be positive"),
            Self::LengthMismatch { counts, weights } => {
                write!(f, "{counts} counts came with {weights} weights: each arm has one of both")
            }
        }
    }
}

impl error::Error for Error {}
