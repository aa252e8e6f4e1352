//! What is measured inside a request: sections, busy time, the response that tells, golden signals
//! and the slowest requests.

use std::convert::Infallible;
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use latency_experiment_flags::{Flag, FlagSet};
use latency_experiment_layers::{Config, Experiments, RouteSource, current, section};
use latency_experiment_record::{Milestone, Outcome, SeriesKey, Snapshot};
use latency_experiment_testkit::{ManualClock, ScriptedBody};
use tower::{Layer, Service, service_fn};

fn experiments(clock: &ManualClock, change: impl FnOnce(Config) -> Config) -> Experiments {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    let routes = RouteSource::function(|head| Some(head.uri.path()));
    Experiments::new(change(Config::new(flags).with_route_source(routes).with_clock(clock.clone())))
}

fn snapshot(experiments: Experiments) -> Snapshot {
    experiments.snapshot(experiments.flag("flag").unwrap())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

#[allow(clippy::unnecessary_wraps, reason = "it is what a service resolves to")]
fn ok() -> Result<Response<ScriptedBody>, Infallible> {
    Ok(Response::new(ScriptedBody::default()))
}

/// Yields once, moving the clock before and after.
async fn work(clock: &ManualClock, before_ms: u64, after_ms: u64) {
    let mut yielded = false;
    poll_fn(|_| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        clock.advance(Duration::from_millis(before_ms));
        Poll::Pending
    })
    .await;
    clock.advance(Duration::from_millis(after_ms));
}

/// The only series of a milestone, with what it took in milliseconds.
fn only(snapshot: &Snapshot, milestone: &str) -> (SeriesKey, u64) {
    let wanted = Milestone::parse(milestone).unwrap();
    let mut series = snapshot.series.iter().filter(|(key, _)| key.milestone == wanted);
    let (key, histogram) =
        series.next().unwrap_or_else(|| panic!("no {milestone} in {:?}", snapshot.series.keys()));
    assert!(series.next().is_none() && histogram.count() == 1);
    (key.clone(), u64::try_from(histogram.sums().sum.unwrap() / 1_000_000).unwrap())
}

#[test]
fn sections_are_recorded_per_arm_and_route_with_their_own_time_and_exposure() {
    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config.with_server_timing(true));
    let flag = experiments.flag("flag").unwrap();
    let in_handler = clock.clone();
    let mut service = experiments.layer().layer(service_fn(move |_: Request<()>| {
        let clock = in_handler.clone();
        async move {
            section("before").time(work(&clock, 1, 2)).await;
            flag.is_on();
            let guard = section("after").enter();
            clock.advance(Duration::from_millis(4));
            guard.done();
            work(&clock, 8, 0).await;
            ok()
        }
    }));
    let mut future = Box::pin(service.call(get("/a")));
    assert!(poll(future.as_mut()).is_pending());
    clock.advance(Duration::from_millis(100));
    assert!(poll(future.as_mut()).is_pending());
    let Poll::Ready(Ok(response)) = poll(future.as_mut()) else { unreachable!() };

    let snapshot = snapshot(experiments);
    let (before, before_ms) = only(&snapshot, "section:before");
    let (after, after_ms) = only(&snapshot, "section:after");
    let (latency, latency_ms) = only(&snapshot, "latency");
    assert_eq!((before_ms, after_ms, latency_ms), (103, 4, 115));
    assert_eq!(
        (before.exposed, after.exposed, latency.exposed),
        (false, true, true),
        "the exposure so far"
    );
    for key in [&before, &after] {
        assert_eq!(
            (key.arm.as_str(), key.route.as_str(), key.size.as_str()),
            (latency.arm.as_str(), "GET /a", "unknown")
        );
        assert_eq!(key.outcome, Outcome::Completed);
    }
    assert_eq!(
        response.headers()["server-timing"],
        "total;dur=115.000, before;dur=103.000, after;dur=4.000"
    );
}

