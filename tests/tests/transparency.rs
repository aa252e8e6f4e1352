//! Not one byte of traffic changes: the same requests to a bare service and to a wrapped one, with
//! heads measured and with bodies, and everything that can be seen of the answers compared.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use axum::body::Body as AnyBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource};
use latency_experiment_testkit::{ScriptedBody, ScriptedError, Step};
use latency_experiment_tests::{
    AnyService, Ending, Stack, Subject, hush, play, serve_axum, serve_hyper,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceExt, service_fn};

fn experiment() -> LatencyExperiment {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    let routes = RouteSource::function(|_| Some("/"));
    LatencyExperiment::with_config(Config::new(flags).with_route_source(routes))
}

// Over sockets, every stack.

#[test]
fn every_end_of_a_request_looks_the_same_to_the_client() {
    let experiment = experiment();
    let subjects: [(&str, Subject); 3] = [
        ("bare", Arc::new(|inner| inner)),
        ("head only", Arc::new(move |inner| AnyService::new(experiment.layer(inner)))),
        (
            "with body",
            Arc::new(move |inner| {
                let measured = experiment.layer_with_body().layer(inner);
                AnyService::new(measured.map_response(|response| response.map(AnyBody::new)))
            }),
        ),
    ];
    let mut compared = 0;
    for stack in Stack::ALL {
        for ending in Ending::ALL {
            if ending.cannot_exist(stack).is_some() {
                continue;
            }
            let [bare, head_only, with_body] = subjects.each_ref().map(|(_, subject)| {
                let (mut answer, _) = play(stack, ending, subject, || true, Duration::ZERO);
                answer.headers.remove(header::DATE);
                answer
            });
            assert_eq!(head_only, bare, "{stack}, {ending}, head only");
            assert_eq!(with_body, bare, "{stack}, {ending}, with body");
            compared += 1;
        }
    }
    println!("{compared} cells, each three times");
}

// Raw bytes of HTTP/1.

/// Sends bytes as they are and reads until the server closes.
async fn raw(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    // A connection that the server gives up may end in a reset: what came before it counts.
    let read = stream.read_to_end(&mut response);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("the server closes");
    without_date(&response)
}

/// The date is the only header that changes by itself.
fn without_date(response: &[u8]) -> Vec<u8> {
    let lines = response.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"date: ")).flatten().copied().collect()
}

/// Answers by path, with bodies of all kinds, unboxed around the layer under test.
async fn answer(request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    let scripted = |body| Response::new(AnyBody::new(body));
    let data = || [Step::Data(10), Step::Pending, Step::Data(0), Step::Data(20)];
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let mut response = match request.uri().path() {
        "/echo" => Response::new(AnyBody::new(request.into_body())),
        "/echo/collected" => {
            let body = request.into_body().collect().await;
            Response::new(body.map_or_else(|_| AnyBody::from("bad"), |b| b.to_bytes().into()))
        }
        "/exact" => scripted(ScriptedBody::new(data()).with_exact_size(30)),
        "/exact/flag" => scripted(ScriptedBody::new(data()).with_exact_size(30).with_end_flag()),
        "/stream" => scripted(ScriptedBody::new(data())),
        "/stream/flag" => scripted(ScriptedBody::new(data()).with_end_flag()),
        "/empty" => scripted(ScriptedBody::new([])),
        "/empty/flag" => scripted(ScriptedBody::new([]).with_end_flag()),
        "/empty/exact" => scripted(ScriptedBody::new([]).with_exact_size(0).with_end_flag()),
        "/error" => scripted(ScriptedBody::new([Step::Data(9), Step::Pending, Step::Error])),
        "/trailers" => scripted(ScriptedBody::new([Step::Data(9), Step::Trailers(trailers)])),
        "/204" => Response::builder().status(204).body(AnyBody::empty()).unwrap(),
        "/304" => Response::builder().status(304).body(AnyBody::from("not sent")).unwrap(),
        "/length" => Response::builder()
            .header(header::CONTENT_LENGTH, 30)
            .body(AnyBody::new(ScriptedBody::new(data())))
            .unwrap(),
        "/events" => Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .body(AnyBody::new(ScriptedBody::new(data())))
            .unwrap(),
        _ => Response::builder().status(404).body(AnyBody::from("no")).unwrap(),
    };
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum"));
    Ok(response)
}

