//! The size class of a response.

use http::{HeaderMap, StatusCode, header};
use latency_experiment_record::reserved;

/// Classes of response sizes: upper bounds in bytes, each inclusive, and one class above the last.
///
/// A response whose size is not known when its head is built is filed under `unknown`. Note that
/// the size is an outcome of the code path: if an arm changes it, comparing within a size class
/// compares different requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeClasses {
    /// Where most responses end: the first of the bounds, or the end of all sizes without one.
    first_bound: u64,
    bounds: Vec<u64>,
    labels: Vec<String>,
}

impl SizeClasses {
    /// Most bounds that are kept.
    pub const MAX_BOUNDS: usize = 14;

    /// The classes between these bounds, in bytes. They are sorted, repeated ones count once, and
    /// those beyond [`MAX_BOUNDS`](Self::MAX_BOUNDS) are left out.
    ///
    /// ```
    /// use latency_experiment_layers::SizeClasses;
    ///
    /// assert_eq!(SizeClasses::new([500_000, 1_000_000]), SizeClasses::default());
    /// let labels: Vec<_> = SizeClasses::default().labels().map(str::to_owned).collect();
    /// assert_eq!(labels, ["0-500kB", "500-1000kB", ">1000kB", "unknown"]);
    /// ```
    pub fn new(bounds: impl IntoIterator<Item = u64>) -> Self {
        let mut bounds: Vec<u64> = bounds.into_iter().collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds.truncate(Self::MAX_BOUNDS);
        let (divisor, unit) =
            if bounds.iter().all(|bound| bound % 1_000 == 0) { (1_000, "kB") } else { (1, "B") };
        let mut labels = Vec::with_capacity(bounds.len() + 2);
        let mut lower = 0;
        for bound in &bounds {
            labels.push(format!("{lower}-{}{unit}", bound / divisor));
            lower = bound / divisor;
        }
        labels.push(format!(">{lower}{unit}"));
        labels.push(reserved::UNKNOWN_SIZE.to_owned());
        Self { first_bound: bounds.first().copied().unwrap_or(u64::MAX), bounds, labels }
    }

    /// The labels of all classes, ascending, and `unknown` as the last.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.labels.iter().map(String::as_str)
    }

    /// The label of the class that a response of so many bytes is filed under; `None` where the size is
    /// not known when the head is built.
    ///
    /// ```
    /// use latency_experiment_layers::SizeClasses;
    ///
    /// let classes = SizeClasses::default();
    /// assert_eq!(classes.label_of(Some(500_000)), "0-500kB");
    /// assert_eq!(classes.label_of(Some(500_001)), "500-1000kB");
    /// assert_eq!(classes.label_of(None), "unknown");
    /// ```
    pub fn label_of(&self, bytes: Option<u64>) -> &str {
        self.label(self.class_of(bytes).into())
    }

    /// Position of a size among the labels.
    #[inline]
    pub(crate) fn class_of(&self, bytes: Option<u64>) -> u8 {
        let Some(bytes) = bytes else { return (self.labels.len() - 1) as u8 };
        if bytes <= self.first_bound {
            return 0;
        }
        self.bounds.iter().position(|&bound| bytes <= bound).unwrap_or(self.bounds.len()) as u8
    }

    pub(crate) fn label(&self, class: usize) -> &str {
        &self.labels[class]
    }
}

impl Default for SizeClasses {
    /// Up to 500 kB, up to 1000 kB, above; decimal, as `content-length` is read by people.
    fn default() -> Self {
        Self::new([500_000, 1_000_000])
    }
}

/// The size of a response as far as its head tells, in bytes: nothing where the protocol allows no
/// body, else an exact size hint, else `content-length`.
#[inline]
pub(crate) fn size_of(
    status: StatusCode,
    headers: &HeaderMap,
    exact_size: Option<u64>,
    head_request: bool,
) -> Option<u64> {
    if head_request || has_no_body(status) {
        return Some(0);
    }
    exact_size.or_else(|| content_length(headers))
}

/// Whether the protocol allows no body with this status, whatever the head says.
#[inline]
pub(crate) fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cold]
#[inline(never)]
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use http_body::Body;
    use http_body_util::Full;

    fn size_of<B: Body>(response: &Response<B>, head_request: bool) -> Option<u64> {
        let exact = response.body().size_hint().exact();
        super::size_of(response.status(), response.headers(), exact, head_request)
    }

    #[test]
    fn bounds_are_inclusive() {
        let classes = SizeClasses::default();
        let label = |bytes| classes.label(classes.class_of(Some(bytes)).into());
        let cases = [
            (0, "0-500kB"),
            (500_000, "0-500kB"),
            (500_001, "500-1000kB"),
            (1_000_000, "500-1000kB"),
            (1_000_001, ">1000kB"),
            (u64::MAX, ">1000kB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(label(bytes), expected, "{bytes}");
        }
        assert_eq!(classes.label(classes.class_of(None).into()), "unknown");
    }

    #[test]
    fn other_bounds_get_labels_in_their_unit() {
        let labels = |bounds: &[u64]| {
            SizeClasses::new(bounds.iter().copied()).labels().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(labels(&[2_000, 1_000, 1_000]), ["0-1kB", "1-2kB", ">2kB", "unknown"]);
        assert_eq!(labels(&[512]), ["0-512B", ">512B", "unknown"]);
        assert_eq!(labels(&[]), [">0kB", "unknown"]);
        assert_eq!(labels(&(1..100).collect::<Vec<_>>()).len(), SizeClasses::MAX_BOUNDS + 2);
    }

    #[test]
    fn sources_are_asked_in_order() {
        let full = || Full::new(&b"12345"[..]);
        let of = |status: u16, length: Option<&str>, head| {
            let mut response = Response::builder().status(status);
            if let Some(length) = length {
                response = response.header("content-length", length);
            }
            size_of(&response.body(full()).unwrap(), head)
        };
        assert_eq!(of(200, None, false), Some(5));
        assert_eq!(of(200, Some("7"), false), Some(5), "the exact hint comes before the header");
        assert_eq!(of(200, Some("7"), true), Some(0));
        assert_eq!((of(204, None, false), of(304, Some("7"), false)), (Some(0), Some(0)));

        let stream = || StreamOfNothing;
        let streamed = |length: &str| {
            Response::builder().header("content-length", length).body(stream()).unwrap()
        };
        assert_eq!(size_of(&streamed("7"), false), Some(7));
        for absurd in ["", "-1", "seven", "99999999999999999999999999"] {
            assert_eq!(size_of(&streamed(absurd), false), None, "{absurd}");
        }
        assert_eq!(size_of(&Response::new(stream()), false), None);
    }

    /// A body of unknown size.
    struct StreamOfNothing;

    impl Body for StreamOfNothing {
        type Data = &'static [u8];
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Ready(None)
        }
    }
}
