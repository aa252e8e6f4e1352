//! Which requests arrive when: decided by a seed, never by how fast the service answers.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::closing::grouped;
use crate::database::Database;
use crate::queries::Tenant;

/// What a client may ask for, and how often it asks for what.
#[derive(Clone, Debug)]
pub struct Menu {
    /// Product IDs are 1 to this.
    products: u32,
    /// Per tenant, its categories with their number of products, the largest first.
    tenants: Vec<(Tenant, Vec<(u32, u32)>)>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The categories that the tenant may see.
    Categories(Tenant),
    /// The products of a category, a page of them or all.
    Listing(Tenant, u32, Option<u32>),
    /// One product.
    Product(u32),
    /// The export.
    Export,
    /// The health check.
    Health,
}

/// A request with its time, counted from the start of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// When it is due.
    pub at: Duration,
    /// What is asked for.
    pub target: Target,
}

/// The arrivals of a Poisson process: gaps are exponential and independent of each other, as when
/// many clients act on their own. Bursts are part of it.
#[derive(Debug)]
pub struct Schedule {
    rng: StdRng,
    menu: Menu,
    rate: f64,
    seed: u64,
    /// Seconds.
    at: f64,
    left: u64,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, rate, seed, .. } = self;
        let seconds = *left as f64 / rate;
        let requests = grouped(*left);
        write!(
            f,
            "{requests} requests at {rate}/s, at random moments (Poisson, seed {seed}): {seconds:.0} s"
        )
    }
}

/// Requests of each kind, of 100.
const CATEGORIES: u32 = 32;
const LISTING: u32 = 32;
const PRODUCT: u32 = 26;
const EXPORT: u32 = 1;
/// Listings of whole categories, of 100 listings, and how many products they ask for. A few clients
/// mirror the largest categories; their responses are around a megabyte.
const WHOLE: u32 = 4;
const ALL: u32 = 5_000;
const MIRRORED: usize = 3;

impl Menu {
    /// What the catalogue offers.
    pub async fn of(database: &Database, products: u32) -> rusqlite::Result<Self> {
        let mut tenants = Vec::new();
        for tenant in database.tenants() {
            let visible = database.whitelist(tenant).await?.categories;
            let mut categories: Vec<_> = visible.iter().map(|c| (c.id, c.products)).collect();
            categories.sort_unstable_by_key(|&(id, products)| (Reverse(products), id));
            tenants.push((tenant, categories));
        }
        Ok(Self { products, tenants })
    }

    fn pick(&self, rng: &mut StdRng) -> Target {
        let (tenant, categories) = &self.tenants[rng.random_range(0..self.tenants.len())];
        let kind = rng.random_range(0..100);
        if kind < CATEGORIES {
            Target::Categories(*tenant)
        } else if kind < CATEGORIES + LISTING {
            let whole = rng.random_ratio(WHOLE, 100);
            let among =
                if whole { &categories[..MIRRORED.min(categories.len())] } else { categories };
            let category = pick_by_size(among, rng);
            Target::Listing(*tenant, category, whole.then_some(ALL))
        } else if kind < CATEGORIES + LISTING + PRODUCT {
            // One link in a hundred leads to a product that is gone.
            Target::Product(rng.random_range(1..=self.products + self.products / 100))
        } else if kind < CATEGORIES + LISTING + PRODUCT + EXPORT {
            Target::Export
        } else {
            Target::Health
        }
    }
}

/// People browse large categories more often.
fn pick_by_size(categories: &[(u32, u32)], rng: &mut StdRng) -> u32 {
    let total: u32 = categories.iter().map(|(_, products)| products).sum();
    let point = rng.random_range(0..total.max(1));
    let mut passed = 0;
    let hit = categories.iter().find(|(_, products)| {
        passed += products;
        point < passed
    });
    // A tenant without categories looks for one that does not exist.
    hit.map_or(0, |(id, _)| *id)
}

impl Schedule {
    /// This many requests, `rate` per second on average.
    pub fn new(menu: Menu, requests: u64, rate: f64, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, menu, rate, seed, at: 0.0, left: requests }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        // In [0, 1), so that the logarithm is of a number above 0.
        let uniform = self.rng.random::<f64>();
        self.at -= (1.0 - uniform).ln() / self.rate;
        let target = self.menu.pick(&mut self.rng);
        Some(Arrival { at: Duration::from_secs_f64(self.at), target })
    }
}

