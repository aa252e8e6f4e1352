//! Tower layers that time each request, assign it to the arms of feature flags, and record both
//! together.
//!
//! ```
//! # use std::convert::Infallible;
//! # use std::future::ready;
//! # use http::{Request, Response};
//! # use http_body_util::Empty;
//! # use tower::{Layer, Service, service_fn};
//! # type Body = Empty<&'static [u8]>;
//! use latency_experiment_flags::{Flag, FlagSet};
//! use latency_experiment_layers::{Config, Experiments, RouteSource};
//!
//! let flags = FlagSet::try_new([Flag::new("cached_whitelist")])?;
//! // Around a bare service, a function names the route; in axum and tonic it is found by itself.
//! let routes = RouteSource::function(|head| (head.uri.path() == "/categories").then_some("/categories"));
//! let experiments = Experiments::new(Config::new(flags).with_route_source(routes));
//! let cached_whitelist = experiments.flag("cached_whitelist")?;
//!
//! let handler = service_fn(move |_request: Request<Body>| {
//!     // Deep in the code, without a parameter: the arm of the request that is being served.
//!     let _cached = cached_whitelist.is_on();
//!     ready(Ok::<_, Infallible>(Response::new(Body::new())))
//! });
//! let mut service = experiments.layer().layer(handler);
//! # let runtime = |f: latency_experiment_layers::ResponseFuture<_>| {
//! #     let mut f = std::pin::pin!(f);
//! #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! #     assert!(f.as_mut().poll(&mut cx).is_ready());
//! # };
//! runtime(service.call(Request::get("/categories").body(Body::new())?));
//!
//! let snapshot = experiments.snapshot(cached_whitelist);
//! let (key, histogram) = snapshot.series.iter().next().unwrap();
//! assert_eq!((key.route.as_str(), key.exposed, histogram.count()), ("GET /categories", true, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | type | job |
//! |---|---|
//! | [`Experiments`] | the flags, tables and clock that layers and handles share |
//! | [`ExperimentLayer`] | assigns, times and records in one future: the one to use |
//! | [`AssignLayer`], [`LatencyLayer`] | its two halves, to put other layers between them |
//! | [`FlagHandle`] | answers, anywhere below the layer, which variation this request gets |
//! | [`current`], [`Assignments`] | all flags of this request, and its ID |
//! | [`section`] | times a unit of work inside the request |
//! | [`RouteSource`], [`SizeClasses`] | what a request is filed under |
//!
//! # Guarantees
//!
//! - The clock starts in `call` and stops when the inner future resolves to a response head.
//! - Every request whose clock started ends in exactly one [`Outcome`]: a cancelled or panicked
//!   request is recorded with the time it took so far, never dropped.
//! - Request and response pass unchanged, body type included. The inner service is called in
//!   place: no `Clone` bound, no boxing, readiness is forwarded.
//! - The steady state adds no allocation and no lock to a request, and writes no cache line that
//!   another thread writes. What is asked for beyond the defaults may: an ID that a client sent, headers
//!   that are told, assignments that are shared with other tasks.
//! - The number of routes and series is bounded; a client cannot mint new ones.
//!
//! # Limits
//!
//! - With `panic = "abort"` nothing of a panicking request is recorded: the process is gone.
//! - The losing request of a hedge or a retry is a cancelled one.
//! - Work that a handler spawns is not in the scope of the request: read the arm before, or pass
//!   [`Assignments::share`] along.
//! - The tables of an [`Experiments`] live as long as the process. Make one per service.
//!
//! # Features
//!
//! - `axum`: routes from `MatchedPath`, and [`Assignments`] as an extractor.
//! - `tracing`: the one warning (no request has a route) as an event, in place of a line on standard
//!   error.
//!
//! # Errors and panics
//!
//! Serving a request never fails and never panics on behalf of a layer. Setting up fails with the
//! [`Error`](latency_experiment_flags::Error) of the flags.
//!
//! [`Outcome`]: latency_experiment_record::Outcome

mod arms;
mod assign;
mod assignments;
mod clock;
mod core;
mod end;
mod experiment;
mod experiments;
mod filing;
mod handle;
mod head;
mod hex;
mod latency;
mod looks;
mod request_id;
mod request_ids;
mod revision;
mod route;
mod route_table;
mod scope;
mod scope_pool;
mod section;
mod section_table;
mod series_table;
mod server_timing;
mod size;
mod slots;
mod timed;
mod unrouted;

pub use assign::{AssignFuture, AssignLayer, AssignService};
pub use assignments::{Assignments, SharedAssignments, current};
pub use clock::MachineClock;
pub use experiment::{
    ExperimentLayer, ExperimentService, Extent, HeadOnly, MeasuredBody, ResponseFuture, WholeBody,
};
pub use experiments::{Config, Experiments};
pub use handle::FlagHandle;
pub use head::RequestHead;
pub use latency::{LatencyFuture, LatencyLayer, LatencyService};
pub use request_id::RequestId;
pub use request_ids::{RequestIdCounts, RequestIds};
pub use route::RouteSource;
pub use section::{Section, SectionGuard, Timed, section};
pub use size::SizeClasses;
