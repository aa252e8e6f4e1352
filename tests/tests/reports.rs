//! Reports while flags change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use latency_experiment::{Flag, LatencyExperiment};

/// Epochs whose control has another name cannot be compared; one that begins while a report is made
/// must not take all the others away.
#[test]
fn a_report_may_be_asked_for_while_epochs_with_other_controls_begin() {
    let experiment = LatencyExperiment::new(Flag::new("flag"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for epoch in (1..=50).cycle() {
                if done.load(Ordering::Acquire) {
                    break;
                }
                let control = ["control", "variation"][epoch % 2];
                let flag = Flag::new("flag").with_epoch(epoch as u64).with_control(control);
                experiment.set_flags([flag]).unwrap();
            }
        });
        for _ in 0..200 {
            let report = experiment.report();
            assert!(["control", "variation"].contains(&report.control.as_str()));
        }
        done.store(true, Ordering::Release);
    });
}
