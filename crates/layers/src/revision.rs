//! The flags that requests are assigned by at the moment, and the tables that go with them.

use std::fmt;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use latency_experiment_flags::{Error, FlagSet, Split, ValidFlag};
use latency_experiment_record::{
    Arm, AssignedCounters, AtomicRef, Experiment, ExperimentId, Fingerprint, Recorder, Subject,
};

use crate::arms::FlagArm;
use crate::route_table::{RouteTable, RouteTemplate};
use crate::scope::Scope;

/// One state of the flags. A request keeps the one that it was assigned by until it ends.
pub(crate) struct Revision {
    /// A request needs no more than to be assigned, timed and recorded: the core is
    /// [plain](crate::core::Core::plain), and of every flag nothing but the split of the request ID
    /// decides.
    pub(crate) plain: bool,
    /// By flag, when it is plain.
    pub(crate) splits: Box<[Split<FlagArm>]>,
    pub(crate) flags: FlagSet,
    pub(crate) tables: &'static Tables,
}

/// Where the requests of one set of epochs are recorded.
pub(crate) struct Tables {
    pub(crate) routes: RouteTable,
    pub(crate) epochs: &'static [FlagEpoch],
}

/// One flag in one epoch, as the recorder knows it.
#[derive(Clone)]
pub(crate) struct FlagEpoch {
    pub(crate) id: ExperimentId,
    pub(crate) assigned: AssignedCounters,
    /// The names of the variations, in their order.
    pub(crate) variations: Arc<[String]>,
    /// Whether a subject sends many requests.
    pub(crate) sticky: bool,
}

impl FlagEpoch {
    pub(crate) fn variation_name(&self, variation: u8) -> &str {
        &self.variations[usize::from(variation)]
    }
}

impl Revision {
    /// Sets what `arm_of` says for each flag.
    pub(crate) fn set_arms(&self, scope: &Scope, arm_of: impl Fn(&ValidFlag) -> FlagArm) {
        for (flag, definition) in self.flags.iter() {
            scope.set_arm(flag.get(), arm_of(definition));
        }
    }
}

/// All states that the flags had so far, and the present one.
///
/// Revisions live as long as the process, so that a request refers to its own without counting
/// references. Equal ones are kept once: a flag that is switched on and off takes no more memory
/// than two.
pub(crate) struct Revisions {
    current: AtomicRef<Revision>,
    known: Mutex<Known>,
}

struct Known {
    revisions: Vec<&'static Revision>,
    /// By flag, epoch and fingerprint.
    registered: Vec<(Identity, FlagEpoch)>,
    builder: TablesBuilder,
}

/// What tables are made of.
pub(crate) struct TablesBuilder {
    /// Whether revisions are, as far as their flags allow.
    pub(crate) plain: bool,
    pub(crate) recorder: Recorder,
    pub(crate) max_routes: usize,
    pub(crate) size_classes: usize,
}

/// What tells epochs of a flag apart: flag, epoch and fingerprint.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    flag: usize,
    epoch: u64,
    fingerprint: u64,
}

impl Revisions {
    pub(crate) fn new(flags: FlagSet, builder: TablesBuilder) -> Self {
        let mut known = Known { revisions: Vec::new(), registered: Vec::new(), builder };
        Self { current: AtomicRef::new(known.intern(flags)), known: Mutex::new(known) }
    }

    #[inline]
    pub(crate) fn current(&self) -> &'static Revision {
        self.current.get().expect("it is set from the beginning")
    }

    /// Makes these flags the present ones. They must be those of the first revision by name.
    pub(crate) fn replace(&self, flags: FlagSet) -> Result<(), Error> {
        let names = self.current().flags.iter().map(|(_, flag)| flag.name());
        let flags = flags.in_order_of(names)?;
        let mut known = self.known();
        let revision = known.intern(flags);
        self.current.set(revision);
        Ok(())
    }

    /// The tables of these epochs.
    pub(crate) fn tables_of(&self, epochs: &'static [FlagEpoch]) -> &'static Tables {
        let current = self.current().tables;
        if ptr::eq(current.epochs, epochs) {
            return current;
        }
        let known = self.known();
        let mut tables = known.revisions.iter().map(|revision| revision.tables);
        tables.find(|tables| ptr::eq(tables.epochs, epochs)).unwrap_or(current)
    }

    /// The experiments of a flag: one for each epoch that it had so far, oldest first.
    pub(crate) fn experiments_of(&self, flag: usize) -> Vec<ExperimentId> {
        let known = self.known();
        let of_flag = known.registered.iter().filter(|(identity, _)| identity.flag == flag);
        of_flag.map(|(_, epoch)| epoch.id).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The revision with these flags.
    fn intern(&mut self, flags: FlagSet) -> &'static Revision {
        let epochs: Vec<_> =
            flags.iter().map(|(index, flag)| self.register(index.get(), flag)).collect();
        if let Some(known) = self.revisions.iter().find(|known| known.flags == flags) {
            return known;
        }
        let same_epochs = |known: &&&Revision| {
            known.tables.epochs.iter().map(|epoch| epoch.id).eq(epochs.iter().map(|epoch| epoch.id))
        };
        let tables = match self.revisions.iter().find(same_epochs) {
            Some(known) => known.tables,
            None => self.builder.build(epochs),
        };
        let splits = flags
            .iter()
            .map(|(_, flag)| flag.plain_split(|variation| FlagArm::of_split(flag, variation)));
        let splits: Option<_> = splits.collect();
        let plain = self.builder.plain && splits.is_some();
        let splits = splits.unwrap_or_default();
        let revision = &*Box::leak(Box::new(Revision { plain, splits, flags, tables }));
        self.revisions.push(revision);
        revision
    }

    /// The present epoch of a flag, which becomes known to the recorder when it is new.
    fn register(&mut self, index: usize, flag: &ValidFlag) -> FlagEpoch {
        let recorder = self.builder.recorder;
        let identity =
            Identity { flag: index, epoch: flag.epoch(), fingerprint: flag.fingerprint() };
        if let Some((_, known)) = self.registered.iter().find(|(known, _)| *known == identity) {
            recorder.set_coverage_bp(known.id, flag.coverage_bp());
            return known.clone();
        }
        let (id, assigned) = recorder.register(experiment_of(flag));
        let variations = flag.variations().iter().map(|variation| variation.name.clone());
        let epoch =
            FlagEpoch { id, assigned, variations: variations.collect(), sticky: flag.is_sticky() };
        self.registered.push((identity, epoch.clone()));
        epoch
    }
}

impl TablesBuilder {
    fn build(&self, epochs: Vec<FlagEpoch>) -> &'static Tables {
        let epochs = &*epochs.leak();
        let template =
            RouteTemplate { recorder: self.recorder, size_classes: self.size_classes, epochs };
        let routes = RouteTable::new(self.max_routes, template);
        Box::leak(Box::new(Tables { routes, epochs }))
    }
}

impl fmt::Debug for Revisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().flags.fmt(f)
    }
}

fn experiment_of(flag: &ValidFlag) -> Experiment {
    let arms = flag
        .variations()
        .iter()
        .map(|variation| Arm { name: variation.name.clone(), weight: variation.weight });
    Experiment {
        name: flag.name().to_owned(),
        epoch: flag.epoch(),
        fingerprint: Fingerprint(flag.fingerprint()),
        control: flag.variation_name(flag.control()).to_owned(),
        arms: arms.collect(),
        subject: if flag.is_sticky() { Subject::Sticky } else { Subject::RequestId },
        coverage_bp: flag.coverage_bp(),
    }
}