#[test]
fn a_flag_that_is_consulted_within_a_section_counts_for_it() {
    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config);
    let flag = experiments.flag("flag").unwrap();
    let mut service =
        experiments.layer().layer(service_fn(move |request: Request<()>| async move {
            if request.uri().path() == "/guard" {
                let guard = section("work").enter();
                flag.is_on();
                guard.done();
            } else {
                section("work").time(async { flag.is_on() }).await;
            }
            ok()
        }));
    for path in ["/guard", "/future"] {
        assert!(poll(pin!(service.call(get(path)))).is_ready());
    }
    let snapshot = snapshot(experiments);
    assert_eq!(snapshot.series.keys().filter(|key| key.exposed).count(), 4, "{snapshot:?}");
}

#[test]
fn a_section_that_is_dropped_before_its_end_is_cancelled() {
    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config);
    let flag = experiments.flag("flag").unwrap();
    let mut service = experiments.layer().layer(service_fn(move |_: Request<()>| async move {
        flag.is_on();
        section("stuck").time(pending::<()>()).await;
        ok()
    }));
    let mut future = Box::pin(service.call(get("/a")));
    assert!(poll(future.as_mut()).is_pending());
    clock.advance(Duration::from_millis(7));
    drop(future);
    let (key, ms) = only(&snapshot(experiments), "section:stuck");
    assert_eq!((key.outcome, key.exposed, ms), (Outcome::Cancelled, true, 7));
}

#[test]
fn sections_outside_a_request_or_beyond_the_bound_do_no_harm() {
    section("nowhere").enter().done();
    assert!(poll(pin!(section("nowhere").time(ready(())))).is_ready());

    let names: Vec<&'static str> = (0..200).map(|n| &*format!("section-{n}").leak()).collect();
    let experiments = experiments(&ManualClock::new(), |config| config);
    let mut service = experiments.layer().layer(service_fn(move |_: Request<()>| {
        for name in &names {
            section(name).enter().done();
        }
        ready(ok())
    }));
    assert!(poll(pin!(service.call(get("/a")))).is_ready());
    let snapshot = snapshot(experiments);
    let sections =
        snapshot.series.iter().filter(|(key, _)| matches!(key.milestone, Milestone::Section(_)));
    let (count, total) = sections
        .fold((0, 0), |(count, total), (_, histogram)| (count + 1, total + histogram.count()));
    assert_eq!((count, total), (65, 200));
}

#[test]
fn busy_time_is_what_polls_take() {
    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config.with_busy_time(true));
    let in_handler = clock.clone();
    let mut service = experiments.layer().layer(service_fn(move |_: Request<()>| {
        let clock = in_handler.clone();
        clock.advance(Duration::from_millis(1));
        async move {
            work(&clock, 2, 4).await;
            ok()
        }
    }));
    let mut future = Box::pin(service.call(get("/a")));
    assert!(poll(future.as_mut()).is_pending());
    clock.advance(Duration::from_millis(100));
    assert!(poll(future.as_mut()).is_ready());
    let snapshot = snapshot(experiments);
    // What the service did in `call`, before there was a future, is part of the latency only.
    assert_eq!((only(&snapshot, "busy").1, only(&snapshot, "latency").1), (6, 107));
}

#[test]
fn the_poll_that_panics_is_busy_time() {
    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config.with_busy_time(true));
    let in_handler = clock.clone();
    let mut service = experiments.layer().layer(service_fn(move |_: Request<()>| {
        let clock = in_handler.clone();
        async move {
            work(&clock, 2, 4).await;
            std::panic::resume_unwind(Box::new("as it is meant to"));
            #[allow(unreachable_code, reason = "it is what the service would resolve to")]
            ok()
        }
    }));
    let mut future = Box::pin(service.call(get("/a")));
    assert!(poll(future.as_mut()).is_pending());
    clock.advance(Duration::from_millis(100));
    let polled = std::panic::AssertUnwindSafe(|| poll(future.as_mut()).is_ready());
    assert!(std::panic::catch_unwind(polled).is_err());
    assert_eq!(only(&snapshot(experiments), "busy").1, 6);
}

