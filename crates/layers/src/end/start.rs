use http::{Method, Request};

use super::InFlight;
use crate::arms::FlagArm;
use crate::core::Core;
use crate::head::RequestHead;
use crate::hex;
use crate::request_id::random_words;
use crate::revision::Revision;
use crate::route::{self, FoundRoute, Matched, MethodLabel, Source};
use crate::scope::{self, Scope};
use crate::scope_pool::PooledScope;

/// A request whose clock was started, and nothing else so far.
pub(crate) struct Start {
    core: &'static Core,
    /// What the request is assigned by.
    revision: &'static Revision,
    /// The reading of the clock.
    at: u64,
}

impl Start {
    #[inline(always)]
    pub(crate) fn now(core: &'static Core) -> Self {
        Self { core, revision: core.revisions.current(), at: core.clock.raw() }
    }

    /// Whether the request needs no more than most do. A POST may be gRPC, and what the heads of
    /// responses to HEAD and CONNECT say is not said of their bodies.
    #[inline(always)]
    pub(crate) fn is_plain<B>(&self, request: &Request<B>) -> bool {
        let unusual = matches!(*request.method(), Method::POST | Method::HEAD | Method::CONNECT);
        self.revision.plain && !unusual
    }

    /// Evaluates the flags for a [plain](Self::is_plain) request and finds its route.
    #[inline(always)]
    pub(crate) fn plain<B>(self, request: &Request<B>) -> InFlight {
        let Self { core, revision, at } = self;
        let routes = &revision.tables.routes;
        let route = match core.route_source.source() {
            Source::Automatic => {
                core.matched_route(routes, request.method(), Matched::of(request.extensions()))
            }
            Source::Function(name) => route::named_route(name, routes, RequestHead::of(request)),
        };
        let scope = PooledScope::begin(core, route);
        let id = random_words();
        scope.set_id(id);
        scope.timed.start_plain(at);
        core.split_and_start(revision, &hex::digits(id), route, &scope);
        InFlight::of(scope)
    }

    /// Evaluates the flags and finds the route, unless the request takes no part. Adds to the request
    /// what it was to be told.
    #[inline(always)]
    pub(crate) fn configured<B>(self, request: &mut Request<B>) -> Option<InFlight> {
        Self::configured_at(self.core, self.revision, self.at, request)
    }

    #[cold]
    #[inline(never)]
    fn configured_at<B>(
        core: &'static Core,
        revision: &'static Revision,
        at: u64,
        request: &mut Request<B>,
    ) -> Option<InFlight> {
        let head = RequestHead::of(request);
        if !core.takes_part(head) {
            return None;
        }
        let found = core.route(&revision.tables.routes, head);
        let id = core.request_ids.identify(head);
        let scope = PooledScope::begin_as(core, &id, found.route);
        core.assign_and_start(revision, &id, head.headers, &scope);
        Self { core, revision, at }.time(&scope, found, head);
        scope.tell_request(request);
        Some(InFlight::of(scope))
    }

    /// Begins a request that a layer further out perhaps assigned, unless it takes no part.
    pub(crate) fn observing(self, head: RequestHead<'_>) -> Option<InFlight> {
        let Self { core, revision, .. } = self;
        if !core.takes_part(head) {
            return None;
        }
        let Some(scope) = scope::with_core(core, Scope::copy) else {
            let found = core.route(&revision.tables.routes, head);
            let scope = PooledScope::begin(core, found.route);
            scope.set_id(random_words());
            revision.set_arms(&scope, FlagArm::outside);
            core.start_assigned(&scope, false);
            self.time(&scope, found, head);
            return Some(InFlight::of(scope));
        };
        let tables = core.revisions.tables_of(scope.route().epochs);
        let found = core.route(&tables.routes, head);
        scope.set_route(found.route);
        core.start_assigned(&scope, true);
        // Sections ask the scope that the layer further out entered.
        scope::with_core(core, |outer| outer.set_route(found.route));
        self.time(&scope, found, head);
        Some(InFlight::of(scope))
    }

    /// Notes what the end of the request needs to know of its beginning.
    fn time(&self, scope: &Scope, found: FoundRoute, head: RequestHead<'_>) {
        let method = MethodLabel::of(head.method);
        let grouped = found.route.epochs.iter().any(|epoch| epoch.sticky);
        if self.core.plain && !found.grpc && method.has_body() && !grouped && !scope.has_more() {
            scope.timed.start_plain(self.at);
        } else {
            scope.timed.start(self.at, method, found.grpc);
        }
        if found.grpc
            && let Some(claim) = self.core.claim(found, head)
        {
            scope.set_claim(claim);
        }
    }
}