#[tokio::test]
async fn bytes_on_the_wire_are_the_same() {
    let experiment = experiment();
    let handler = service_fn(answer);
    let servers = [
        serve_hyper(handler).await,
        serve_hyper(experiment.layer(handler)).await,
        serve_hyper(experiment.layer_with_body().layer(handler)).await,
    ];
    let paths = [
        "/exact",
        "/exact/flag",
        "/stream",
        "/stream/flag",
        "/empty",
        "/empty/flag",
        "/empty/exact",
        "/error",
        "/trailers",
        "/204",
        "/304",
        "/length",
        "/events",
        "/nowhere",
    ];
    let mut requests = Vec::new();
    for path in paths {
        for method in ["GET", "HEAD"] {
            for (version, header) in [("1.1", "te: trailers\r\nconnection: close"), ("1.0", "a: b")]
            {
                requests.push(format!(
                    "{method} {path} HTTP/{version}\r\nhost: test\r\n{header}\r\n\r\n"
                ));
            }
        }
        // The first response must not be read as longer or shorter than it is.
        requests.push(format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n\
             GET /exact HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        ));
    }
    for path in ["/echo", "/echo/collected"] {
        requests.push(format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        ));
        requests.push(format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
             content-length: 7\r\nexpect: 100-continue\r\n\r\nabcdefg"
        ));
        // A body that ends early, then one that is no HTTP.
        requests.push(format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
        ));
    }
    requests.push("GET\r\n\r\n".to_owned());
    requests.push("BREW /exact HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n".to_owned());
    for request in &requests {
        let [bare, head_only, with_body] =
            [0, 1, 2].map(|server| raw(servers[server], request.as_bytes()));
        let (bare, head_only, with_body) = tokio::join!(bare, head_only, with_body);
        assert!(!bare.is_empty() || request.contains("zz"), "{request:?}");
        assert_eq!(text(&head_only), text(&bare), "{request:?}, head only");
        assert_eq!(text(&with_body), text(&bare), "{request:?}, with body");
    }
    println!("{} raw exchanges, each three times", requests.len());
}

