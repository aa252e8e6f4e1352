//! Reports while flags change.

use std::thread;

use axum::body::Body;
use http::{Request, Response};
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource, Subject, Verdict};
use latency_experiment_tests::complete;
use tower::{Layer, Service, service_fn};

/// With so many routes that taking its snapshot takes longer than replacing its flags.
fn experiment() -> LatencyExperiment {
    let config = Config::new(FlagSet::try_new([Flag::new("flag")]).unwrap());
    let path = RouteSource::function(|head| Some(head.uri.path()));
    let experiment = LatencyExperiment::with_config(config.with_route_source(path));
    let mut service = experiment.layer(service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    }));
    for route in 0..100 {
        let request = Request::get(format!("/{route}")).body(Body::empty()).unwrap();
        complete(service.call(request)).unwrap();
    }
    experiment
}

/// Epochs whose control has another name cannot be compared; the first of them that begins while a
/// report is made must not leave nothing to compare.
#[test]
fn a_report_may_be_asked_for_while_an_epoch_with_another_control_begins() {
    for _ in 0..20 {
        let experiment = experiment();
        let other = Flag::new("flag").with_epoch(2).with_control("variation");
        let reload = thread::spawn(move || experiment.set_flags([other]).unwrap());
        while !reload.is_finished() {
            assert!(["control", "variation"].contains(&experiment.report().control.as_str()));
        }
        reload.join().unwrap();
        assert_eq!(experiment.report().control, "variation");
    }
}

/// Whatever a flag is changed to, there is a report of it, and what cannot be compared is withheld.
#[test]
fn a_report_may_be_asked_for_whatever_the_flag_became() {
    let flag = || Flag::new("flag");
    let changes = [
        flag().with_epoch(2).with_variations([("control", 1), ("cached", 1)]),
        flag().with_epoch(3).with_variations([("control", 1), ("variation", 1), ("cached", 1)]),
        flag().with_epoch(3).with_variations([("control", 1), ("variation", 3), ("cached", 1)]),
        flag().with_epoch(4).with_subject(Subject::Header("x-user".to_owned())),
        flag().with_epoch(4).with_enabled(false),
        flag().with_epoch(5).with_variations([("control", 0), ("variation", 0)]),
        flag(),
    ];
    let experiment = experiment();
    for change in changes {
        experiment.set_flags([change.clone()]).unwrap();
        let report = experiment.report();
        assert!(!report.to_string().is_empty() && !report.to_json().is_empty());
        let decided = [Verdict::Faster, Verdict::Slower, Verdict::Mixed, Verdict::Equivalent];
        let all = report.comparisons.iter();
        assert!(all.clone().all(|row| !decided.contains(&row.verdict)), "{change:?}\n{report}");
    }
}
