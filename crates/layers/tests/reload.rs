//! Flags that change while requests are on their way.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use http_body_util::Empty;
use latency_experiment_flags::{Flag, FlagSet, RANDOM_GROUPS, Subject};
use latency_experiment_layers::{Config, Experiments, FlagHandle, current};
use latency_experiment_record::Snapshot;
use tower::{Layer, Service, service_fn};

type Body = Empty<&'static [u8]>;
type Answered = Ready<Result<Response<Body>, Infallible>>;

fn flags(flag: Flag) -> FlagSet {
    FlagSet::try_new([flag]).unwrap()
}

/// All subjects get the variation.
fn all_on() -> Flag {
    Flag::new("flag").with_variations([("control", 0), ("variation", 1)])
}

fn experiments(flag: Flag) -> (Experiments, FlagHandle) {
    let experiments = Experiments::new(Config::new(flags(flag)));
    (experiments, experiments.flag("flag").unwrap())
}

fn request() -> Request<Body> {
    Request::new(Body::new())
}

fn handler(_: Request<Body>) -> Answered {
    ready(Ok(Response::new(Body::new())))
}

fn run<F: Future>(future: F) -> F::Output {
    let Poll::Ready(output) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the future is ready at once");
    };
    output
}

fn ended_by_arm(snapshot: &Snapshot) -> Vec<(String, u64)> {
    let series = snapshot.series.iter();
    series.map(|(key, histogram)| (key.arm.clone(), histogram.count())).collect()
}

#[test]
fn the_kill_switch_works_at_once_and_starts_no_epoch() {
    let (experiments, flag) = experiments(all_on());
    let mut service = experiments.layer().layer(service_fn(move |_: Request<Body>| {
        assert_eq!((flag.is_on(), flag.variation()), (true, "variation"));
        handler(request())
    }));
    run(service.call(request())).unwrap();
    let mut off = experiments.layer().layer(service_fn(move |_: Request<Body>| {
        assert_eq!((flag.is_on(), flag.variation()), (false, "control"));
        handler(request())
    }));
    experiments.set_flags(flags(all_on().with_enabled(false))).unwrap();
    run(off.call(request())).unwrap();
    assert_eq!(experiments.snapshot(flag).experiment.coverage_bp, 0);
    experiments.set_flags(flags(all_on())).unwrap();
    run(service.call(request())).unwrap();

    let [snapshot] = &experiments.snapshots(flag)[..] else { panic!("one epoch") };
    let expected = [("_outside".to_owned(), 1), ("variation".to_owned(), 2)];
    assert_eq!(ended_by_arm(snapshot), expected);
    assert_eq!(snapshot.experiment.coverage_bp, 10_000);
}

