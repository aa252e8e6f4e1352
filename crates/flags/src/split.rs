use crate::allocation::Allocation;
use crate::flag::Subject;
use crate::hash;
use crate::set::ValidFlag;

/// What each subject gets by its hash alone, prepared for the request path.
#[derive(Clone, Debug, PartialEq, Eq)]
// A cache line of its own: its place among the others is found by a shift.
#[repr(align(64))]
pub struct Split<T> {
    pub(crate) seed: u64,
    pub(crate) allocation: Allocation<T>,
}

impl<T: Copy> Split<T> {
    /// What the subject gets.
    #[inline(always)]
    pub fn of(&self, subject: &[u8]) -> T {
        self.of_hash(hash::seeded(subject, self.seed))
    }

    #[inline(always)]
    pub(crate) fn of_hash(&self, hash: u64) -> T {
        self.allocation.of(hash::slot_of(hash))
    }
}

impl ValidFlag {
    /// The split of request IDs, where nothing else decides: the flag is enabled, its subject is the
    /// request ID, and it has neither an override nor an exclusion group. `gets` tells what goes with
    /// a variation, or with being not covered.
    ///
    /// ```
    /// use latency_experiment_flags::{Flag, FlagSet, NoAttributes};
    ///
    /// let flags = FlagSet::try_new([Flag::new("checkout")])?;
    /// let (_, flag) = flags.iter().next().unwrap();
    /// let split = flag.plain_split(|variation| variation).unwrap();
    /// let id = b"0123456789abcdef0123456789abcdef";
    /// assert_eq!(split.of(id), Some(flag.evaluate(id, &NoAttributes).variation));
    /// # Ok::<(), latency_experiment_flags::Error>(())
    /// ```
    pub fn plain_split<T: Copy>(&self, gets: impl Fn(Option<u8>) -> T) -> Option<Split<T>> {
        let plain = self.enabled
            && self.subject == Subject::RequestId
            && self.override_header.is_none()
            && self.group.is_none();
        let allocation = || self.split.allocation.map(gets);
        plain.then(|| Split { seed: self.split.seed, allocation: allocation() })
    }
}
