//! The service behind the layer under test, which does what an [`Ending`] asks for, and the layers
//! beside it.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use latency_experiment_testkit::{ScriptedBody, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_stream::StreamExt;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::{ResponseBodyTimeoutLayer, TimeoutLayer};

use crate::ending::{Catch, Ending, Site};
use crate::hush::panic_on_purpose;
use crate::stack::AnyService;

/// Bytes of a large body: in the second of the default size classes.
pub const LARGE: usize = 600_000;

/// How long the timeout layers wait for what never comes.
const PATIENCE: Duration = Duration::from_millis(10);

/// The innermost service.
#[derive(Clone, Debug)]
pub struct Handler {
    pub(crate) ending: Ending,
    /// Told when a request that waits for ever has arrived.
    pub(crate) arrived: Arc<Notify>,
}

impl Handler {
    /// A handler that brings requests to this end, and the bell that it rings once a request that
    /// waits for ever has arrived.
    pub fn new(ending: Ending) -> (Self, Arc<Notify>) {
        let arrived = Arc::new(Notify::new());
        (Self { ending, arrived: Arc::clone(&arrived) }, arrived)
    }

    /// The response of axum and hyper.
    ///
    /// # Panics
    ///
    /// When the ending asks for it.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let short = || Body::new(Full::new(Bytes::from_static(b"an answer")));
        let large = || Body::new(Full::new(Bytes::from(vec![b'x'; LARGE])));
        if is_innocent(&request) {
            self.innocence().await;
            return Response::new(if self.is_in_its_body() {
                first_frame_and_no_more()
            } else {
                short()
            });
        }
        let with_status = |status| Response::builder().status(status).body(short());
        let response = match self.ending {
            Ending::ClientError | Ending::Unmatched => with_status(StatusCode::NOT_FOUND),
            Ending::ServerError => with_status(StatusCode::SERVICE_UNAVAILABLE),
            Ending::NoContent => with_status(StatusCode::NO_CONTENT),
            Ending::NotModified => Response::builder()
                .status(StatusCode::NOT_MODIFIED)
                .header(header::CONTENT_LENGTH, 9)
                .body(short()),
            Ending::EmptyBody => Ok(Response::new(Body::empty())),
            Ending::Head | Ending::ExactBody => Ok(Response::new(large())),
            Ending::CompressionInside | Ending::CompressionOutside => {
                Response::builder().header(header::CONTENT_TYPE, "text/plain").body(large())
            }
            Ending::StreamedBody => Ok(Response::new(scripted(
                (0..LARGE / 1_000).flat_map(|_| [Step::Data(1_000), Step::Pending]),
            ))),
            Ending::BodyError => Ok(Response::new(first_frame_and_then(Step::Error))),
            Ending::Panic(Site::Body, _) | Ending::PanicBesideInnocent(Site::Body, _) => {
                Ok(Response::new(first_frame_and_then(Step::Panic)))
            }
            Ending::Trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("7"));
                let body = scripted([Step::Data(9), Step::Trailers(trailers)]);
                Response::builder().header(header::TRAILER, "x-checksum").body(body)
            }
            Ending::DropInBody | Ending::BodyTimeoutInside | Ending::BodyTimeoutOutside => {
                Ok(Response::new(first_frame_and_no_more()))
            }
            Ending::EventStream => Response::builder()
                .header(header::CONTENT_TYPE, "text/event-stream")
                .body(first_frame_and_no_more()),
            Ending::Upgrade => {
                tokio::spawn(echo(request));
                Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header(header::UPGRADE, "echo")
                    .header(header::CONNECTION, "upgrade")
                    .body(Body::empty())
            }
            _ => {
                self.before_the_head().await;
                Ok(Response::new(short()))
            }
        };
        response.expect("a valid response")
    }

    /// What a request does that is served beside one that panics: it waits, and goes on only when
    /// the panic is caught before it reaches the task, or when bodies come to it.
    pub(crate) async fn innocence(&self) {
        match self.ending {
            Ending::PanicBesideInnocent(Site::Body, _) => {}
            Ending::PanicBesideInnocent(_, Catch::Inside) => tokio::task::yield_now().await,
            _ => pending::<()>().await,
        }
    }

    /// Whether an innocent request is half-way through its body when the other one panics.
    pub(crate) fn is_in_its_body(&self) -> bool {
        matches!(self.ending, Ending::PanicBesideInnocent(Site::Body, _))
    }

    /// What comes before any response, in all protocols.
    pub(crate) async fn before_the_head(&self) {
        match self.ending {
            Ending::Panic(Site::Future, _) | Ending::PanicBesideInnocent(Site::Future, _) => {
                tokio::task::yield_now().await;
                panic_on_purpose();
            }
            Ending::DropBeforeHead
            | Ending::TimeoutInsideAnswers
            | Ending::TimeoutInsideFails
            | Ending::TimeoutOutside => {
                self.arrived.notify_one();
                pending::<()>().await;
            }
            _ => {}
        }
    }
}

