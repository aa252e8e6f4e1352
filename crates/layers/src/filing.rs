//! From the end of a request to the series that it is recorded in.

use latency_experiment_record::{Milestone, Outcome, Sample, SeriesId, SeriesKey, reserved};

use crate::arms::FlagArm;
use crate::core::Core;
use crate::route_table::{self, MILESTONES, Route};
use crate::scope::Scope;
use crate::section_table::SECTION_OUTCOMES;

/// How a request is filed, once it has ended.
#[derive(Clone, Copy)]
pub(crate) struct Filed {
    pub(crate) route: &'static Route,
    pub(crate) size_class: usize,
    pub(crate) outcome: Outcome,
    /// Bit i: flag i was consulted. Read once, so that all milestones of a request agree on it, also
    /// when a task that it was shared with consults a flag in between.
    pub(crate) exposed: u16,
}

impl Core {
    /// Records the latency of a request that has ended into the series of every flag.
    #[inline(always)]
    pub(crate) fn record(&self, scope: &Scope, filed: Filed, latency_ns: u64) {
        let latency = Sample::of(latency_ns);
        let place = filed.place(0);
        self.recorder.write(|writer| {
            for (flag, cells) in filed.route.flags.iter().enumerate() {
                let (arm, exposed) = (scope.arms.of(flag), filed.is_exposed(flag));
                let series = match cells.series.get(place, arm, exposed) {
                    Some(series) => series,
                    None => self.resolve(filed, 0, flag, arm, exposed),
                };
                writer.record_request(series, latency, || scope.request_id().to_compact());
            }
        });
    }

    /// Records a further milestone of the same request: its position in [`MILESTONES`].
    pub(crate) fn record_milestone(&self, scope: &Scope, filed: Filed, milestone: usize, ns: u64) {
        self.recorder.write(|writer| {
            for (flag, cells) in filed.route.flags.iter().enumerate() {
                let (arm, exposed) = (scope.arms.of(flag), filed.is_exposed(flag));
                let series = cells.series.get(filed.place(milestone), arm, exposed);
                let series =
                    series.unwrap_or_else(|| self.resolve(filed, milestone, flag, arm, exposed));
                writer.record(series, ns);
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
        let (exposed, place) = (scope.exposed(), usize::from(cancelled));
        self.recorder.write(|writer| {
            for (flag, cells) in section.series.iter().enumerate() {
                let (arm, exposed) = (scope.arms.of(flag), exposed >> flag & 1 == 1);
                let series = cells.get(place, arm, exposed).unwrap_or_else(|| {
                    let key = |arm_name: &str| SeriesKey {
                        arm: arm_name.to_owned(),
                        route: route.label.clone(),
                        size: reserved::UNKNOWN_SIZE.to_owned(),
                        outcome: SECTION_OUTCOMES[place],
                        milestone: Milestone::Section(section.name.to_owned()),
                        exposed,
                        group: cells.random_group(arm),
                        block: None,
                    };
                    let id = self.recorder.series_of(route.epochs[flag].id, arm.arm(), key);
                    cells.set(place, arm, exposed, id);
                    id
                });
                writer.record(series, ns);
            }
        });
    }

    #[cold]
    #[inline(never)]
    fn resolve(
        &self,
        filed: Filed,
        milestone: usize,
        flag: usize,
        arm: FlagArm,
        exposed: bool,
    ) -> SeriesId {
        let Filed { route, size_class, outcome, .. } = filed;
        let cells = &route.flags[flag].series;
        let key = |arm_name: &str| SeriesKey {
            arm: arm_name.to_owned(),
            route: route.label.clone(),
            size: self.sizes.label(size_class).to_owned(),
            outcome,
            milestone: MILESTONES[milestone].clone(),
            exposed,
            group: cells.random_group(arm),
            block: None,
        };
        let id = self.recorder.series_of(route.epochs[flag].id, arm.arm(), key);
        cells.set(filed.place(milestone), arm, exposed, id);
        id
    }
}

impl Filed {
    #[inline]
    fn is_exposed(self, flag: usize) -> bool {
        self.exposed >> flag & 1 == 1
    }

    #[inline]
    fn place(self, milestone: usize) -> usize {
        route_table::place(self.size_class, self.outcome) + milestone
    }
}
