//! How code below the layer asks for its arm.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use latency_experiment_flags::FlagIndex;

use crate::arms::FlagArm;
use crate::core::Core;
use crate::scope::{self, Scope};

/// A flag, resolved once: tells anywhere below the layer which variation the current request gets.
///
/// Asking marks the exposure: only requests that asked are compared. So ask where the paths part,
/// in every arm, and not before. Asking neither locks nor allocates.
///
/// Outside a request (a background task, a thread that the handler spawned) the answer is control.
#[derive(Clone, Copy)]
pub struct FlagHandle {
    pub(crate) core: &'static Core,
    pub(crate) index: FlagIndex,
}

impl FlagHandle {
    /// Whether the current request gets another variation than control.
    #[inline]
    pub fn is_on(self) -> bool {
        let arm = self.consult(|_, arm| arm.is_on());
        arm.unwrap_or_else(|| {
            self.count_without_scope();
            false
        })
    }

    /// The name of the variation that the current request gets.
    pub fn variation(self) -> &'static str {
        let name = self.consult(|scope, arm| {
            scope.route().epochs[self.index.get()].variation_name(arm.variation())
        });
        name.unwrap_or_else(|| {
            self.count_without_scope();
            let flag = self.core.revisions.current().flags.flag(self.index);
            flag.variation_name(flag.control())
        })
    }

    /// The name of the flag.
    pub fn name(self) -> &'static str {
        self.core.revisions.current().flags.flag(self.index).name()
    }

    /// Notes the exposure; `None` outside a request.
    #[inline]
    fn consult<R>(self, read: impl FnOnce(&'static Scope, FlagArm) -> R) -> Option<R> {
        scope::with_core(self.core, |scope| read(scope, scope.expose(self.index.get())))
    }

    #[cold]
    #[inline(never)]
    fn count_without_scope(self) {
        self.core.consults_without_scope.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for FlagHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlagHandle").field(&self.name()).finish()
    }
}