#[tokio::test]
async fn bytes_on_the_wire_are_the_same_in_axum() {
    use axum::Router;
    use axum::routing::get;

    let app = || {
        let stream = || async { AnyBody::new(ScriptedBody::new([Step::Data(10), Step::Data(20)])) };
        Router::new()
            .route("/text", get(|| async { "text" }))
            .route("/stream", get(stream))
            .route(
                "/status/{code}",
                get(|code: axum::extract::Path<u16>| async move {
                    StatusCode::from_u16(*code).unwrap()
                }),
            )
            .nest("/nested", Router::new().route("/leaf", get(|| async { vec![1u8; 70_000] })))
    };
    let experiment = experiment();
    let with_body = || experiment.layer_with_body();
    let bare = serve_axum(app()).await;
    let wrapped = [
        ("inside, head only", serve_axum(app().layer(experiment)).await),
        ("inside, with body", serve_axum(app().layer(with_body())).await),
        ("per route, head only", serve_axum(app().route_layer(experiment)).await),
        ("per route, with body", serve_axum(app().route_layer(with_body())).await),
        (
            "outside, head only",
            serve_axum(Router::new().fallback_service(experiment.layer(app()))).await,
        ),
        (
            "outside, with body",
            serve_axum(Router::new().fallback_service(with_body().layer(app()))).await,
        ),
    ];
    for path in
        ["/text", "/stream", "/status/204", "/status/304", "/status/500", "/nested/leaf", "/no"]
    {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            let expected = raw(bare, request.as_bytes()).await;
            for (place, address) in wrapped {
                let seen = raw(address, request.as_bytes()).await;
                assert_eq!(text(&seen), text(&expected), "{method} {path}, {place}");
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// Poll by poll, in process.

/// A service that is written down: what it answers to `poll_ready`, how long the future waits, and
/// what comes of it. It cannot be cloned, and panics when it is called before it is ready.
#[derive(Debug)]
struct ScriptedService {
    readiness: VecDeque<Poll<Result<(), ScriptedError>>>,
    ready: bool,
    pauses: usize,
    outcome: Option<Result<Response<ScriptedBody>, ScriptedError>>,
    seen: Rc<RefCell<Vec<String>>>,
}

impl Service<Request<u32>> for ScriptedService {
    type Response = Response<ScriptedBody>;
    type Error = ScriptedError;
    type Future = ScriptedFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ScriptedError>> {
        let answer = self.readiness.pop_front().unwrap_or(Poll::Ready(Ok(())));
        self.ready = matches!(answer, Poll::Ready(Ok(())));
        self.seen.borrow_mut().push(format!("poll_ready by {}: {answer:?}", waker_of(cx)));
        answer
    }

    fn call(&mut self, request: Request<u32>) -> ScriptedFuture {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        let (parts, body) = request.into_parts();
        self.seen.borrow_mut().push(format!(
            "call {} {} {:?} {:?} {body}, {} extensions",
            parts.method,
            parts.uri,
            parts.version,
            parts.headers,
            parts.extensions.len()
        ));
        ScriptedFuture {
            pauses: self.pauses,
            outcome: self.outcome.take(),
            seen: Rc::clone(&self.seen),
        }
    }
}

struct ScriptedFuture {
    pauses: usize,
    outcome: Option<Result<Response<ScriptedBody>, ScriptedError>>,
    seen: Rc<RefCell<Vec<String>>>,
}

impl Future for ScriptedFuture {
    type Output = Result<Response<ScriptedBody>, ScriptedError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut();
        this.seen.borrow_mut().push(format!("poll by {}", waker_of(cx)));
        if this.pauses == 0 {
            return Poll::Ready(this.outcome.take().expect("polled after it was ready"));
        }
        this.pauses -= 1;
        Poll::Pending
    }
}

/// Wakers that can be told apart: the same one must arrive inside.
#[derive(Debug)]
struct Named;

impl Wake for Named {
    fn wake(self: Arc<Self>) {}
}

thread_local!(static WAKERS: [Waker; 2] = std::array::from_fn(|_| Waker::from(Arc::new(Named))));

fn waker_of(cx: &Context<'_>) -> String {
    let known = WAKERS.with(|wakers| wakers.iter().position(|waker| waker.will_wake(cx.waker())));
    known.map_or_else(|| "a stranger".to_owned(), |index| format!("waker {index}"))
}

/// Everything that a server can see of a service, and the service of its caller, poll by poll.
fn protocol<S, B>(mut service: S, request: Request<u32>) -> Vec<String>
where
    S: Service<Request<u32>, Response = Response<B>, Error = ScriptedError>,
    B: Body<Data = Bytes, Error = ScriptedError>,
{
    let wakers = WAKERS.with(Clone::clone);
    let mut turns = wakers.iter().cycle().map(Context::from_waker);
    let mut log = Vec::new();
    loop {
        let ready = service.poll_ready(&mut turns.next().unwrap());
        log.push(format!("ready {ready:?}"));
        match ready {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => break,
            Poll::Ready(Err(_)) => return log,
        }
    }
    let mut future = pin!(service.call(request));
    let response = loop {
        match future.as_mut().poll(&mut turns.next().unwrap()) {
            Poll::Pending => log.push("pending".to_owned()),
            Poll::Ready(Ok(response)) => break response,
            Poll::Ready(Err(error)) => {
                log.push(format!("{error:?}"));
                return log;
            }
        }
    };
    let (parts, body) = response.into_parts();
    log.push(format!(
        "{} {:?} {:?}, {} extensions",
        parts.status,
        parts.version,
        parts.headers,
        parts.extensions.len()
    ));
    let mut body = pin!(body);
    loop {
        let hint: SizeHint = body.size_hint();
        log.push(format!("end {} hint {hint:?}", body.is_end_stream()));
        match body.as_mut().poll_frame(&mut turns.next().unwrap()) {
            Poll::Ready(None) => break,
            other => log.push(format!("{other:?}")),
        }
        if log.last().is_some_and(|last| last.contains("Err(")) {
            break;
        }
    }
    log
}

/// A service and a request to it.
#[allow(clippy::struct_excessive_bools, reason = "each is drawn for itself")]
#[derive(Clone, Debug)]
struct Case {
    readiness: Vec<Option<bool>>,
    pauses: usize,
    fails: bool,
    status: u16,
    head: bool,
    headers: Vec<(String, Vec<u8>)>,
    steps: Vec<Step>,
    /// The size hint is exact and true.
    exact: bool,
    end_flag: bool,
}

impl Case {
    fn body(&self) -> ScriptedBody {
        let mut body = ScriptedBody::new(self.steps.clone());
        if self.exact {
            let size: usize = self
                .steps
                .iter()
                .map(|step| if let Step::Data(bytes) = step { *bytes } else { 0 })
                .sum();
            body = body.with_exact_size(size as u64);
        }
        if self.end_flag { body.with_end_flag() } else { body }
    }

    fn headers(&self) -> HeaderMap {
        let pairs = self.headers.iter().map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            )
        });
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    fn response(&self) -> Response<ScriptedBody> {
        let mut response = Response::new(self.body());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        *response.headers_mut() = self.headers();
        response
    }

    fn service(&self) -> (ScriptedService, Rc<RefCell<Vec<String>>>) {
        let seen = Rc::default();
        let readiness = self.readiness.iter().map(|answer| match answer {
            None => Poll::Pending,
            Some(true) => Poll::Ready(Ok(())),
            Some(false) => Poll::Ready(Err(ScriptedError)),
        });
        let service = ScriptedService {
            readiness: readiness.collect(),
            ready: false,
            pauses: self.pauses,
            outcome: Some(if self.fails { Err(ScriptedError) } else { Ok(self.response()) }),
            seen: Rc::clone(&seen),
        };
        (service, seen)
    }

    fn request(&self) -> Request<u32> {
        let mut request = Request::new(7);
        *request.method_mut() = if self.head { http::Method::HEAD } else { http::Method::POST };
        *request.uri_mut() = "/some/path?and=query".parse().unwrap();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers();
        request.extensions_mut().insert("an extension");
        request
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let step = prop_oneof![
        4 => (0..3_000usize).prop_map(Step::Data),
        1 => Just(Step::Data(0)),
        2 => Just(Step::Pending),
    ];
    let last = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Step::Error)),
        2 => Just(Some(Step::Trailers(HeaderMap::from_iter([(
            HeaderName::from_static("x-sum"),
            HeaderValue::from_static("1"),
        )])))),
    ];
    let steps = (prop::collection::vec(step, 0..8), last)
        .prop_map(|(steps, last)| steps.into_iter().chain(last).collect::<Vec<_>>());
    let status = prop_oneof![
        3 => Just(200u16),
        2 => prop::sample::select(vec![201, 204, 205, 206, 304, 404, 408, 499, 500, 503, 599]),
    ];
    let readiness = prop_oneof![
        3 => prop::collection::vec(Just(None), 0..3),
        1 => prop::collection::vec(prop::option::of(any::<bool>()), 0..4),
    ];
    let name = prop_oneof!["x-[a-z0-9]{1,9}", Just("x-request-id".to_owned())];
    let headers = prop::collection::vec((name, prop::collection::vec(0x20..0x7fu8, 0..30)), 0..5);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.15));
    (readiness, 0..3usize, status, headers, steps, flags).prop_map(
        |(readiness, pauses, status, headers, steps, (head, exact, end_flag, fails))| Case {
            readiness,
            pauses,
            fails,
            status,
            head,
            headers,
            steps,
            exact,
            end_flag,
        },
    )
}

