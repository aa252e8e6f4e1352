//! How many requests have ended, and hence how many are in flight.

use std::collections::BTreeMap;

use crate::snapshot::{Counters, RouteCounts};
use crate::{Histogram, Milestone, SeriesKey};

/// How many requests have ended, by arm and route, in this order.
pub(crate) struct Ended<'a>(Vec<((&'a str, &'a str), u64)>);

impl<'a> Ended<'a> {
    pub(crate) fn of(series: &'a BTreeMap<SeriesKey, Histogram>) -> Self {
        let mut ended = Vec::<((&str, &str), u64)>::new();
        let latencies = series.iter().filter(|(key, _)| key.milestone == Milestone::Latency);
        for (key, histogram) in latencies {
            let place = (&*key.arm, &*key.route);
            // Series are ordered by arm and route first.
            match ended.last_mut() {
                Some((last, count)) if *last == place => *count += histogram.count(),
                _ => ended.push((place, histogram.count())),
            }
        }
        Self(ended)
    }

    /// Notes what an arm has started, by route, and what of it is in flight.
    ///
    /// What ends in an overflow series has lost its route. So what an arm has in flight is not the sum
    /// over its routes, and a route has no more than its arm.
    pub(crate) fn note_started(
        &self,
        arm: &str,
        routes: impl Iterator<Item = (&'a str, u64)> + Clone,
        counters: &mut Counters,
    ) {
        let started: u64 = routes.clone().map(|(_, started)| started).sum();
        if started == 0 {
            return;
        }
        let all_in_flight = started.saturating_sub(self.of_arm(arm));
        counters.started.insert(arm.to_owned(), started);
        counters.in_flight.insert(arm.to_owned(), all_in_flight);
        for (route, started) in routes.filter(|&(_, started)| started > 0) {
            let in_flight = started.saturating_sub(self.of_route(arm, route)).min(all_in_flight);
            let place = (route.to_owned(), arm.to_owned());
            counters.routes.insert(place, RouteCounts { started, in_flight });
        }
    }

    fn of_arm(&self, arm: &str) -> u64 {
        let of_arm = self.0.iter().filter(|((of, _), _)| *of == arm);
        of_arm.map(|(_, ended)| ended).sum()
    }

    fn of_route(&self, arm: &str, route: &str) -> u64 {
        let found = self.0.binary_search_by_key(&(arm, route), |&(place, _)| place);
        found.map_or(0, |position| self.0[position].1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Bucket, Outcome, Sums, reserved};

    #[test]
    fn what_ended_on_no_route_of_its_own_is_in_flight_nowhere() {
        let ended_on = |route: &str, count| {
            let key = SeriesKey {
                arm: "control".to_owned(),
                route: route.to_owned(),
                size: reserved::UNKNOWN_SIZE.to_owned(),
                outcome: Outcome::Completed,
                milestone: Milestone::Latency,
                exposed: false,
                group: None,
                block: None,
            };
            let bucket = Bucket { lower: 1, upper: 1, count };
            (key, Histogram::try_new(vec![bucket], Sums::ZERO).unwrap())
        };
        let series = [ended_on("GET /a", 3), ended_on(reserved::OVERFLOW, 4)].into();
        let ended = Ended::of(&series);
        let in_flight = |started: [(&'static str, u64); 2]| {
            let mut counters = Counters::default();
            ended.note_started("control", started.into_iter(), &mut counters);
            let by_route =
                counters.routes.values().map(|route| route.in_flight).collect::<Vec<_>>();
            (counters.in_flight["control"], by_route)
        };
        assert_eq!(in_flight([("GET /a", 3), ("GET /b", 4)]), (0, vec![0, 0]));
        assert_eq!(in_flight([("GET /a", 5), ("GET /b", 5)]), (3, vec![2, 3]));
    }
}
