//! The servers that a request can meet, with the layer under test at its place in each.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleError;
use axum::serve::{Listener, ListenerExt};
use http::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tower::layer::layer_fn;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt, service_fn};

use crate::ending::Ending;
use crate::grpc::Cells;
use crate::handler::{Handler, inside, outside};

/// A service of one type, whatever is in it, so that layers can be put around it in any order.
/// Boxing keeps size hints, end flags and errors as they are.
pub type AnyService = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// The layer under test.
pub type Subject = Arc<dyn Fn(AnyService) -> AnyService + Send + Sync>;

/// A server, and where in it the layer under test stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stack {
    /// `Router::layer`, over HTTP/1.
    AxumInside,
    /// Around the whole `Router`, over HTTP/1.
    AxumOutside,
    /// Around a function, over HTTP/1.
    Hyper1,
    /// Around a function, over HTTP/2.
    Hyper2,
    /// `Server::layer`, a method with one message.
    TonicUnary,
    /// `Server::layer`, a method with a stream of messages.
    TonicStreaming,
    /// `Server::layer`, a method that answers with a status in the head.
    TonicTrailersOnly,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AxumInside,
        Self::AxumOutside,
        Self::Hyper1,
        Self::Hyper2,
        Self::TonicUnary,
        Self::TonicStreaming,
        Self::TonicTrailersOnly,
    ];

    /// Whether it serves gRPC.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::TonicUnary | Self::TonicStreaming | Self::TonicTrailersOnly)
    }

    /// Whether the client speaks HTTP/2.
    pub fn is_http2(self) -> bool {
        self == Self::Hyper2 || self.is_grpc()
    }

    /// The path that is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Self::TonicUnary => "/cells.Cells/Unary",
            Self::TonicStreaming => "/cells.Cells/Streaming",
            Self::TonicTrailersOnly => "/cells.Cells/TrailersOnly",
            _ => "/cell/7",
        }
    }

    /// Serves on a free port of the loopback interface until the runtime ends.
    ///
    /// # Panics
    ///
    /// When the loopback interface has no free port.
    pub async fn serve(self, ending: Ending, handler: Handler, subject: &Subject) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let subject = Arc::clone(subject);
        let layered = move |inner| outside(ending, subject(inside(ending, inner)));
        match self {
            Self::AxumInside => {
                let app = cells(handler).layer(layer_fn(move |route: axum::routing::Route| {
                    infallible(layered(fallible(route)))
                }));
                tokio::spawn(async move { axum::serve(no_delay(listener), app).await });
            }
            Self::AxumOutside => {
                let app = infallible(layered(fallible(cells(handler))));
                let app = tower::make::Shared::new(app);
                tokio::spawn(async move { axum::serve(no_delay(listener), app).await });
            }
            Self::Hyper1 | Self::Hyper2 => {
                let function = service_fn(move |request| {
                    let handler = handler.clone();
                    async move { Ok(handler.answer(request).await) }
                });
                let service = layered(AnyService::new(function));
                let service = service.map_request(|request: Request<_>| request.map(Body::new));
                crate::serve_hyper_on(listener, service);
            }
            Self::TonicUnary | Self::TonicStreaming | Self::TonicTrailersOnly => {
                let layer = layer_fn(move |routes: tonic::service::Routes| {
                    let routes = routes
                        .map_request(|request: Request<Body>| request.map(tonic::body::Body::new))
                        .map_response(|response: Response<_>| response.map(Body::new))
                        .map_err(Into::into);
                    layered(AnyService::new(routes))
                        .map_request(|request: Request<tonic::body::Body>| request.map(Body::new))
                });
                let server =
                    tonic::transport::Server::builder().layer(layer).add_service(Cells(handler));
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                tokio::spawn(server.serve_with_incoming(incoming));
            }
        }
        address
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AxumInside => "axum inside",
            Self::AxumOutside => "axum outside",
            Self::Hyper1 => "hyper HTTP/1",
            Self::Hyper2 => "hyper HTTP/2",
            Self::TonicUnary => "tonic unary",
            Self::TonicStreaming => "tonic streaming",
            Self::TonicTrailersOnly => "tonic trailers-only",
        })
    }
}

/// Else the kernel holds small packets back, and a request takes 40 ms.
fn no_delay(listener: TcpListener) -> impl Listener<Addr = SocketAddr, Io: fmt::Debug> {
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

fn cells(handler: Handler) -> Router {
    let answer = move |request: Request<Body>| {
        let handler = handler.clone();
        async move { handler.answer(request).await }
    };
    Router::new().route("/cell/{id}", axum::routing::any(answer))
}

/// A service that never fails, among those that may.
fn fallible<S>(service: S) -> AnyService
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    AnyService::new(service.map_err(|never| match never {}))
}

/// axum serves no service that can fail: the error becomes a response further out.
fn infallible(service: AnyService) -> HandleErrorOf {
    HandleError::new(service, |_error| std::future::ready(StatusCode::INTERNAL_SERVER_ERROR))
}

type HandleErrorOf = HandleError<AnyService, fn(BoxError) -> std::future::Ready<StatusCode>, ()>;
