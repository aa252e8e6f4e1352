//! Which route a request belongs to.

use std::fmt;

use http::Method;

use crate::core::Core;
use crate::head::RequestHead;
use crate::revision::Tables;
use crate::route_table::Route;

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
    /// Return templates: the number of distinct names is bounded, and those beyond the bound are
    /// filed under `_overflow`.
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

impl MethodLabel {
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

/// What is left to decide about the route of a request, once its response is there.
pub(crate) enum RouteOf {
    /// Nothing.
    Http,
    /// Nothing, but the response's status is that of gRPC.
    Grpc,
    /// The client named a gRPC method that no response has confirmed so far.
    Claimed(Box<Claim>),
}

/// A route that a client named.
pub(crate) struct Claim {
    tables: &'static Tables,
    method: MethodLabel,
    uri: http::Uri,
}

impl Claim {
    /// The route, now that a response has confirmed it.
    #[cold]
    pub(crate) fn confirm(&self) -> &'static Route {
        self.tables.routes.intern(self.method, self.uri.path())
    }
}

impl Core {
    /// The route of a request, as far as it can be told before the response.
    #[inline]
    pub(crate) fn route(
        &self,
        tables: &'static Tables,
        head: RequestHead<'_>,
    ) -> (&'static Route, RouteOf) {
        let routes = &tables.routes;
        let method = MethodLabel::of(head.method);
        if let Source::Function(name) = self.route_source.source() {
            let route = name(head).map(|name| routes.intern(method, name));
            return (route.unwrap_or(routes.unmatched), RouteOf::Http);
        }
        #[cfg(feature = "axum")]
        if let Some(path) = head.extensions.get::<axum::extract::MatchedPath>() {
            let route = routes.intern_matched(method, path);
            if route.wildcard && head.is_grpc() {
                return grpc_route(tables, method, head);
            }
            return (route, RouteOf::Http);
        }
        if head.is_grpc() {
            return grpc_route(tables, method, head);
        }
        self.unrouted.count(routes);
        (routes.unmatched, RouteOf::Http)
    }
}

#[cold]
fn grpc_route(
    tables: &'static Tables,
    method: MethodLabel,
    head: RequestHead<'_>,
) -> (&'static Route, RouteOf) {
    match tables.routes.find(method, head.uri.path()) {
        Some(route) => (route, RouteOf::Grpc),
        None => {
            let claim = Claim { tables, method, uri: head.uri.clone() };
            (tables.routes.unmatched, RouteOf::Claimed(Box::new(claim)))
        }
    }
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
