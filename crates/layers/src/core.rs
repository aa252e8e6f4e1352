//! What all layers and handles of one set of experiments share.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use latency_experiment_record::Recorder;

use crate::arms::{Arms, FlagArm};
use crate::clock::AnyClock;
use crate::head::RequestHead;
use crate::request_id::RequestId;
use crate::request_ids::IdSource;
use crate::revision::{FlagEpoch, Revision, Revisions};
use crate::route::RouteSource;
use crate::route_table::Route;
use crate::size::SizeClasses;
use crate::unrouted::Unrouted;

pub(crate) type Filter = Box<dyn Fn(RequestHead<'_>) -> bool + Send + Sync>;

pub(crate) struct Core {
    pub(crate) revisions: Revisions,
    pub(crate) recorder: Recorder,
    pub(crate) clock: AnyClock,
    pub(crate) route_source: RouteSource,
    pub(crate) unrouted: Unrouted,
    pub(crate) sizes: SizeClasses,
    pub(crate) filter: Option<Filter>,
    pub(crate) request_ids: IdSource,
    pub(crate) request_extension: bool,
    pub(crate) busy_time: bool,
    pub(crate) server_timing: bool,
    pub(crate) consults_without_scope: AtomicU64,
}

impl Core {
    /// Cores live as long as the process: services and futures hold plain references, because a
    /// reference count would be a cache line that all threads write at every request.
    pub(crate) fn leak(self) -> &'static Self {
        // Keeps every core reachable, as leak detectors demand.
        static CORES: Mutex<Vec<&'static Core>> = Mutex::new(Vec::new());
        let core = &*Box::leak(Box::new(self));
        CORES.lock().unwrap_or_else(PoisonError::into_inner).push(core);
        core
    }

    /// Whether the request takes part at all.
    #[inline]
    pub(crate) fn takes_part(&self, head: RequestHead<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(head))
    }

    /// Evaluates all flags for a request.
    #[inline]
    pub(crate) fn assign(revision: &Revision, id: &RequestId, head: RequestHead<'_>) -> Arms {
        id.with_text(|text| {
            let flags = revision.flags.iter().map(|(_, flag)| flag);
            Arms::new(flags, |flag| FlagArm::of(flag, flag.evaluate(text, &head)))
        })
    }

    /// Counts, for every flag, that a request was assigned by a layer that starts no clock.
    pub(crate) fn count_assigned(&self, epochs: &[FlagEpoch], arms: &Arms) {
        self.recorder.write(|writer| {
            for (arm, epoch) in arms.iter().zip(epochs) {
                writer.assigned(epoch.assigned, arm.arm());
            }
        });
    }

    /// The other half of [`count_assigned`](Self::count_assigned): the request is started now.
    pub(crate) fn count_assigned_before(&self, epochs: &[FlagEpoch], arms: &Arms) {
        self.recorder.write(|writer| {
            for (arm, epoch) in arms.iter().zip(epochs) {
                writer.assigned_before(epoch.assigned, arm.arm());
            }
        });
    }

    /// Counts, for every flag, that the clock of a request was started.
    #[inline]
    pub(crate) fn count_start(&self, route: &Route, arms: &Arms) {
        self.recorder.write(|writer| {
            for (arm, flag) in arms.iter().zip(&route.flags) {
                writer.started(flag.started, arm.arm());
            }
        });
    }

    /// Files a request that was counted as started under the route that its end confirmed.
    #[cold]
    pub(crate) fn refile_start(&self, from: &Route, to: &Route, arms: &Arms) {
        self.recorder.write(|writer| {
            for (arm, (from, to)) in arms.iter().zip(from.flags.iter().zip(&to.flags)) {
                writer.started_elsewhere(from.started, to.started, arm.arm());
            }
        });
    }
}