#[test]
fn a_request_on_its_way_keeps_its_arm_and_counts_for_its_epoch() {
    let (experiments, flag) = experiments(all_on());
    let mut service = experiments.layer().layer(service_fn(move |_: Request<Body>| async move {
        // Asked while the future is polled, after the reload.
        assert_eq!(flag.variation(), "variation");
        assert_eq!(current().variation("flag").unwrap(), Some("variation"));
        Ok::<_, Infallible>(Response::new(Body::new()))
    }));
    let on_its_way = service.call(request());
    experiments.set_flags(flags(Flag::new("flag").with_epoch(2).with_salt("two"))).unwrap();
    run(on_its_way).unwrap();
    let mut after = experiments.layer().layer(service_fn(handler));
    run(after.call(request())).unwrap();

    let [first, second] = &experiments.snapshots(flag)[..] else { panic!("two epochs") };
    assert_eq!(ended_by_arm(first), [("variation".to_owned(), 1)]);
    assert_eq!((first.experiment.epoch, first.assigned["variation"]), (1, 1));
    assert_eq!(ended_by_arm(second).iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert_eq!(second.experiment.epoch, 2);
    assert_ne!(first.experiment.fingerprint, second.experiment.fingerprint);
    assert_eq!(experiments.snapshot(flag).experiment, second.experiment);

    // Back in the first epoch, its counts go on.
    experiments.set_flags(flags(all_on())).unwrap();
    run(after.call(request())).unwrap();
    assert_eq!(ended_by_arm(&experiments.snapshot(flag)).len(), 2, "exposed, and not");
    assert_eq!(experiments.snapshot(flag).assigned["variation"], 2);
}

#[test]
fn layers_apart_from_each_other_agree_on_the_epoch_of_a_request() {
    let (experiments, flag) = experiments(all_on());
    let inner = experiments.latency_layer().layer(service_fn(handler));
    let mut inner = inner;
    let mut service = experiments.assign_layer().layer(service_fn(move |request| {
        // Between the two halves of one request.
        experiments.set_flags(flags(Flag::new("flag").with_epoch(2))).unwrap();
        inner.call(request)
    }));
    run(service.call(request())).unwrap();
    let [first, second] = &experiments.snapshots(flag)[..] else { panic!("two epochs") };
    assert_eq!(ended_by_arm(first), [("variation".to_owned(), 1)]);
    assert_eq!((first.assigned["variation"], first.counters.started["variation"]), (1, 1));
    assert!(second.series.is_empty() && second.assigned.values().all(|&count| count == 0));
}

#[test]
fn a_set_with_other_flags_is_refused_and_the_present_one_stays() {
    let (experiments, flag) = experiments(all_on());
    let error = experiments.set_flags(flags(Flag::new("flog"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "flags: `flag` is missing, which the service was started with\n\
         flags: `flog` is not a flag of this set; did you mean `flag`?"
    );
    let mut service = experiments.layer().layer(service_fn(move |_: Request<Body>| {
        assert!(flag.is_on());
        handler(request())
    }));
    run(service.call(request())).unwrap();
}

#[test]
fn experiments_with_equal_flags_never_see_each_others() {
    let (a, flag_a) = experiments(all_on());
    let (b, flag_b) = experiments(all_on());
    b.set_flags(flags(all_on().with_enabled(false))).unwrap();
    for _ in 0..2 {
        let inner = b.layer().layer(service_fn(move |_: Request<Body>| {
            assert_eq!((flag_a.is_on(), flag_b.is_on()), (true, false));
            handler(request())
        }));
        run(a.layer().layer(inner).call(request())).unwrap();
        let inner = a.layer().layer(service_fn(move |_: Request<Body>| {
            assert_eq!((flag_a.is_on(), flag_b.is_on()), (true, false));
            handler(request())
        }));
        run(b.layer().layer(inner).call(request())).unwrap();
    }
    assert_eq!(ended_by_arm(&a.snapshot(flag_a)), [("variation".to_owned(), 4)]);
    assert_eq!(ended_by_arm(&b.snapshot(flag_b)), [("_outside".to_owned(), 4)]);
}

#[test]
fn requests_of_a_sticky_flag_are_recorded_by_random_group() {
    let sticky = Flag::new("flag").with_subject(Subject::Header("x-user".to_owned()));
    let (experiments, flag) = experiments(sticky);
    let mut service = experiments.layer().layer(service_fn(handler));
    for user in 0..500 {
        for _ in 0..2 {
            let user = format!("user-{user}");
            let request = Request::builder().header("x-user", user).body(Body::new()).unwrap();
            run(service.call(request)).unwrap();
        }
    }
    run(service.call(request())).unwrap();

    let snapshot = experiments.snapshot(flag);
    assert_eq!(snapshot.experiment.subject, latency_experiment_record::Subject::Sticky);
    assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
    let (mut groups, mut outside) = (std::collections::BTreeMap::<_, u64>::new(), 0);
    for (key, histogram) in &snapshot.series {
        match key.group {
            Some(group) => {
                *groups.entry((key.arm.clone(), group)).or_default() += histogram.count();
            }
            None => outside += histogram.count(),
        }
    }
    assert_eq!(outside, 1, "the request that says nothing of its user");
    assert_eq!(groups.values().sum::<u64>(), 1_000);
    assert!(groups.values().all(|count| count % 2 == 0), "a user is in one arm and one group");
    let groups_of = |arm: &str| groups.keys().filter(|(of, _)| of == arm).count();
    let all = usize::from(RANDOM_GROUPS);
    assert_eq!((groups_of("control"), groups_of("variation")), (all, all));
}

#[test]
fn snapshots_carry_frozen_thresholds_and_the_history_that_was_asked_for() {
    let length = std::time::Duration::from_nanos(1);
    let config = Config::new(flags(all_on())).with_history(3, length);
    let experiments = Experiments::new(config);
    let flag = experiments.flag("flag").unwrap();
    let mut service = experiments.layer().layer(service_fn(handler));
    let mut send = |requests| {
        for _ in 0..requests {
            run(service.call(request())).unwrap();
        }
        experiments.snapshot(flag)
    };
    assert!(send(499).attached.since_freeze.is_empty());
    assert!(send(1).attached.since_freeze.is_empty(), "they were needed to set the thresholds");
    let snapshot = send(40);
    let counts: Vec<_> = snapshot.attached.since_freeze.values().collect();
    assert_eq!(counts.len(), 1);
    assert!(["0.5", "0.95", "0.99"].iter().all(|quantile| counts[0][*quantile].n == 40));
    for _ in 0..4 {
        send(1);
    }
    let snapshot = send(1);
    assert_eq!(snapshot.attached.intervals.len(), 3, "the last ones");
    assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
}
