//! The numbers that this project holds itself to.
//!
//! A *gate* must hold on every commit; an *aim* is where the work goes.

use std::fmt;

use crate::document::Instructions;

/// A bound that a measured number keeps or not.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Not above this.
    AtMost(f64),
    /// Not below this.
    AtLeast(f64),
}

impl Bound {
    /// Whether the value keeps the bound.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
        }
    }
}

/// Why a number is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmeasured {
    /// The cases that it needs were not measured.
    NoCase,
    /// Other work took the processors away in every attempt. That says nothing about this code.
    Busy,
}

/// A target with what was measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// What is measured.
    pub name: String,
    /// What came out, or why nothing did.
    pub measured: Result<f64, Unmeasured>,
    /// What must hold.
    pub gate: Bound,
    /// What is wanted.
    pub aim: Option<Bound>,
    /// What must hold meanwhile, of a gate that is known to be missed: it does not get worse.
    pub meanwhile: Option<Bound>,
}

impl Target {
    /// A target with its measurement.
    pub fn new(name: impl Into<String>, measured: f64, gate: Bound, aim: Option<Bound>) -> Self {
        Self { name: name.into(), measured: Ok(measured), gate, aim, meanwhile: None }
    }

    /// Whether the gate holds; false when it was not measured.
    pub fn holds(&self) -> bool {
        self.measured.is_ok_and(|value| self.gate.holds(value))
    }

    /// Whether a change may land: the gate holds, or what must hold meanwhile, or the machine was too
    /// busy to tell.
    pub fn passes(&self) -> bool {
        let required = self.meanwhile.unwrap_or(self.gate);
        let keeps = |value| self.gate.holds(value) || required.holds(value);
        self.measured.map_or_else(|why| why == Unmeasured::Busy, keeps)
    }

    /// Whether the aim is reached; true without one.
    pub fn reaches_aim(&self) -> bool {
        self.aim.is_none_or(|aim| self.measured.is_ok_and(|value| aim.holds(value)))
    }
}

/// Allocations that are none: first touches of octaves, over a hundred thousand requests.
pub const NONE: f64 = 0.01;

/// The targets that instruction counts and allocation counts decide. Both are exact, whatever else
/// the machine does.
pub fn exact_targets(measured: &Instructions) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let of = |name: &str| measured.cases.iter().find(|case| case.name == name);
    let instructions =
        |name: &str, base: &str| Some(of(name)?.instructions - of(base)?.instructions);
    let allocations = |name: &str, base: &str| Some(of(name)?.allocations - of(base)?.allocations);
    let ratio = |numerator: Option<f64>, denominator: Option<f64>| Some(numerator? / denominator?);
    let ours = || instructions("axum/ours", "axum/noop");
    let per_flag = |platform: &str| {
        let added = instructions(&format!("{platform}/ours-8-flags"), &format!("{platform}/ours"));
        ratio(added, Some(7.0))
    };
    let target = |name: &str, measured: Option<f64>, gate, aim| Target {
        name: name.to_owned(),
        measured: measured.ok_or(Unmeasured::NoCase),
        gate,
        aim: Some(aim),
        meanwhile: None,
    };
    let none = (AtMost(NONE), AtMost(NONE));
    let mut targets = vec![
        target("allocations, tower", allocations("tower/ours", "tower/bare"), none.0, none.1),
        target(
            "allocations, axum, above no-op",
            allocations("axum/ours", "axum/noop"),
            none.0,
            none.1,
        ),
        target(
            "allocations, 4 flags",
            allocations("axum/ours-4-flags", "axum/noop"),
            none.0,
            none.1,
        ),
        target(
            "allocations with the request extension",
            allocations("axum/ours-extension", "axum/noop"),
            AtMost(2.0 + NONE),
            AtMost(1.0 + NONE),
        ),
        target(
            "instructions above no-op / floor2, axum",
            ratio(ours(), instructions("axum/floor2", "axum/noop")),
            AtMost(1.5),
            AtMost(1.2),
        ),
        target(
            "instructions above bare / floor, tower",
            ratio(
                instructions("tower/ours", "tower/bare"),
                instructions("tower/floor", "tower/bare"),
            ),
            AtMost(3.0),
            AtMost(2.2),
        ),
        target(
            "instructions per further flag, tower",
            per_flag("tower"),
            AtMost(140.0),
            AtMost(100.0),
        ),
        target(
            "instructions per further flag, axum",
            per_flag("axum"),
            AtMost(140.0),
            AtMost(100.0),
        ),
    ];
    if cfg!(feature = "peers") {
        let peers = [
            ("axum-prometheus", 20.0),
            ("otel-instrumentation-tower", 20.0),
            ("axum-otel-metrics", 18.0),
        ];
        targets.extend(peers.map(|(peer, gate)| {
            let theirs = instructions(&format!("axum/{peer}"), "axum/noop");
            target(
                &format!("instructions, {peer} / ours"),
                ratio(theirs, ours()),
                AtLeast(gate),
                AtLeast(25.0),
            )
        }));
    }
    targets
}