/// The layers inside of the one under test.
pub(crate) fn inside(ending: Ending, inner: AnyService) -> AnyService {
    let inner = match ending {
        Ending::ServiceError => AnyService::new(service_fn(|_| {
            ready(Err::<Response<Body>, _>(BoxError::from("on purpose")))
        })),
        Ending::Panic(Site::Call, _) | Ending::PanicBesideInnocent(Site::Call, _) => {
            let mut innocent = inner;
            AnyService::new(service_fn(move |request| {
                if is_innocent(&request) { innocent.call(request) } else { panic_on_purpose() }
            }))
        }
        _ => inner,
    };
    match ending {
        Ending::Panic(_, Catch::Inside) | Ending::PanicBesideInnocent(_, Catch::Inside) => {
            catch_panic(inner)
        }
        Ending::TimeoutInsideAnswers => answer_after_patience(inner),
        Ending::TimeoutInsideFails => {
            AnyService::new(tower::timeout::TimeoutLayer::new(PATIENCE).layer(inner))
        }
        Ending::BodyTimeoutInside => body_timeout(inner),
        Ending::CompressionInside => compression(inner),
        _ => inner,
    }
}

/// The layers outside of the one under test.
pub(crate) fn outside(ending: Ending, inner: AnyService) -> AnyService {
    let inner = match ending {
        Ending::PanicBesideInnocent(site, _) => beside_an_innocent(inner, site),
        _ => inner,
    };
    match ending {
        Ending::Panic(_, Catch::Outside) | Ending::PanicBesideInnocent(_, Catch::Outside) => {
            catch_panic(inner)
        }
        Ending::TimeoutOutside => answer_after_patience(inner),
        Ending::BodyTimeoutOutside => body_timeout(inner),
        Ending::CompressionOutside => compression(inner),
        _ => inner,
    }
}

fn catch_panic(inner: AnyService) -> AnyService {
    AnyService::new(CatchPanicLayer::new().layer(inner).map_response(any_body))
}

fn answer_after_patience(inner: AnyService) -> AnyService {
    let layer = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE);
    AnyService::new(layer.layer(inner))
}

fn body_timeout(inner: AnyService) -> AnyService {
    AnyService::new(ResponseBodyTimeoutLayer::new(PATIENCE).layer(inner).map_response(any_body))
}

fn compression(inner: AnyService) -> AnyService {
    AnyService::new(CompressionLayer::new().layer(inner).map_response(any_body))
}

fn any_body<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(Body::new)
}

/// Sends a second request along with each, in one task. It is called and polled first, and has not
/// ended when the other panics. Where bodies come to it, both are read here.
fn beside_an_innocent(inner: AnyService, site: Site) -> AnyService {
    AnyService::new(service_fn(move |guilty: Request<Body>| {
        let (mut service, mut beside) = (inner.clone(), inner.clone());
        async move {
            let innocent = Request::builder()
                .method(guilty.method())
                .uri(guilty.uri())
                .version(guilty.version())
                .header(INNOCENT, "yes");
            let mut innocent = innocent.body(Body::empty())?;
            // What the router or the server noted of the request.
            innocent.extensions_mut().clone_from(guilty.extensions());
            if let Some(content_type) = guilty.headers().get(header::CONTENT_TYPE) {
                innocent.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
            }
            let (service, beside) = (service.ready().await?, beside.ready().await?);
            let innocent = async {
                if let Ok(response) = beside.call(innocent).await {
                    let _ = response.into_body().collect().await;
                }
            };
            let guilty = async {
                let (head, body) = service.call(guilty).await?.into_parts();
                let body = match site {
                    Site::Call | Site::Future => body,
                    Site::Body => Body::from(body.collect().await?.to_bytes()),
                };
                Ok(Response::from_parts(head, body))
            };
            tokio::join!(innocent, guilty).1
        }
    }))
}

const INNOCENT: &str = "x-innocent";

pub(crate) fn is_innocent<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(INNOCENT)
}

fn scripted(steps: impl IntoIterator<Item = Step>) -> Body {
    Body::new(ScriptedBody::new(steps))
}

/// In between it is pending often enough for the server to send the head and the first frame.
fn first_frame_and_then(last: Step) -> Body {
    let pauses = std::iter::repeat_n(Step::Pending, 20);
    scripted([Step::Data(9)].into_iter().chain(pauses).chain([last]))
}

pub(crate) fn first_frame_and_no_more() -> Body {
    let first = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"data: first\n\n")));
    Body::new(StreamBody::new(tokio_stream::once(first).chain(tokio_stream::pending())))
}

/// Speaks the other protocol: sends back four bytes.
async fn echo(request: Request<Body>) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let (mut stream, mut bytes) = (TokioIo::new(upgraded), [0; 4]);
    if stream.read_exact(&mut bytes).await.is_ok() {
        let _ = stream.write_all(&bytes).await;
    }
}
