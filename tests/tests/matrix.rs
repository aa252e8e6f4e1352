//! Every end of a request on every server, over sockets: each is counted once, under the outcome,
//! size class and route that are written down here.
//!
//! `cargo test -p latency-experiment-tests --test matrix -- --nocapture` prints the matrix.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource, Snapshot};
use latency_experiment_record::{Milestone, Outcome, SeriesKey};
use latency_experiment_tests::{
    Answer, AnyService, Catch, Ending, LARGE, Site, Stack, Subject, has_head, in_flight, outcomes,
    play, route,
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

/// The status that the client must see, and whether all of the body must arrive: the witness that
/// the cell is what it says it is.
#[allow(clippy::match_same_arms, reason = "it is a table, and each row has its own reason")]
fn answer(stack: Stack, ending: Ending) -> (Option<u16>, bool) {
    let axum = matches!(stack, Stack::AxumInside | Stack::AxumOutside);
    match ending {
        Ending::ClientError | Ending::Unmatched if !stack.is_grpc() => (Some(404), true),
        Ending::ServerError if !stack.is_grpc() => (Some(503), true),
        // axum makes a response of an error that passed the layer; hyper and tonic do not.
        Ending::ServiceError | Ending::TimeoutInsideFails if axum => (Some(500), true),
        Ending::ServiceError | Ending::TimeoutInsideFails => (None, false),
        // hyper sends the body of a response to HEAD over HTTP/2, which the client refuses.
        Ending::Head if stack == Stack::Hyper2 => (Some(200), false),
        Ending::Panic(Site::Body, _) => (Some(200), false),
        Ending::Panic(_, Catch::None)
        | Ending::PanicBesideInnocent(_, Catch::None)
        | Ending::PanicBesideInnocent(Site::Body, Catch::Inside)
        | Ending::DropBeforeHead => (None, false),
        Ending::Panic(..) | Ending::PanicBesideInnocent(..) => (Some(500), true),
        Ending::DropInBody
        | Ending::EventStream
        | Ending::BodyTimeoutInside
        | Ending::BodyTimeoutOutside => (Some(200), false),
        Ending::BodyError => (Some(200), stack.is_grpc()),
        Ending::TimeoutInsideAnswers | Ending::TimeoutOutside => (Some(408), true),
        Ending::NoContent => (Some(204), true),
        Ending::NotModified => (Some(304), true),
        Ending::Upgrade => (Some(101), true),
        _ => (Some(200), true),
    }
}

/// What else the client must see for the cell to be what it says it is.
fn is_genuine(stack: Stack, ending: Ending, seen: &Answer) -> bool {
    let header = |name| seen.headers.get(name).and_then(|value| value.to_str().ok());
    let grpc_status = seen.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    match (ending, stack.is_grpc()) {
        (Ending::Upgrade, _) => seen.body == "ping",
        (Ending::EventStream, _) => header("content-type") == Some("text/event-stream"),
        (Ending::CompressionInside, true) => header("grpc-encoding") == Some("gzip"),
        (Ending::CompressionInside | Ending::CompressionOutside, false) => {
            header("content-encoding") == Some("gzip")
        }
        (Ending::Head, _) => seen.body.is_empty() && header("content-length") == Some("600000"),
        (Ending::ExactBody, false) => {
            // HTTP/2 frames bodies of any size alike, and hyper adds the length there too.
            seen.body.len() == LARGE && header("content-length") == Some("600000")
        }
        (Ending::StreamedBody, false) => {
            seen.body.len() == LARGE && header("content-length").is_none()
        }
        (Ending::Trailers, false) => {
            seen.trailers.as_ref().is_some_and(|trailers| trailers["x-checksum"] == "7")
        }
        (Ending::Ok | Ending::ClientError | Ending::ServerError, true) => {
            let expected = match ending {
                Ending::ClientError => "5",
                Ending::ServerError => "13",
                _ => "0",
            };
            if stack == Stack::TonicTrailersOnly {
                header("grpc-status") == Some(expected)
            } else {
                header("grpc-status").is_none()
                    && grpc_status.is_some_and(|status| status == expected)
            }
        }
        (Ending::BodyError, true) => grpc_status.is_some_and(|status| status == "13"),
        _ => true,
    }
}

fn experiment(stack: Stack) -> LatencyExperiment {
    let config = Config::new(FlagSet::try_new([Flag::new("flag")]).unwrap());
    LatencyExperiment::with_config(match stack {
        Stack::Hyper1 | Stack::Hyper2 => config.with_route_source(RouteSource::function(|head| {
            head.uri.path().starts_with("/cell/").then_some("/cell/{id}")
        })),
        _ => config,
    })
}

/// What is measured, and by which layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measured {
    Head,
    WholeBody,
    /// One layer assigns, and another one inside of it measures heads.
    HeadByTwoLayers,
}

