//! Routes found without a lock.
//!
//! A route is looked up by the address of axum's `MatchedPath` where there is one, else by its
//! name. Both kinds of key live in one table that is read without a lock. New routes are added
//! under a lock, up to a bound.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use latency_experiment_record::{
    ExperimentId, Milestone, Outcome, Recorder, StartedCounters, reserved,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::revision::FlagEpoch;
use crate::route::MethodLabel;
use crate::section_table::SectionTable;
use crate::series_table::SeriesTable;
use crate::slots::Slots;

/// A route that requests are filed under, and the series that were resolved for it so far.
pub(crate) struct Route {
    /// `GET /users/{id}`, or one of the reserved names.
    pub(crate) label: String,
    /// Whether the template ends in a wildcard, behind which a gRPC service may hide.
    #[cfg(feature = "axum")]
    pub(crate) wildcard: bool,
    pub(crate) epochs: &'static [FlagEpoch],
    /// By flag, as the epochs are.
    pub(crate) started: Box<[StartedCounters]>,
    pub(crate) flags: Box<[RouteFlag]>,
    pub(crate) sections: SectionTable,
}

/// What a route keeps of one flag.
pub(crate) struct RouteFlag {
    pub(crate) experiment: ExperimentId,
    /// By [`place`].
    pub(crate) series: SeriesTable,
}

/// The milestones that every route has series for. The first is that of every request.
pub(crate) const MILESTONES: [Milestone; 3] =
    [Milestone::Latency, Milestone::Duration, Milestone::Busy];

/// Positions of the others among them.
pub(crate) const DURATION: usize = 1;
pub(crate) const BUSY: usize = 2;

/// The place of the first milestone's series in the tables of a route; those of the others follow.
#[inline]
pub(crate) fn place(size_class: usize, outcome: Outcome) -> usize {
    (size_class * Outcome::ALL.len() + outcome.index()) * MILESTONES.len()
}

/// The size class and the outcome that [`place`] was given.
pub(crate) fn of_place(place: usize) -> (usize, Outcome) {
    let position = place / MILESTONES.len();
    (position / Outcome::ALL.len(), Outcome::ALL[position % Outcome::ALL.len()])
}

/// What a route is made of.
#[derive(Clone, Copy)]
pub(crate) struct RouteTemplate {
    pub(crate) recorder: Recorder,
    pub(crate) size_classes: usize,
    pub(crate) epochs: &'static [FlagEpoch],
}

pub(crate) struct RouteTable {
    slots: Slots<Entry>,
    routes: Mutex<Routes>,
    max_routes: usize,
    template: RouteTemplate,
    pub(crate) unmatched: &'static Route,
    /// Made when it is needed.
    overflow: OnceLock<&'static Route>,
}

#[derive(Default)]
struct Routes {
    by_name: HashMap<(MethodLabel, String), Known>,
}

/// Longest name of a route of its own, in bytes: where a client decides what routes are called, it
/// decides how long their names are, too. Longer ones are `_overflow`.
const MAX_NAME_BYTES: usize = 256;

struct Known {
    route: &'static Route,
    #[cfg(feature = "axum")]
    pins: u8,
}

/// More addresses than this for one route are a sign that each request brings its own.
#[cfg(feature = "axum")]
const MAX_PINS: u8 = 4;

struct Entry {
    key: Key,
    route: &'static Route,
}

enum Key {
    Name(MethodLabel, Box<str>),
    /// Method and address of a path, as their hash. The clone keeps the path alive, so no other string
    /// can ever be found at that address.
    #[cfg(feature = "axum")]
    Pinned {
        hash: u64,
        _path: axum::extract::MatchedPath,
    },
}

impl RouteTable {
    pub(crate) fn new(max_routes: usize, template: RouteTemplate) -> Self {
        Self {
            slots: Slots::new(),
            routes: Mutex::default(),
            max_routes,
            unmatched: Route::new(reserved::UNMATCHED.to_owned(), &template),
            overflow: OnceLock::new(),
            template,
        }
    }

