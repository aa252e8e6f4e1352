//! The slowest requests of a series, with their IDs.

/// A request that was among the slowest of its series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlowRequest {
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// Its ID.
    pub request_id: Box<str>,
}

/// The slowest requests seen so far, the slowest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slowest(Vec<SlowRequest>);

impl Slowest {
    /// Most requests that are kept of a series.
    pub(crate) const MAX: usize = 4;

    pub(crate) fn add(&mut self, request: SlowRequest) {
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SlowRequest> {
        self.0.iter()
    }

    pub(crate) fn into_list(self) -> Vec<SlowRequest> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(latency_ns: u64) -> SlowRequest {
        SlowRequest { latency_ns, request_id: latency_ns.to_string().into() }
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