fn subject(experiment: LatencyExperiment, measured: Measured, gauge: &Arc<Gauge>) -> Subject {
    let gauge = Arc::clone(gauge);
    Arc::new(move |inner: AnyService| {
        let inner = gauge.watch(inner, experiment);
        match measured {
            Measured::Head => AnyService::new(experiment.layer(inner)),
            Measured::WholeBody => {
                let measured = experiment.layer_with_body().layer(inner);
                AnyService::new(measured.map_response(|response| response.map(Body::new)))
            }
            Measured::HeadByTwoLayers => {
                let experiments = experiment.experiments();
                let timed = experiments.latency_layer().layer(inner);
                AnyService::new(experiments.assign_layer().layer(timed))
            }
        }
    })
}

/// What was said to be in flight while the service worked on requests.
#[derive(Default)]
struct Gauge {
    /// In `call`, and once the response was there.
    head: Mutex<Vec<u64>>,
    /// Before the first frame of each body.
    body: Mutex<Vec<u64>>,
}

impl Gauge {
    /// Reads the gauge inside of the layer under test, where each request consults the flag, too.
    fn watch(self: &Arc<Self>, mut inner: AnyService, experiment: LatencyExperiment) -> AnyService {
        let gauge = Arc::clone(self);
        let now = move || in_flight(&experiment.snapshot());
        let flag = experiment.flag("flag").unwrap();
        AnyService::new(service_fn(move |request| {
            let gauge = Arc::clone(&gauge);
            gauge.head.lock().unwrap().push(now());
            flag.is_on();
            let response = inner.call(request);
            async move {
                let response = response.await?;
                gauge.head.lock().unwrap().push(now());
                let first = Box::new(move || gauge.body.lock().unwrap().push(now()));
                Ok::<_, BoxError>(
                    response.map(|inner| Body::new(Watched { inner, first: Some(first) })),
                )
            }
        }))
    }

    /// With the body a request stays in flight until that has ended, else until the head is there.
    fn check(&self, ending: Ending, with_body: bool) -> bool {
        let (head, body) = (self.head.lock().unwrap(), self.body.lock().unwrap());
        let ends_at_head = [Ending::Head, Ending::NoContent, Ending::NotModified];
        let whole_body = with_body
            && !ends_at_head.contains(&ending)
            && !matches!(ending, Ending::EventStream | Ending::Upgrade);
        // Two that wait for nothing but bodies have their heads one after the other.
        let in_turn = !with_body && matches!(ending, Ending::PanicBesideInnocent(Site::Body, _));
        let together = if in_turn { 1 } else { ending.requests() };
        let bodies = if whole_body { 1..=together } else { 0..=0 };
        head.iter().max() == Some(&together)
            && head.iter().all(|n| (1..=together).contains(n))
            && body.iter().all(|n| bodies.contains(n))
    }
}

/// A body that calls a function before its first frame.
struct Watched {
    inner: Body,
    first: Option<Box<dyn FnOnce() + Send>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        if let Some(first) = self.first.take() {
            first();
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

fn filed(snapshot: &Snapshot, milestone: &Milestone) -> BTreeMap<(Outcome, String, String), u64> {
    let mut filed = BTreeMap::new();
    for (key, histogram) in &snapshot.series {
        if key.milestone == *milestone {
            let key = (key.outcome, key.size.clone(), key.route.clone());
            *filed.entry(key).or_default() += histogram.count();
        }
    }
    filed
}

/// Plays a cell and says what is wrong with it.
fn check(stack: Stack, ending: Ending, measured: Measured) -> Vec<String> {
    let with_body = measured == Measured::WholeBody;
    let experiment = experiment(stack);
    let sent = ending.requests();
    let quiet = || {
        let snapshot = experiment.snapshot();
        snapshot.counters.started.values().sum::<u64>() == sent && in_flight(&snapshot) == 0
    };
    let gauge = Arc::<Gauge>::default();
    let subject = subject(experiment, measured, &gauge);
    let (seen, settled) = play(stack, ending, &subject, quiet, Duration::from_secs(10));

    let mut wrong = Vec::new();
    let mut demand = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{stack}, {ending}, {measured:?}: {what}"));
        }
    };
    let expected_answer = answer(stack, ending);
    let status = seen.status.map(|status| status.as_u16());
    demand(
        (status, seen.complete) == expected_answer && is_genuine(stack, ending, &seen),
        format!("the client expected {expected_answer:?} and saw {seen:?}"),
    );
    demand(
        gauge.check(ending, with_body),
        format!("in flight meanwhile: {:?}, {:?}", gauge.head, gauge.body),
    );
    demand(settled, "requests are in flight while nothing happens".to_owned());