#[test]
fn busy_time_goes_on_in_the_body() {
    struct Working(ManualClock, u64);

    impl http_body::Body for Working {
        type Data = bytes::Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
            self.0.advance(Duration::from_millis(self.1));
            self.1 /= 2;
            let data = || Ok(http_body::Frame::data(bytes::Bytes::from_static(b"x")));
            Poll::Ready((self.1 > 0).then(data))
        }
    }

    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config.with_busy_time(true));
    let in_handler = clock.clone();
    let service = service_fn(move |_: Request<()>| {
        let clock = in_handler.clone();
        async move {
            clock.advance(Duration::from_millis(16));
            Ok::<_, Infallible>(Response::new(Working(clock, 4)))
        }
    });
    let mut service = experiments.layer().with_body().layer(service);
    let Poll::Ready(Ok(response)) = poll(pin!(service.call(get("/a")))) else { unreachable!() };
    let mut body = pin!(response.into_body());
    let mut frame = || {
        clock.advance(Duration::from_millis(100));
        let mut context = Context::from_waker(Waker::noop());
        http_body::Body::poll_frame(body.as_mut(), &mut context)
    };
    while let Poll::Ready(Some(_)) = frame() {}
    let snapshot = snapshot(experiments);
    let ms = |milestone| only(&snapshot, milestone).1;
    assert_eq!((ms("busy"), ms("latency"), ms("duration")), (16 + 4 + 2 + 1, 16, 323));
}

#[test]
fn golden_signals_per_route_and_the_slowest_requests_with_their_ids() {
    let clock = ManualClock::new();
    let experiments = experiments(&clock, |config| config);
    let (sender, ids) = std::sync::mpsc::channel();
    let in_handler = clock.clone();
    let mut service = experiments.layer().layer(service_fn(move |request: Request<()>| {
        let (clock, sender) = (in_handler.clone(), sender.clone());
        async move {
            let ms: u64 = request
                .headers()
                .get("x-ms")
                .map_or(0, |value| value.to_str().unwrap().parse().unwrap());
            clock.advance(Duration::from_millis(ms));
            sender.send((ms, current().request_id().unwrap().to_string())).unwrap();
            if request.uri().path() == "/stuck" {
                pending::<()>().await;
            }
            ok()
        }
    }));
    let mut stuck: Vec<_> = (0..3).map(|_| Box::pin(service.call(get("/stuck")))).collect();
    for future in &mut stuck {
        assert!(poll(future.as_mut()).is_pending());
    }
    for ms in [5, 90, 30, 70, 10, 80, 60] {
        let mut request = get("/work");
        request.headers_mut().insert("x-ms", ms.into());
        assert!(poll(pin!(service.call(request))).is_ready());
    }
    let snapshot = snapshot(experiments);
    let route = |name: &str| {
        let routes = snapshot.counters.routes.iter().filter(|((route, _), _)| route == name);
        routes.fold((0, 0), |(started, in_flight), (_, counts)| {
            (started + counts.started, in_flight + counts.in_flight)
        })
    };
    assert_eq!((route("GET /stuck"), route("GET /work")), ((3, 3), (7, 0)));
    assert_eq!(snapshot.counters.in_flight.values().sum::<u64>(), 3);

    let sent: std::collections::BTreeMap<u64, String> =
        ids.try_iter().filter(|(ms, _)| *ms > 0).collect();
    for (key, slowest) in &snapshot.slowest {
        assert_eq!((key.milestone.clone(), key.route.as_str()), (Milestone::Latency, "GET /work"));
        assert!(slowest.is_sorted_by(|a, b| a.latency_ns >= b.latency_ns) && slowest.len() <= 4);
        for slow in slowest {
            assert_eq!(
                slow.request_id.to_string(),
                sent[&(slow.latency_ns / 1_000_000)],
                "the ID that the handler saw"
            );
        }
    }
    let slowest_of_all =
        snapshot.slowest.values().flatten().map(|slow| slow.latency_ns / 1_000_000).max();
    assert_eq!(slowest_of_all, Some(90));
}
