//! One service under measurement.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ::axum::Router;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body::Body;
use http_body_util::Empty;
use tower::ServiceExt;

/// Sends so many requests, one after another.
pub type Requests = Box<dyn FnMut(u64) + Send>;

/// A service that any thread can send requests to: it takes one of [`ROUTES`].
pub type Service = Box<dyn Fn(usize) -> Requests + Send + Sync>;

/// The routes that every service answers alike.
pub const ROUTES: [&str; 2] = ["/items/{id}", "/orders/{id}"];

/// What a client asks for, by route.
const PATHS: [&str; 2] = ["/items/7", "/orders/7"];

/// Length of the request ID that every request carries.
pub(super) const ID_BYTES: usize = 36;
/// The request ID that every request carries.
pub(super) const ID: &[u8; ID_BYTES] = b"0192d1e4-7c1a-7b3e-9f58-3a1c5d2e4b60";
/// The header that carries it.
pub(super) static ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// A service under measurement.
pub struct Case {
    /// `platform/what`.
    pub name: String,
    build: Build,
    upkeep: fn(),
    /// Requests without which the service is not warm.
    pub(crate) warm_up: u64,
}

enum Build {
    Plain(Box<dyn Fn() -> Service + Send + Sync>),
    Axum(Box<dyn Fn() -> Router + Send + Sync>),
}

impl Case {
    /// A case on a plain service, which is built when it is needed.
    pub(super) fn new(
        name: impl Into<String>,
        build: impl Fn() -> Service + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), build: Build::Plain(Box::new(build)), upkeep: || (), warm_up: 0 }
    }

    /// A case in a router, which is built when it is needed.
    pub(super) fn in_axum(
        name: impl Into<String>,
        build: impl Fn() -> Router + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), build: Build::Axum(Box::new(build)), upkeep: || (), warm_up: 0 }
    }

    /// What a user of the crate runs now and then beside the requests, such as upkeep of histograms.
    #[cfg(feature = "peers")]
    pub(super) fn with_upkeep(mut self, upkeep: fn()) -> Self {
        self.upkeep = upkeep;
        self
    }

    /// More requests than usual before anything is measured.
    pub(super) fn with_warm_up(mut self, requests: u64) -> Self {
        self.warm_up = requests;
        self
    }

    /// Sets the service up.
    pub fn service(&self) -> Service {
        match &self.build {
            Build::Plain(build) => build(),
            Build::Axum(build) => axum(build()),
        }
    }

    /// Sets the router up, for a server; `None` when the case has none.
    pub fn router(&self) -> Option<Router> {
        match &self.build {
            Build::Plain(_) => None,
            Build::Axum(build) => Some(build()),
        }
    }

    /// To be called between batches, outside of what is measured.
    pub fn upkeep(&self) {
        (self.upkeep)();
    }

    /// The platform: what the name has before its slash.
    pub fn platform(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// A request as a server hands it on: method, target and five headers, no body.
struct Template {
    uri: Uri,
    headers: HeaderMap,
}

impl Template {
    fn new(route: usize) -> Self {
        Self::of(Uri::from_static(PATHS[route % PATHS.len()]))
    }

    fn of(uri: Uri) -> Self {
        let headers = [
            (header::HOST, "localhost:3000"),
            (header::USER_AGENT, "bench/1"),
            (header::ACCEPT, "*/*"),
            (header::ACCEPT_ENCODING, "gzip"),
            (ID_HEADER.clone(), str::from_utf8(ID).expect("the ID is ASCII")),
        ];
        Self {
            uri,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .collect(),
        }
    }

    fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Requests to a plain service, which is called in place as a server calls that of a connection.
pub(super) fn tower<S, B>(service: S) -> Service
where
    S: ::tower::Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    B: Body,
{
    Box::new(move |route| {
        let (mut service, template) = (service.clone(), Template::new(route));
        Box::new(move |count| {
            for _ in 0..count {
                let request = black_box(&template).request(Empty::new());
                read(complete(service.call(request)));
            }
        })
    })
}

/// Requests to a plain service, to so many paths in turn.
pub(super) fn to_routes<S, B>(mut service: S, routes: usize) -> Requests
where
    S: ::tower::Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    S: Send + 'static,
    B: Body,
{
    let uri = |route| format!("/route/{route}").parse().expect("it is a path");
    let templates: Vec<_> = (0..routes).map(|route| Template::of(uri(route))).collect();
    let mut next = 0;
    Box::new(move |count| {
        for _ in 0..count {
            let request = black_box(&templates[next]).request(Empty::new());
            next = if next + 1 == templates.len() { 0 } else { next + 1 };
            read(complete(service.call(request)));
        }
    })
}

/// Requests to a router, as `axum::serve` sends them: the state is given once, which applies the
/// layers; the router is cloned for every request.
fn axum(router: Router) -> Service {
    let router: Router = router.with_state(());
    Box::new(move |route| {
        let (router, template) = (router.clone(), Template::new(route));
        Box::new(move |count| {
            for _ in 0..count {
                let request = black_box(&template).request(::axum::body::Body::empty());
                read(complete(router.clone().oneshot(request)));
            }
        })
    })
}

/// Reads the body to its end, as a server does.
fn read<B: Body>(response: Result<Response<B>, Infallible>) {
    let Ok(response) = response;
    let mut body = pin!(response.into_body());
    let mut context = Context::from_waker(Waker::noop());
    while !body.is_end_stream() {
        match body.as_mut().poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => drop(black_box(frame)),
            Poll::Ready(Some(Err(_)) | None) => break,
            Poll::Pending => {}
        }
    }
}

/// Polls a future that is ready at once, or after it woke itself. Inlined into every case alike: else
/// it would depend on how many cases share a type of future.
#[inline(always)]
fn complete<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
