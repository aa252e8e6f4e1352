//! An open-loop client: it sends on schedule and never waits for a response before the next
//! request.
//!
//! A client that waits sends less while the service is slow, and so leaves out the very requests
//! that would have suffered (coordinated omission). Here a request counts from the moment it was
//! due, wherever it then had to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::api::TENANT;
use crate::schedule::{Schedule, Target};
use crate::tally::{Answer, Tally};

/// The response header that names the arm that a request got.
pub const ARM: &str = "x-arm";

/// Connections at most, all kept alive. Far more than are ever busy unless the service is
/// overloaded; then requests wait for one, and the wait counts.
const CONNECTIONS: usize = 128;
/// After this a request counts as unanswered.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Until the first request is due, so that threads are up by then.
const LEAD: Duration = Duration::from_millis(20);

/// A load that is being sent. It goes on until all responses are there.
pub struct Load {
    /// What was measured so far.
    pub tally: Arc<Tally>,
    done: oneshot::Receiver<()>,
}

/// Starts sending to a service, on threads of its own: the client shares no runtime with it.
pub fn start(service: SocketAddr, schedule: Schedule) -> Result<Load, Error> {
    let tally = Arc::new(Tally::default());
    let (finished, done) = oneshot::channel();
    let (dispatch, due) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = Arc::new(Clients::new(service, Arc::clone(&tally)));
    thread::Builder::new().name("load".to_owned()).spawn(move || {
        runtime.block_on(send_all(due, clients));
        // Nobody listens any more when the example was interrupted.
        let _ = finished.send(());
    })?;
    thread::Builder::new().name("pace".to_owned()).spawn(move || pace(schedule, &dispatch))?;
    Ok(Load { tally, done })
}

impl Load {
    /// Waits until every request has ended.
    pub async fn finish(&mut self) -> Result<(), Error> {
        (&mut self.done).await.map_err(|_| "the client stopped before the load was complete".into())
    }
}

/// Hands each request over when it is due. A thread of its own, because the timers of the runtime
/// are a millisecond coarse.
fn pace(schedule: Schedule, dispatch: &mpsc::UnboundedSender<(Instant, Target)>) {
    let start = Instant::now() + LEAD;
    for arrival in schedule {
        let due = start + arrival.at;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if dispatch.send((due, arrival.target)).is_err() {
            return;
        }
    }
}

async fn send_all(mut due: mpsc::UnboundedReceiver<(Instant, Target)>, clients: Arc<Clients>) {
    let mut requests = JoinSet::new();
    while let Some((due, target)) = due.recv().await {
        let clients = Arc::clone(&clients);
        requests.spawn(async move { clients.send(due, target).await });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

struct Clients {
    service: SocketAddr,
    http: Client<HttpConnector, Empty<Bytes>>,
    connections: Semaphore,
    tally: Arc<Tally>,
}

impl Clients {
    fn new(service: SocketAddr, tally: Arc<Tally>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(CONNECTIONS)
            // One request is one request: a second try would be counted twice by the service.
            .retry_canceled_requests(false)
            .build(connector);
        Self { service, http, connections: Semaphore::new(CONNECTIONS), tally }
    }

    async fn send(&self, due: Instant, target: Target) {
        self.tally.sent();
        let answer = match timeout(TIMEOUT, self.exchange(target)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::None { reason: error.to_string() },
            Err(_) => Answer::None { reason: format!("no response within {TIMEOUT:?}") },
        };
        self.tally.ended(target.route(), due.elapsed(), answer);
    }

    async fn exchange(&self, target: Target) -> Result<Answer, Error> {
        let _connection = self.connections.acquire().await?;
        let response = self.http.request(self.request(target)?).await?;
        let status = response.status().as_u16();
        let arm = response.headers().get(ARM).and_then(|arm| Some(arm.to_str().ok()?.to_owned()));
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(Answer::Response { status, arm })
    }

    fn request(&self, target: Target) -> Result<Request<Empty<Bytes>>, Error> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.service.to_string())
            .path_and_query(target.path())
            .build()?;
        let mut request = Request::get(uri).header(header::ACCEPT, "application/json");
        if let Some(tenant) = target.tenant() {
            request = request.header(TENANT, tenant.0);
        }
        Ok(request.body(Empty::new())?)
    }
}