impl Target {
    /// The route as the service names it.
    pub fn route(self) -> &'static str {
        match self {
            Self::Categories(_) => "GET /api/v1/categories",
            Self::Listing(..) => "GET /api/v1/categories/{id}/products",
            Self::Product(_) => "GET /api/v1/products/{id}",
            Self::Export => "GET /api/v1/export",
            Self::Health => "GET /health",
        }
    }

    /// Path and query.
    pub fn path(self) -> String {
        match self {
            Self::Categories(_) => "/api/v1/categories".to_owned(),
            Self::Listing(_, id, None) => format!("/api/v1/categories/{id}/products"),
            Self::Listing(_, id, Some(limit)) => {
                format!("/api/v1/categories/{id}/products?limit={limit}")
            }
            Self::Product(id) => format!("/api/v1/products/{id}"),
            Self::Export => "/api/v1/export".to_owned(),
            Self::Health => "/health".to_owned(),
        }
    }

    /// On whose behalf; public routes need nobody.
    pub fn tenant(self) -> Option<Tenant> {
        match self {
            Self::Categories(tenant) | Self::Listing(tenant, ..) => Some(tenant),
            Self::Product(_) | Self::Export | Self::Health => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu() -> Menu {
        let tenants = vec![(Tenant(1), vec![(7, 90), (9, 10)]), (Tenant(2), vec![(8, 1)])];
        Menu { products: 1_000, tenants }
    }

    #[test]
    fn a_seed_decides_everything() {
        let schedule = |seed| Schedule::new(menu(), 500, 100.0, seed).collect::<Vec<_>>();
        assert_eq!(schedule(1), schedule(1));
        assert_ne!(schedule(1), schedule(2));
        assert_eq!(schedule(1).len(), 500);
        assert!(schedule(1).is_sorted_by_key(|arrival| arrival.at));
    }

    #[test]
    fn gaps_are_exponential_with_the_mean_of_the_rate() {
        let arrivals: Vec<_> = Schedule::new(menu(), 20_000, 400.0, 3).collect();
        let mut gaps: Vec<f64> = arrivals
            .windows(2)
            .map(|pair| pair[1].at.saturating_sub(pair[0].at).as_secs_f64())
            .collect();
        gaps.sort_by(f64::total_cmp);
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let median = gaps[gaps.len() / 2];
        assert!((mean * 400.0 - 1.0).abs() < 0.03, "{mean}");
        assert!((median * 400.0 - std::f64::consts::LN_2).abs() < 0.03, "{median}");
    }

    #[test]
    fn the_mix_has_the_shares_that_are_promised() {
        let targets: Vec<_> = Schedule::new(menu(), 50_000, 1.0, 4).map(|a| a.target).collect();
        let share = |of: fn(&Target) -> bool| {
            targets.iter().filter(|target| of(target)).count() as f64 / targets.len() as f64
        };
        for (measured, promised) in [
            (share(|t| matches!(t, Target::Categories(_))), 0.32),
            (share(|t| matches!(t, Target::Listing(..))), 0.32),
            (share(|t| matches!(t, Target::Listing(_, _, Some(_)))), 0.0128),
            (share(|t| matches!(t, Target::Product(_))), 0.26),
            (share(|t| matches!(t, Target::Product(id) if *id > 1_000)), 0.0026),
            (share(|t| matches!(t, Target::Export)), 0.01),
            (share(|t| matches!(t, Target::Health)), 0.09),
        ] {
            assert!((measured - promised).abs() < 0.008, "{measured} instead of {promised}");
        }
    }

    #[test]
    fn tenants_browse_their_own_categories_the_large_ones_more() {
        let mut seen = std::collections::BTreeMap::<_, u32>::new();
        for arrival in Schedule::new(menu(), 10_000, 1.0, 5) {
            if let Target::Listing(tenant, category, _) = arrival.target {
                *seen.entry((tenant.0, category)).or_default() += 1;
            }
        }
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [(1, 7), (1, 9), (2, 8)]);
        assert!(seen[&(1, 7)] > 6 * seen[&(1, 9)], "{seen:?}");
    }
}