/// A failing case is printed, not kept in a file.
fn random_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(random_cases(2_000))]

    /// The server sees the same answers in the same polls, and the service gets the same request,
    /// the same wakers and no poll more.
    #[test]
    fn services_and_bodies_answer_poll_by_poll_as_if_nothing_was_around_them(case in cases()) {
        let experiment = shared_experiment();
        let (bare, bare_seen) = case.service();
        let outside = protocol(bare, case.request());
        let (head_only, head_only_seen) = case.service();
        prop_assert_eq!(&protocol(experiment.layer(head_only), case.request()), &outside);
        prop_assert_eq!(&*head_only_seen.borrow(), &*bare_seen.borrow());
        let (with_body, with_body_seen) = case.service();
        let with_body = experiment.layer_with_body().layer(with_body);
        prop_assert_eq!(&protocol(with_body, case.request()), &outside);
        prop_assert_eq!(&*with_body_seen.borrow(), &*bare_seen.borrow());
        let apart = experiment.experiments().assign_layer();
        let (two_layers, two_layers_seen) = case.service();
        let two_layers = apart.layer(experiment.experiments().latency_layer().layer(two_layers));
        prop_assert_eq!(&protocol(two_layers, case.request()), &outside);
        prop_assert_eq!(&*two_layers_seen.borrow(), &*bare_seen.borrow());
        prop_assert!(bare_seen.borrow().iter().all(|line| !line.contains("stranger")));
    }
}

