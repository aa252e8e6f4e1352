//! Which route a request belongs to.

use std::fmt;
use std::marker::PhantomData;

use http::{Extensions, Method};

use crate::core::Core;
use crate::head::RequestHead;
use crate::route_table::{Route, RouteTable};

type RouteFunction = dyn for<'a> Fn(RequestHead<'a>) -> Option<&'a str> + Send + Sync;

/// Where the route of a request comes from.
///
/// A route is a template such as `/users/{id}`, never a path that a client made up: every route is
/// a series of its own in the tables. A request without a route is filed under `_unmatched`.
pub struct RouteSource(Source);

pub(crate) enum Source {
    Automatic,
    Function(Box<RouteFunction>),
}

impl RouteSource {
    /// axum's `MatchedPath` (feature `axum`), or the path of a gRPC request.
    ///
    /// `MatchedPath` is there for layers inside an axum `Router`; it is missing for fallbacks,
    /// `nest_service` and layers around the whole router. A gRPC path is the client's choice, so a
    /// new one becomes a route only after a response other than `UNIMPLEMENTED`.
    pub fn automatic() -> Self {
        Self(Source::Automatic)
    }

    /// A function that names the route of a request, or returns `None` for `_unmatched`.
    ///
    /// Return templates: the number of distinct names is bounded, and so is their length, by 256 bytes.
    /// Those beyond the bounds are filed under `_overflow`.
    pub fn function<F>(name: F) -> Self
    where
        F: for<'a> Fn(RequestHead<'a>) -> Option<&'a str> + Send + Sync + 'static,
    {
        Self(Source::Function(Box::new(name)))
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0
    }
}

impl Default for RouteSource {
    fn default() -> Self {
        Self::automatic()
    }
}

impl fmt::Debug for RouteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Automatic => "RouteSource::automatic()",
            Source::Function(_) => "RouteSource::function(..)",
        })
    }
}

/// A method in a bounded set: the nine of RFC 9110 and RFC 5789, and one for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodLabel(u8);

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER"];

/// What a router that axum has passed says of the route. Without the feature `axum` nobody says
/// anything.
#[derive(Clone, Copy)]
pub(crate) struct Matched<'a> {
    #[cfg(feature = "axum")]
    path: Option<&'a axum::extract::MatchedPath>,
    _request: PhantomData<&'a ()>,
}

impl<'a> Matched<'a> {
    #[cfg_attr(not(feature = "axum"), expect(unused_variables, reason = "nothing is attached"))]
    #[inline]
    pub(crate) fn of(extensions: &'a Extensions) -> Self {
        Self {
            #[cfg(feature = "axum")]
            path: extensions.get(),
            _request: PhantomData,
        }
    }
}

impl Matched<'_> {
    /// Whether it says that the route is no gRPC service: behind a wildcard there may be one.
    fn is_plain_http(self, routes: &RouteTable, method: MethodLabel) -> bool {
        #[cfg(feature = "axum")]
        if let Some(path) = self.path {
            return !routes.intern_matched(method, path).wildcard;
        }
        let _ = (self, routes, method);
        false
    }
}

impl MethodLabel {
    pub(crate) const GET: Self = Self(0);
    pub(crate) const HEAD: Self = Self(1);
    pub(crate) const CONNECT: Self = Self(5);

    /// Whether responses to it have the body that their head says.
    pub(crate) fn has_body(self) -> bool {
        self != Self::HEAD && self != Self::CONNECT
    }

    #[inline]
    pub(crate) fn of(method: &Method) -> Self {
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::CONNECT => 5,
            Method::OPTIONS => 6,
            Method::TRACE => 7,
            Method::PATCH => 8,
            _ => 9,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }

    #[inline]
    pub(crate) fn index(self) -> u8 {
        self.0
    }
}

/// A route that a client named by the path of a gRPC request, and no response has confirmed so far.
pub(crate) struct Claim {
    routes: &'static RouteTable,
    method: MethodLabel,
    uri: http::Uri,
}

impl Claim {
    /// The route, now that a response has confirmed it.
    #[cold]
    #[inline(never)]
    pub(crate) fn confirm(&self) -> &'static Route {
        self.routes.intern(self.method, self.uri.path())
    }
}

/// The route of a request, as far as it can be told before the response.
#[derive(Clone, Copy)]
pub(crate) struct FoundRoute {
    pub(crate) route: &'static Route,
    /// The response's status is that of gRPC.
    pub(crate) grpc: bool,
}

impl FoundRoute {
    #[inline]
    fn http(route: &'static Route) -> Self {
        Self { route, grpc: false }
    }
}

impl Core {
    /// The route of a request that is not gRPC, as far as a router knows it.
    #[inline(always)]
    pub(crate) fn matched_route(
        &self,
        routes: &'static RouteTable,
        method: &Method,
        matched: Matched<'_>,
    ) -> &'static Route {
        #[cfg(feature = "axum")]
        if let Some(path) = matched.path {
            return routes.intern_matched(MethodLabel::of(method), path);
        }
        let _ = (method, matched);
        self.unrouted.count(routes);
        routes.unmatched
    }

    /// The route of a request, as far as it can be told before the response.
    pub(crate) fn route(&self, routes: &'static RouteTable, head: RequestHead<'_>) -> FoundRoute {
        if let Source::Function(name) = self.route_source.source() {
            return FoundRoute::http(named_route(name, routes, head));
        }
        let method = MethodLabel::of(head.method);
        let matched = Matched::of(head.extensions);
        if head.is_grpc() && !matched.is_plain_http(routes, method) {
            return grpc_route(routes, method, head);
        }
        FoundRoute::http(self.matched_route(routes, head.method, matched))
    }

    /// What the client named, when nothing but a response can tell whether it is a route.
    pub(crate) fn claim(&self, found: FoundRoute, head: RequestHead<'_>) -> Option<Claim> {
        let routes = &self.revisions.tables_of(found.route.epochs).routes;
        let unknown = found.grpc && std::ptr::eq(found.route, routes.unmatched);
        unknown.then(|| Claim {
            routes,
            method: MethodLabel::of(head.method),
            uri: head.uri.clone(),
        })
    }
}

/// The route that a user's function names.
#[inline(never)]
pub(crate) fn named_route(
    name: &RouteFunction,
    routes: &'static RouteTable,
    head: RequestHead<'_>,
) -> &'static Route {
    let method = MethodLabel::of(head.method);
    name(head).map_or(routes.unmatched, |name| routes.intern(method, name))
}

#[cold]
#[inline(never)]
fn grpc_route(routes: &RouteTable, method: MethodLabel, head: RequestHead<'_>) -> FoundRoute {
    let known = routes.find(method, head.uri.path());
    FoundRoute { route: known.unwrap_or(routes.unmatched), grpc: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_methods_are_known_and_all_others_are_one() {
        for name in &METHODS[..9] {
            assert_eq!(MethodLabel::of(&name.parse().unwrap()).as_str(), *name);
        }
        for name in ["BREW", "get", "PROPFIND"] {
            assert_eq!(MethodLabel::of(&name.parse().unwrap()).as_str(), "_OTHER");
        }
    }
}
