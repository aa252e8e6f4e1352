//! Units of work inside a request.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::scope::{self, Scope};
use crate::scope_pool::PooledScope;

/// Names a unit of work inside the current request, to be timed.
///
/// It is recorded per arm and route beside the latency of the request, as milestone `section:NAME`:
/// where a difference between the arms comes from. Names are few and fixed; beyond 64 per route
/// they share one named `_overflow`. Outside a request nothing is recorded.
///
/// ```
/// use latency_experiment_layers::section;
///
/// # async fn policy() -> u32 { 7 }
/// # async fn handler() -> u32 {
/// let policy = section("policy_lookup").time(policy()).await; // asynchronous work
///
/// let guard = section("render").enter(); // synchronous work, until the guard is dropped
/// let page = policy + 1;
/// guard.done();
/// page
/// # }
/// ```
pub fn section(name: &'static str) -> Section {
    Section { name }
}

/// A named unit of work. See [`section`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a section is timed by `time` or `enter`"]
pub struct Section {
    name: &'static str,
}

impl Section {
    /// Times a future, from its first poll to its end. Dropped before that, it is recorded as
    /// cancelled.
    pub fn time<F: Future>(self, future: F) -> Timed<F> {
        Timed { inner: future, section: self, running: None }
    }

    /// Times synchronous code, from here until the guard is [`done`](SectionGuard::done). A guard
    /// that is dropped without is recorded as cancelled.
    ///
    /// Do not hold it across an `await`: the time that the task waits would count.
    pub fn enter(self) -> SectionGuard {
        SectionGuard { running: Running::start(self) }
    }
}

/// A section whose clock is running.
struct Running {
    section: Section,
    started: u64,
    /// A copy, because the request's own may be gone when the section is dropped.
    scope: Option<PooledScope>,
    ended: bool,
}

impl Running {
    fn start(section: Section) -> Self {
        let scope = scope::with(|_| true, Scope::copy);
        let started = scope.as_ref().map_or(0, |scope| scope.core().clock.raw());
        Self { section, started, scope, ended: false }
    }

    fn end(&mut self, cancelled: bool) {
        let Some(scope) = self.scope.as_ref().filter(|_| !self.ended) else { return };
        scope::catch_up(scope);
        self.ended = true;
        let core = scope.core();
        let elapsed_ns = core.clock.ns_since(self.started);
        core.record_section(scope, self.section.name, cancelled, elapsed_ns);
        if core.server_timing {
            scope::with(
                |current| current.key() == scope.key(),
                |current| current.add_timing(self.section.name, elapsed_ns),
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(true);
    }
}

pin_project! {
    /// A future that is timed as a section. See [`Section::time`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Timed<F> {
        #[pin]
        inner: F,
        section: Section,
        running: Option<Running>,
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let running = this.running.get_or_insert_with(|| Running::start(*this.section));
        let result = {
            let _observed = running.scope.as_deref().map(scope::observe);
            ready!(this.inner.poll(cx))
        };
        running.end(false);
        Poll::Ready(result)
    }
}

/// Times synchronous code. See [`Section::enter`].
#[must_use = "the section ends when the guard is dropped"]
pub struct SectionGuard {
    running: Running,
}

impl SectionGuard {
    /// Ends the section: it is recorded as completed.
    pub fn done(mut self) {
        self.running.end(false);
    }
}

impl<F> fmt::Debug for Timed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").field("section", &self.section).finish_non_exhaustive()
    }
}

impl fmt::Debug for SectionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionGuard")
            .field("section", &self.running.section)
            .finish_non_exhaustive()
    }
}
