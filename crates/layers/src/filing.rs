//! From the end of a request to the series that it is recorded in.

use latency_experiment_record::{Milestone, Outcome, SeriesId, SeriesKey, reserved};

use crate::arms::FlagArm;
use crate::core::Core;
use crate::revision::FlagEpoch;
use crate::route_table::{self, MILESTONES, Route, RouteFlag};
use crate::scope::Scope;
use crate::section_table::SECTION_OUTCOMES;

/// How a request is filed, once it has ended.
#[derive(Clone, Copy)]
pub(crate) struct Filed {
    pub(crate) route: &'static Route,
    pub(crate) size_class: usize,
    pub(crate) outcome: Outcome,
}

/// What was measured of a request.
#[derive(Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "integers carry their unit last")]
pub(crate) struct Times {
    /// Call to response head, or to the end where there was none.
    pub(crate) latency_ns: u64,
    /// Call to the end of the body, when bodies are measured.
    pub(crate) duration_ns: Option<u64>,
    /// Spent in polls, when that is measured.
    pub(crate) busy_ns: Option<u64>,
}

impl Core {
    /// Records the end of a request into the series of every flag.
    #[inline]
    pub(crate) fn record(&self, scope: &Scope, filed: Filed, times: Times) {
        let exposed = scope.exposed();
        let place = route_table::place(filed.size_class, filed.outcome);
        self.recorder.write(|writer| {
            for (flag, (arm, cells)) in scope.arms.iter().zip(&filed.route.flags).enumerate() {
                let exposed = exposed >> flag & 1 == 1;
                let series = |milestone: usize| {
                    cells.series.series(place + milestone, arm, exposed, || {
                        self.resolve(&filed.route.epochs[flag], arm, || {
                            filed.key(self, milestone, arm, exposed, cells)
                        })
                    })
                };
                writer.record_request(series(0), times.latency_ns, || {
                    scope.request_id().to_compact()
                });
                for (milestone, ns) in [(1, times.duration_ns), (2, times.busy_ns)] {
                    if let Some(ns) = ns {
                        writer.record(series(milestone), ns);
                    }
                }
            }
        });
    }

    /// Records a section of a request into the series of every flag.
    pub(crate) fn record_section(
        &self,
        scope: &Scope,
        name: &'static str,
        cancelled: bool,
        ns: u64,
    ) {
        let route = scope.route();
        let Some(section) = route.sections.intern(name) else { return };
        let exposed = scope.exposed();
        self.recorder.write(|writer| {
            for (flag, (arm, cells)) in scope.arms.iter().zip(&section.series).enumerate() {
                let exposed = exposed >> flag & 1 == 1;
                let series = cells.series(usize::from(cancelled), arm, exposed, || {
                    self.resolve(&route.epochs[flag], arm, || SeriesKey {
                        arm: String::new(),
                        route: route.label.clone(),
                        size: reserved::UNKNOWN_SIZE.to_owned(),
                        outcome: SECTION_OUTCOMES[usize::from(cancelled)],
                        milestone: Milestone::Section(section.name.to_owned()),
                        exposed,
                        group: cells.random_group(arm),
                        block: None,
                    })
                });
                writer.record(series, ns);
            }
        });
    }

    /// The series with this key, whose arm is filled in.
    #[cold]
    fn resolve(
        &self,
        epoch: &FlagEpoch,
        arm: FlagArm,
        key: impl FnOnce() -> SeriesKey,
    ) -> SeriesId {
        let named = |name: &str| SeriesKey { arm: name.to_owned(), ..key() };
        self.recorder.series_of(epoch.id, arm.arm(), named)
    }
}

impl Filed {
    fn key(
        self,
        core: &Core,
        milestone: usize,
        arm: FlagArm,
        exposed: bool,
        flag: &RouteFlag,
    ) -> SeriesKey {
        SeriesKey {
            arm: String::new(),
            route: self.route.label.clone(),
            size: core.sizes.label(self.size_class).to_owned(),
            outcome: self.outcome,
            milestone: MILESTONES[milestone].clone(),
            exposed,
            group: flag.series.random_group(arm),
            block: None,
        }
    }
}
