//! Where request IDs come from and who is told.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderMap, HeaderName, HeaderValue};
use xxhash_rust::xxh3::xxh3_64;

use crate::head::RequestHead;
use crate::request_id::RequestId;
use crate::scope::Scope;

/// Where request IDs come from and who is told. By default they are generated, and only code below
/// the layer knows them.
///
/// ```
/// use http::HeaderName;
/// use latency_experiment_layers::RequestIds;
///
/// let header = HeaderName::from_static("x-request-id");
/// // Behind a proxy of your own that sets the header, and with clients that are to see it.
/// let _ids = RequestIds::generated().with_trusted_header(header.clone()).with_response_header(header);
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestIds {
    /// Where a client's ID is taken from.
    trusted: Option<HeaderName>,
    /// Where the inner service finds the ID.
    request: Option<HeaderName>,
    /// Where the client finds the ID.
    response: Option<HeaderName>,
}

impl RequestIds {
    /// Longest ID that is taken from a client, in bytes.
    pub const MAX_SENT_BYTES: usize = 64;

    /// IDs that the layer generates: 128 random bits each.
    pub fn generated() -> Self {
        Self::default()
    }

    /// Takes the ID from this header where it is there: visible ASCII characters, at most 64 of
    /// them. Otherwise an ID is generated, and counted as missing or replaced.
    ///
    /// The ID decides the arm, so whoever sends the header chooses the arm, and requests that share
    /// an ID share theirs. Trust it only behind a proxy that sets it.
    #[must_use]
    pub fn with_trusted_header(mut self, header: HeaderName) -> Self {
        self.trusted = Some(header);
        self
    }

    /// Sets the ID on the request that the inner service gets, over what the client sent.
    #[must_use]
    pub fn with_request_header(mut self, header: HeaderName) -> Self {
        self.request = Some(header);
        self
    }

    /// Sets the ID on the response. Only
    /// [`ExperimentLayer`](crate::ExperimentLayer) and [`LatencyLayer`](crate::LatencyLayer) do it.
    #[must_use]
    pub fn with_response_header(mut self, header: HeaderName) -> Self {
        self.response = Some(header);
        self
    }
}

impl RequestIds {
    /// Whether IDs are generated and nobody is told.
    pub(crate) fn are_internal(&self) -> bool {
        self.trusted.is_none() && self.request.is_none() && self.response.is_none()
    }
}

/// How the IDs of requests came about, counted while a client's header is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestIdCounts {
    /// Requests without the header.
    pub missing: u64,
    /// Requests whose ID is the client's.
    pub sent: u64,
    /// Requests whose header was no usable ID: empty, too long, or with other characters.
    pub replaced: u64,
    /// Requests whose ID, sent by the client, was seen a short while ago: at least so many of them.
    /// Retries that share an ID share an arm, and are not independent of each other.
    pub repeated: u64,
}

/// The rules with what was counted under them.
pub(crate) struct IdSource {
    rules: RequestIds,
    missing: AtomicU64,
    sent: AtomicU64,
    replaced: AtomicU64,
    repeated: AtomicU64,
    /// Hashes of IDs that were seen, each in the place that it hashes to; empty without trust.
    recent: Box<[AtomicU64]>,
}

const RECENT: usize = 1 << 14;

impl IdSource {
    pub(crate) fn new(rules: RequestIds) -> Self {
        let remembered = if rules.trusted.is_some() { RECENT } else { 0 };
        Self {
            rules,
            missing: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            recent: (0..remembered).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(crate) fn counts(&self) -> RequestIdCounts {
        RequestIdCounts {
            missing: self.missing.load(Relaxed),
            sent: self.sent.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
        }
    }

    /// The ID of a request.
    pub(crate) fn identify(&self, head: RequestHead<'_>) -> RequestId {
        match &self.rules.trusted {
            None => RequestId::generate(),
            Some(header) => self.trust(head.headers.get(header)),
        }
    }

    fn trust(&self, header: Option<&HeaderValue>) -> RequestId {
        let Some(value) = header else {
            self.missing.fetch_add(1, Relaxed);
            return RequestId::generate();
        };
        let usable = |text: &&str| {
            (1..=RequestIds::MAX_SENT_BYTES).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let Some(text) = value.to_str().ok().filter(usable) else {
            self.replaced.fetch_add(1, Relaxed);
            return RequestId::generate();
        };
        self.sent.fetch_add(1, Relaxed);
        // 0 marks an empty place.
        let hash = xxh3_64(text.as_bytes()).max(1);
        let place = &self.recent[hash as usize % RECENT];
        if place.swap(hash, Relaxed) == hash {
            self.repeated.fetch_add(1, Relaxed);
        }
        RequestId::sent(text)
    }

    pub(crate) fn tell_request(&self, scope: &Scope, headers: &mut HeaderMap) {
        if let Some(name) = &self.rules.request {
            set(headers, name, &scope.request_id());
        }
    }

    pub(crate) fn tell_response(&self, scope: &Scope, headers: &mut HeaderMap) {
        if let Some(name) = &self.rules.response {
            set(headers, name, &scope.request_id());
        }
    }
}

#[cold]
fn set(headers: &mut HeaderMap, name: &HeaderName, id: &RequestId) {
    // An ID is visible ASCII, so it is always a header value.
    if let Ok(value) = id.with_text(HeaderValue::from_bytes) {
        headers.insert(name, value);
    }
}

impl fmt::Debug for IdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdSource")
            .field("rules", &self.rules)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
