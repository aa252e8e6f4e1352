//! How code below the layer asks for its arm.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use latency_experiment_flags::FlagIndex;

use crate::core::Core;
use crate::scope;

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
        self.consult() != self.core.flags.flag(self.index).control()
    }

    /// The name of the variation that the current request gets.
    pub fn variation(self) -> &'static str {
        self.core.flags.flag(self.index).variation_name(self.consult())
    }

    /// The name of the flag.
    pub fn name(self) -> &'static str {
        self.core.flags.flag(self.index).name()
    }

    #[inline]
    fn consult(self) -> u8 {
        let flag = self.index.get();
        let variation = scope::with_core(self.core, |scope| {
            scope.expose(flag);
            scope.arms.variation(flag)
        });
        variation.unwrap_or_else(|| self.without_scope())
    }

    #[cold]
    fn without_scope(self) -> u8 {
        self.core.consults_without_scope.fetch_add(1, Relaxed);
        self.core.flags.flag(self.index).control()
    }
}

impl fmt::Debug for FlagHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlagHandle").field(&self.name()).finish()
    }
}
