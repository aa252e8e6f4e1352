//! The one way in which time reaches the recording.

/// A monotonic clock that is read twice per request.
///
/// Reading and converting are separate so that the hot path takes two raw readings and converts
/// only their difference, once. The layers bring a clock on the CPU's time stamp counter; tests
/// bring one that they move by hand.
pub trait Clock: Send + Sync + 'static {
    /// A raw reading, in ticks of the clock's own. Later readings are not smaller, except when
    /// the machine's clock misbehaves; [`elapsed_ns`](Self::elapsed_ns) copes with that.
    fn raw(&self) -> u64;

    /// Nanoseconds from one raw reading to a later one, saturating: 0 when `end` is before `start`.
    fn elapsed_ns(&self, start: u64, end: u64) -> u64;
}
