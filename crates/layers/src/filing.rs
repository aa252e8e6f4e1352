//! From the end of a request to the series that it is recorded in.

use latency_experiment_record::{
    Milestone, Outcome, Sample, SeriesId, SeriesKey, Writer, reserved,
};

use crate::arms::FlagArm;
use crate::core::Core;
use crate::route_table::{self, MILESTONES, Route, RouteFlag};
use crate::scope::Scope;
use crate::section_table::SECTION_OUTCOMES;

/// How a request is filed, once it has ended.
#[derive(Clone, Copy)]
pub(crate) struct Filed {
    pub(crate) route: &'static Route,
    /// See [`route_table::place`].
    place: u32,
}

impl Core {
    /// Records the latency of a request that has ended into the series of every flag.
    pub(crate) fn record(&self, scope: &Scope, filed: Filed, latency_ns: u64) {
        self.record_by(
            *self.recorder.writer(),
            scope,
            filed,
            Sample::of(latency_ns),
            |cells, arm| cells.series.get(filed.place(0), arm),
        );
    }

    /// The same for a request without a random group.
    #[inline(always)]
    pub(crate) fn record_plain(&self, scope: &Scope, filed: Filed, latency_ns: u64) {
        let series = |cells: &RouteFlag, arm| cells.series.get_ungrouped(filed.place(0), arm);
        match self.recorder.last_writer() {
            Some(writer) => {
                self.record_by(writer, scope, filed, Sample::of(latency_ns), series);
            }
            None => self.record_out_of_line(scope, filed, latency_ns),
        }
    }

    #[cold]
    #[inline(never)]
    fn record_out_of_line(&self, scope: &Scope, filed: Filed, latency_ns: u64) {
        self.record(scope, filed, latency_ns);
    }

    #[inline(always)]
    fn record_by(
        &self,
        writer: Writer,
        scope: &Scope,
        filed: Filed,
        latency: Sample,
        known: impl Fn(&RouteFlag, FlagArm) -> Option<SeriesId>,
    ) {
        for (flag, cells) in filed.route.flags.iter().enumerate() {
            let arm = scope.arm_of(flag);
            let series = match known(cells, arm) {
                Some(series) => series,
                None => self.resolve(filed, 0, cells, arm),
            };
            writer.record_request(series, latency, || scope.request_id().to_compact());
        }
    }

    /// Records a further milestone of the same request: its position in [`MILESTONES`].
    pub(crate) fn record_milestone(&self, scope: &Scope, filed: Filed, milestone: usize, ns: u64) {
        let writer = self.recorder.writer();
        for (flag, cells) in filed.route.flags.iter().enumerate() {
            let arm = scope.arm_of(flag);
            let series = cells.series.get(filed.place(milestone), arm);
            let series = series.unwrap_or_else(|| self.resolve(filed, milestone, cells, arm));
            writer.record(series, ns);
        }
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
        scope.settle_exposures();
        let place = usize::from(cancelled);
        let writer = self.recorder.writer();
        for (flag, cells) in section.series.iter().enumerate() {
            let arm = scope.arm_of(flag);
            let series = cells.get(place, arm).unwrap_or_else(|| {
                let key = |arm_name: &str| SeriesKey {
                    arm: arm_name.to_owned(),
                    route: route.label.clone(),
                    size: reserved::UNKNOWN_SIZE.to_owned(),
                    outcome: SECTION_OUTCOMES[place],
                    milestone: Milestone::Section(section.name.to_owned()),
                    exposed: arm.is_exposed(),
                    group: cells.random_group(arm),
                    block: None,
                };
                let id = self.recorder.series_of(route.epochs[flag].id, arm.arm(), key);
                cells.set(place, arm, id);
                id
            });
            writer.record(series, ns);
        }
    }

    #[cold]
    #[inline(never)]
    fn resolve(&self, filed: Filed, milestone: usize, flag: &RouteFlag, arm: FlagArm) -> SeriesId {
        let route = filed.route;
        let (size_class, outcome) = route_table::of_place(filed.place as usize);
        let cells = &flag.series;
        let key = |arm_name: &str| SeriesKey {
            arm: arm_name.to_owned(),
            route: route.label.clone(),
            size: self.sizes.label(size_class).to_owned(),
            outcome,
            milestone: MILESTONES[milestone].clone(),
            exposed: arm.is_exposed(),
            group: cells.random_group(arm),
            block: None,
        };
        let id = self.recorder.series_of(flag.experiment, arm.arm(), key);
        cells.set(filed.place(milestone), arm, id);
        id
    }
}

impl Filed {
    #[inline]
    pub(crate) fn new(route: &'static Route, size_class: u8, outcome: Outcome) -> Self {
        Self { route, place: route_table::place(size_class.into(), outcome) as u32 }
    }

    #[inline]
    fn place(self, milestone: usize) -> usize {
        self.place as usize + milestone
    }
}