    // Taken after the server is gone, so that whatever would be counted twice has been.
    let snapshot = experiment.snapshot();
    let (head_only, whole_body) = outcomes(stack, ending);
    let mut expected = BTreeMap::new();
    for (outcome, size) in if with_body { whole_body } else { head_only } {
        let key = (outcome, size.to_owned(), route(stack, ending, outcome).to_owned());
        *expected.entry(key).or_default() += 1;
    }
    let latencies = filed(&snapshot, &Milestone::Latency);
    demand(latencies == expected, format!("expected {expected:?}, not {latencies:?}"));

    let durations = filed(&snapshot, &Milestone::Duration);
    expected.retain(|(outcome, ..), _| with_body && has_head(ending, *outcome));
    demand(durations == expected, format!("durations: expected {expected:?}, not {durations:?}"));

    demand(
        snapshot.series.keys().all(|key| key.exposed),
        "a request that consulted the flag is not exposed".to_owned(),
    );
    for (arm, started) in &snapshot.counters.started {
        let ended = latency_experiment_tests::count(&snapshot, |key| key.arm == *arm);
        let assigned = snapshot.assigned.get(arm).copied();
        demand(
            ended == *started && assigned == Some(*started),
            format!("{arm}: {started} started, {ended} ended, {assigned:?} assigned"),
        );
    }
    for ((route, arm), counts) in &snapshot.counters.routes {
        let here = |key: &SeriesKey| key.route == *route && key.arm == *arm;
        let ended = latency_experiment_tests::count(&snapshot, here);
        demand(
            (counts.started, counts.in_flight) == (ended, 0),
            format!("{arm}, {route}: {counts:?}, {ended} ended"),
        );
    }
    demand(
        snapshot.counters.started.values().sum::<u64>() == sent && in_flight(&snapshot) == 0,
        format!("{sent} sent: {:?}", snapshot.counters),
    );
    wrong
}

#[test]
fn every_end_of_a_request_on_every_server() {
    let mut wrong = Vec::new();
    let mut cells = 0;
    for stack in Stack::ALL {
        for ending in Ending::ALL {
            if ending.cannot_exist(stack).is_some() {
                continue;
            }
            for measured in [Measured::Head, Measured::WholeBody, Measured::HeadByTwoLayers] {
                wrong.extend(check(stack, ending, measured));
                cells += 1;
            }
        }
    }
    println!("{}\n{cells} cells played", table());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The page is written by a program, from the same ends.
#[test]
fn the_page_that_compares_other_middleware_has_a_row_for_every_end() {
    let page = include_str!("../../docs/comparison.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let rows: Vec<_> = rows.collect();
    for ending in Ending::ALL {
        assert!(rows.contains(&ending.to_string().as_str()), "no row for {ending}: run `peers`");
    }
}

/// The matrix as Markdown: what every cell was checked against, or why it cannot exist.
fn table() -> String {
    let mut reasons = Vec::new();
    let mut text = String::from("| |");
    for stack in Stack::ALL {
        write!(text, " {stack} |").unwrap();
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(Stack::ALL.len()));
    for ending in Ending::ALL {
        write!(text, "\n| {ending} |").unwrap();
        for stack in Stack::ALL {
            if let Some(reason) = ending.cannot_exist(stack) {
                let note = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                write!(text, " — ({}) |", note + 1).unwrap();
                continue;
            }
            let (head_only, whole_body) = outcomes(stack, ending);
            let show = |filed: &[(Outcome, &str)]| {
                filed
                    .iter()
                    .map(|(outcome, size)| {
                        let route = route(stack, ending, *outcome);
                        let route = if route == "_unmatched" { " `_unmatched`" } else { "" };
                        format!("{outcome} {size}{route}")
                    })
                    .collect::<Vec<_>>()
                    .join(" + ")
            };
            let (head, body) = (show(&head_only), show(&whole_body));
            if head == body {
                write!(text, " {head} |").unwrap();
            } else {
                write!(text, " {head} → {body} |").unwrap();
            }
        }
    }
    text.push_str("\n\nA → B: A when only the head is measured, B with the body. ");
    text.push_str("Cells that cannot exist:\n");
    for (note, reason) in reasons.iter().enumerate() {
        writeln!(text, "({}) {reason}", note + 1).unwrap();
    }
    text
}