    /// Whether any route was ever found.
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).by_name.is_empty()
    }

    /// The route of this name, if it is known.
    #[inline]
    pub(crate) fn find(&self, method: MethodLabel, name: &str) -> Option<&'static Route> {
        let found = self.slots.find(
            hash_name(method, name),
            |entry| matches!(&entry.key, Key::Name(of, known) if *of == method && **known == *name),
        );
        found.map(|entry| entry.route)
    }

    /// The route of this name; it becomes known when the bound allows it, else it is `_overflow`.
    #[inline]
    pub(crate) fn intern(&self, method: MethodLabel, name: &str) -> &'static Route {
        self.find(method, name).unwrap_or_else(|| self.insert(method, name))
    }

    #[cold]
    #[inline(never)]
    fn insert(&self, method: MethodLabel, name: &str) -> &'static Route {
        let overflow = || Route::new(reserved::OVERFLOW.to_owned(), &self.template);
        if name.len() > MAX_NAME_BYTES {
            return self.overflow.get_or_init(overflow);
        }
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.by_name.get(&(method, name.to_owned())) {
            return known.route;
        }
        if routes.by_name.len() >= self.max_routes {
            return self.overflow.get_or_init(overflow);
        }
        let route = Route::new(format!("{} {name}", method.as_str()), &self.template);
        let known = Known {
            route,
            #[cfg(feature = "axum")]
            pins: 0,
        };
        routes.by_name.insert((method, name.to_owned()), known);
        // Where there is no room the route is found under the lock.
        let entry = Entry { key: Key::Name(method, name.into()), route };
        self.slots.insert(hash_name(method, name), entry);
        route
    }

    /// The route of a path that axum matched, found by its address.
    #[cfg(feature = "axum")]
    #[inline(always)]
    pub(crate) fn intern_matched(
        &self,
        method: MethodLabel,
        path: &axum::extract::MatchedPath,
    ) -> &'static Route {
        let hash = hash_address(method, path.as_str());
        match self.slots.find_direct(hash, |entry| entry.is_pinned(hash)) {
            Some(entry) => entry.route,
            None => self.find_matched(method, path),
        }
    }

    #[cfg(feature = "axum")]
    #[inline(never)]
    fn find_matched(
        &self,
        method: MethodLabel,
        path: &axum::extract::MatchedPath,
    ) -> &'static Route {
        let hash = hash_address(method, path.as_str());
        let found = self.slots.find(hash, |entry| entry.is_pinned(hash));
        found.map_or_else(|| self.insert_matched(method, path), |entry| entry.route)
    }

    /// Pins the path, unless its route has enough addresses: a nested router builds a path of its
    /// own for each request, and pinning those would grow without end.
    #[cfg(feature = "axum")]
    #[cold]
    #[inline(never)]
    fn insert_matched(
        &self,
        method: MethodLabel,
        path: &axum::extract::MatchedPath,
    ) -> &'static Route {
        let name = path.as_str();
        let route = self.intern(method, name);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.by_name.get_mut(&(method, name.to_owned()))
            && known.pins < MAX_PINS
        {
            known.pins += 1;
            let hash = hash_address(method, name);
            self.slots
                .insert(hash, Entry { key: Key::Pinned { hash, _path: path.clone() }, route });
        }
        route
    }
}

#[cfg(feature = "axum")]
impl Entry {
    /// Whether this is the path of the method and the address with this hash.
    #[inline(always)]
    fn is_pinned(&self, hash: u64) -> bool {
        matches!(self.key, Key::Pinned { hash: own, .. } if own == hash)
    }
}

impl Route {
    /// Routes live as long as the table, which lives as long as the process.
    fn new(label: String, template: &RouteTemplate) -> &'static Self {
        let RouteTemplate { recorder, size_classes, epochs } = *template;
        let started = epochs.iter().map(|epoch| recorder.started_counters(epoch.id, &label));
        let flags = epochs.iter().map(|epoch| RouteFlag {
            experiment: epoch.id,
            series: SeriesTable::new(place(size_classes, Outcome::ALL[0]), epoch),
        });
        Box::leak(Box::new(Self {
            #[cfg(feature = "axum")]
            wildcard: label.ends_with('}') && label.contains("{*"),
            epochs,
            started: started.collect(),
            flags: flags.collect(),
            sections: SectionTable::new(epochs),
            label,
        }))
    }
}

#[inline]
fn hash_name(method: MethodLabel, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), method.index().into())
}

/// Fibonacci hashing. It is a bijection, so that different methods and addresses have different hashes:
/// no address has more than 60 bits.
#[cfg(feature = "axum")]
#[inline(always)]
fn hash_address(method: MethodLabel, name: &str) -> u64 {
    let address = name.as_ptr() as u64 ^ u64::from(method.index()) << 60;
    address.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use jiff::Timestamp;
    use latency_experiment_record::Limits;

    const GET: &Method = &Method::GET;

    fn table(max_routes: usize) -> RouteTable {
        let recorder = Recorder::new(Limits::default(), Timestamp::UNIX_EPOCH);
        let template = RouteTemplate { recorder, size_classes: 4, epochs: &[] };
        RouteTable::new(max_routes, template)
    }

    #[test]
    fn a_route_keeps_its_identity_and_methods_are_told_apart() {
        let table = table(1_000);
        let get = MethodLabel::of(GET);
        let routes: Vec<_> = (0..1_000).map(|n| table.intern(get, &format!("/{n}"))).collect();
        for (n, route) in routes.iter().enumerate() {
            assert!(std::ptr::eq(table.intern(get, &format!("/{n}")), *route));
            assert_eq!(route.label, format!("GET /{n}"));
        }
        assert!(table.find(MethodLabel::of(&Method::POST), "/1").is_none());
    }

    #[test]
    fn beyond_the_bound_routes_are_overflow_and_the_known_ones_stay() {
        let table = table(2);
        let get = MethodLabel::of(GET);
        let labels: Vec<_> = ["/a", "/b", "/c", "/a", "/d"]
            .map(|name| table.intern(get, name).label.as_str())
            .into();
        assert_eq!(labels, ["GET /a", "GET /b", "_overflow", "GET /a", "_overflow"]);
    }

    #[test]
    fn threads_that_race_for_a_route_agree_on_it() {
        let table = table(1_000);
        let seen: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..200)
                            .map(|n| {
                                std::ptr::from_ref(
                                    table.intern(MethodLabel::of(GET), &format!("/{n}")),
                                ) as usize
                            })
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[cfg(feature = "axum")]
    #[test]
    fn only_templates_that_end_in_a_wildcard_are_wildcards() {
        let table = table(10);
        let wildcard = |name| table.intern(MethodLabel::of(GET), name).wildcard;
        assert!(wildcard("/helloworld.Greeter/{*rest}"));
        assert!(!wildcard("/users/{id}") && !wildcard("/users"));
    }
}