/// Its tables live as long as the process, so all cases share one.
fn shared_experiment() -> LatencyExperiment {
    static SHARED: std::sync::OnceLock<LatencyExperiment> = std::sync::OnceLock::new();
    *SHARED.get_or_init(experiment)
}

/// The same cases as raw bytes of HTTP/1.
#[test]
fn random_responses_have_the_same_bytes_on_the_wire() {
    hush();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let current = Arc::new(Mutex::new(None::<Case>));
    let experiment = shared_experiment();
    let servers = runtime.block_on(async {
        let current = Arc::clone(&current);
        let handler = service_fn(move |_: Request<Incoming>| {
            let case = current.lock().unwrap().clone().unwrap();
            async move {
                for _ in 0..case.pauses {
                    tokio::task::yield_now().await;
                }
                if case.fails { Err(ScriptedError) } else { Ok(case.response()) }
            }
        });
        [
            serve_hyper(handler.clone()).await,
            serve_hyper(experiment.layer(handler.clone())).await,
            serve_hyper(experiment.layer_with_body().layer(handler)).await,
        ]
    });
    proptest!(random_cases(500), |(case in cases())| {
        let method = if case.head { "HEAD" } else { "GET" };
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: close\r\n\r\n"
        );
        *current.lock().unwrap() = Some(case);
        let [bare, head_only, with_body] =
            servers.map(|server| text(&runtime.block_on(raw(server, request.as_bytes()))));
        prop_assert_eq!(&head_only, &bare);
        prop_assert_eq!(&with_body, &bare);
    });
}

// Readiness of clones.

/// Each clone must be made ready for itself, as a service with a permit or a buffer slot must.
#[derive(Debug, Default)]
struct Permit {
    ready: bool,
}

impl Clone for Permit {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<()>> for Permit {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "a service that was not ready was called");
        std::future::ready(Ok(Response::new(Full::default())))
    }
}

#[tokio::test]
async fn the_service_that_was_made_ready_is_the_one_that_is_called() {
    async fn calls<S>(service: S)
    where
        S: Service<Request<()>, Error = Infallible> + Clone,
    {
        let mut first = service.clone();
        for _ in 0..3 {
            first.ready().await.unwrap().call(Request::new(())).await.unwrap();
        }
        // A clone of a ready service is not ready; both are called only after they are.
        let ready = first.ready().await.unwrap();
        let mut second = ready.clone();
        ready.call(Request::new(())).await.unwrap();
        second.ready().await.unwrap().call(Request::new(())).await.unwrap();
        service.oneshot(Request::new(())).await.unwrap();
    }
    let experiment = shared_experiment();
    calls(experiment.layer(Permit::default())).await;
    calls(experiment.layer_with_body().layer(Permit::default())).await;
    let experiments = experiment.experiments();
    calls(experiments.assign_layer().layer(experiments.latency_layer().layer(Permit::default())))
        .await;
}
