//! The slowest requests of a series, with their IDs.

use std::fmt;

/// A request that was among the slowest of its series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlowRequest {
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// Its ID.
    pub request_id: CompactId,
}

/// The ID of a request: one of 32 lower-case hexadecimal digits is kept as 16 bytes, so that
/// keeping it allocates nothing; any other text is kept as it is. `Display` shows the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompactId(Repr);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Repr {
    Digits([u64; 2]),
    Text(Box<str>),
}

impl CompactId {
    /// The ID whose 32 digits are those of the two words, one after the other.
    pub fn of_words(words: [u64; 2]) -> Self {
        Self(Repr::Digits(words))
    }

    /// The ID with this text.
    ///
    /// ```
    /// use latency_experiment_record::CompactId;
    ///
    /// for text in ["0123456789abcdef0000000000000001", "0123456789ABCDEF0000000000000001", "req-7", ""] {
    ///     assert_eq!(CompactId::of_text(text).to_string(), text);
    /// }
    /// assert_eq!(CompactId::of_text("0123456789abcdef0000000000000001"), CompactId::of_words([0x0123_4567_89ab_cdef, 1]));
    /// ```
    pub fn of_text(text: &str) -> Self {
        let is_digits = text.len() == 32
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let word = |digits| u64::from_str_radix(digits, 16).ok();
        let words = is_digits.then(|| Some([word(&text[..16])?, word(&text[16..])?])).flatten();
        Self(words.map_or_else(|| Repr::Text(text.into()), Repr::Digits))
    }
}

impl fmt::Display for CompactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Digits([high, low]) => write!(f, "{high:016x}{low:016x}"),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

/// The slowest requests seen so far, the slowest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slowest(Vec<SlowRequest>);

impl Slowest {
    /// Most requests that are kept of a series.
    pub(crate) const MAX: usize = 4;

    pub(crate) fn add(&mut self, request: SlowRequest) {
        // Room for one more than is kept, at once: nothing is allocated after the first.
        self.0.reserve_exact((Self::MAX + 1).saturating_sub(self.0.len()));
        let place = self.0.partition_point(|kept| *kept > request);
        if self.0.get(place) != Some(&request) {
            self.0.insert(place, request);
            self.0.truncate(Self::MAX);
        }
    }

    pub(crate) fn extend(&mut self, requests: impl IntoIterator<Item = SlowRequest>) {
        for request in requests {
            self.add(request);
        }
    }

    /// What a request must exceed to be kept; 0 while there is room.
    pub(crate) fn threshold_ns(&self) -> u64 {
        self.0.get(Self::MAX - 1).map_or(0, |last| last.latency_ns)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_list(self) -> Vec<SlowRequest> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(latency_ns: u64) -> SlowRequest {
        SlowRequest { latency_ns, request_id: CompactId::of_text(&latency_ns.to_string()) }
    }

    #[test]
    fn the_largest_are_kept_in_order_whatever_the_order_of_arrival() {
        for values in [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [3, 6, 1, 5, 2, 4]] {
            let mut slowest = Slowest::default();
            slowest.extend(values.map(request));
            slowest.extend([request(6)]);
            assert_eq!(slowest.threshold_ns(), 3);
            let kept: Vec<_> = slowest.into_list().iter().map(|slow| slow.latency_ns).collect();
            assert_eq!(kept, [6, 5, 4, 3], "and none twice");
        }
    }
}
