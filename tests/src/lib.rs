//! What the tests share: servers on sockets, clients, and a way to count what a snapshot holds.
//!
//! | item | job |
//! |---|---|
//! | [`serve_axum`], [`serve_hyper`], [`Client`] | a server and a client of it |
//! | [`Stack`], [`Ending`], [`play`] | every server, every end of a request, and one request of the two |
//! | [`outcomes`], [`route`] | how that request must be filed |
//! | [`Wire`] | a client that leaves when it is told to |
//! | [`complete`] | polls a future to its end without a runtime |
//! | [`CountingAllocator`] | allocations and bytes of a thread |
//! | [`count`], [`in_flight`] | what a snapshot holds |

mod allocator;
mod cell;
mod complete;
mod ending;
mod expectation;
mod grpc;
mod handler;
mod hush;
mod stack;
mod wire;

pub use allocator::CountingAllocator;
pub use cell::play;
pub use complete::complete;
pub use ending::{Catch, Ending, Site};
pub use expectation::{Filed, has_head, outcomes, route};
pub use handler::{Handler, LARGE};
pub use hush::{hush, panic_on_purpose};
pub use stack::{AnyService, Stack, Subject};
pub use wire::{Answer, Wire};

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use latency_experiment::Snapshot;
use latency_experiment_record::{Milestone, SeriesKey};
use tokio::net::TcpListener;
use tower::{BoxError, Service};

/// Serves an axum router on a free port of the loopback interface, until the runtime ends.
///
/// # Panics
///
/// When the loopback interface has no free port.
pub async fn serve_axum(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Serves a Tower service with bare hyper, HTTP/1 and HTTP/2 on one port, until the runtime ends.
///
/// # Panics
///
/// When the loopback interface has no free port.
pub async fn serve_hyper<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    serve_hyper_on(listener, service);
    address
}

fn serve_hyper_on<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            // Else the kernel holds small packets back.
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                // A client that goes away ends its connection with an error: that is its right.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

/// An HTTP client with pooled connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: HyperClient<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
}

impl Client {
    /// A client that speaks HTTP/1.1 to this address.
    pub fn http1(address: SocketAddr) -> Self {
        Self { inner: HyperClient::builder(TokioExecutor::new()).build_http(), address }
    }

    /// A client that speaks HTTP/2 to this address, without negotiation.
    pub fn http2(address: SocketAddr) -> Self {
        Self {
            inner: HyperClient::builder(TokioExecutor::new()).http2_only(true).build_http(),
            address,
        }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Panics
    ///
    /// When the path is no path or the request fails.
    pub async fn send(&self, method: &str, path: &str) -> Response<Bytes> {
        self.try_send(method, path).await.expect("the server answers")
    }

    /// Sends a request and reads the whole response, unless that fails.
    ///
    /// # Panics
    ///
    /// When the path is no path.
    pub async fn try_send(&self, method: &str, path: &str) -> Option<Response<Bytes>> {
        let uri = format!("http://{}{path}", self.address);
        let request =
            Request::builder().method(method).uri(uri).body(Empty::new()).expect("a valid request");
        let (parts, body) = self.inner.request(request).await.ok()?.into_parts();
        Some(Response::from_parts(parts, body.collect().await.ok()?.to_bytes()))
    }
}

/// How many latencies a snapshot holds whose series `wanted` accepts.
pub fn count(snapshot: &Snapshot, wanted: impl Fn(&SeriesKey) -> bool) -> u64 {
    let series = snapshot
        .series
        .iter()
        .filter(|(key, _)| key.milestone == Milestone::Latency && wanted(key));
    series.map(|(_, histogram)| histogram.count()).sum()
}

/// Requests that have not ended, over all arms.
pub fn in_flight(snapshot: &Snapshot) -> u64 {
    snapshot.counters.in_flight.values().sum()
}
