//! All flags of the current request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use latency_experiment_flags::{Error, FlagIndex};

use crate::arms::Arms;
use crate::request_id::RequestId;
use crate::revision::FlagEpoch;
use crate::scope::{self, Scope, ScopeKey};

/// What the current request was assigned, and its ID. Outside a request it is empty: every flag is
/// at control.
///
/// It is what [`current`] returns; an axum handler takes it as an extractor (feature `axum`); and
/// a layer puts it into the request's extensions when asked to. For one flag on a hot path a
/// [`FlagHandle`](crate::FlagHandle) is faster, because it is not looked up by name.
#[derive(Clone, Default)]
pub struct Assignments(Option<View>);

#[derive(Clone)]
struct View {
    key: ScopeKey,
    id: RequestId,
    arms: Arms,
    epochs: &'static [FlagEpoch],
}

/// What the request that this thread is serving was assigned.
///
/// With nested layers it is the innermost one's.
#[inline]
pub fn current() -> Assignments {
    Assignments(scope::with(|_| true, View::of))
}

impl View {
    #[inline]
    fn of(scope: &Scope) -> Self {
        Self {
            key: scope.key(),
            id: scope.request_id(),
            arms: scope.arms(),
            epochs: scope.route().epochs,
        }
    }

    fn find(&self, flag: &str) -> Result<FlagIndex, Error> {
        self.key.core.revisions.current().flags.find(flag)
    }

    fn variation(&self, flag: FlagIndex) -> &'static str {
        let flag = flag.get();
        self.epochs[flag].variation_name(self.arms.of(flag).variation())
    }

    fn in_scope<R>(&self, read: impl FnOnce(&Scope) -> R) -> Option<R> {
        scope::with(|scope| scope.key() == self.key, read)
    }
}

impl Assignments {
    #[inline]
    pub(crate) fn of(scope: &Scope) -> Self {
        Self(Some(View::of(scope)))
    }

    /// The ID of the request; `None` outside a request.
    pub fn request_id(&self) -> Option<RequestId> {
        self.0.as_ref().map(|view| view.id.clone())
    }

    /// The variation of the flag with this name, which counts as consulting it; `None` outside a
    /// request. Fails when there is no such flag.
    pub fn variation(&self, flag: &str) -> Result<Option<&'static str>, Error> {
        self.consult(flag, |view, flag| {
            view.in_scope(|scope| scope.expose(flag));
        })
    }

    /// Whether the flag with this name is at another variation than control, which counts as
    /// consulting it; `false` outside a request. Fails when there is no such flag.
    pub fn is_on(&self, flag: &str) -> Result<bool, Error> {
        self.variation(flag)?;
        let Some(view) = &self.0 else { return Ok(false) };
        Ok(view.arms.of(view.find(flag)?.get()).is_on())
    }

    /// The same for tasks and threads that the handler spawns: consulting a flag there counts for
    /// this request, as long as the request has not ended. It allocates once per request.
    ///
    /// Call it on the request's own task.
    pub fn share(&self) -> SharedAssignments {
        let exposed = self.0.as_ref().and_then(|view| view.in_scope(Scope::share));
        SharedAssignments { assignments: self.clone(), exposed: exposed.unwrap_or_default() }
    }

    fn consult(
        &self,
        flag: &str,
        expose: impl FnOnce(&View, usize),
    ) -> Result<Option<&'static str>, Error> {
        let Some(view) = &self.0 else { return Ok(None) };
        let index = view.find(flag)?;
        expose(view, index.get());
        Ok(Some(view.variation(index)))
    }
}

impl fmt::Debug for Assignments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        if let Some(view) = &self.0 {
            map.entry(&"request_id", &view.id);
            for (index, flag) in view.key.core.revisions.current().flags.iter() {
                map.entry(&flag.name(), &view.variation(index));
            }
        }
        map.finish()
    }
}

/// The assignments of a request, away from its task. See [`Assignments::share`].
#[derive(Clone, Debug)]
pub struct SharedAssignments {
    assignments: Assignments,
    exposed: Arc<AtomicU16>,
}

impl SharedAssignments {
    /// The ID of the request; `None` when it was shared outside a request.
    pub fn request_id(&self) -> Option<RequestId> {
        self.assignments.request_id()
    }

    /// The variation of the flag with this name, which counts as consulting it; `None` when it was
    /// shared outside a request. Fails when there is no such flag.
    pub fn variation(&self, flag: &str) -> Result<Option<&'static str>, Error> {
        self.assignments.consult(flag, |_, flag| {
            self.exposed.fetch_or(1 << flag, Ordering::Release);
        })
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for Assignments {
    type Rejection = std::convert::Infallible;

    /// From the scope of the request, else from its extensions.
    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _state: &S,
    ) -> Result<Self, Self::Rejection> {
        let current = current();
        Ok(if current.0.is_some() {
            current
        } else {
            parts.extensions.get().cloned().unwrap_or_default()
        })
    }
}
