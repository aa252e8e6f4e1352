//! What may be read of a request.

use http::{Extensions, HeaderMap, Method, Request, Uri};
use latency_experiment_flags::Attributes;

/// A request without its body, borrowed: what a route function, a filter or a flag may read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// What layers further out attached.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Whether the request says that it is gRPC, which is always a POST.
    #[inline]
    pub(crate) fn is_grpc(self) -> bool {
        *self.method == Method::POST && is_grpc(self.headers)
    }
}

/// Whether a message says that it is gRPC: `content-type: application/grpc…`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// What flags may read of a request.
pub(crate) struct Headers<'a>(pub(crate) &'a HeaderMap);

impl Attributes for Headers<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }
}
