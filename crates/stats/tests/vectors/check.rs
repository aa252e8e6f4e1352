//! What was compared, what was left out, and what disagreed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::exceptions::{KINDS, PARTS, VALUES};
use crate::reading::{numbers, text};

/// Collects disagreements instead of stopping at the first.
#[derive(Default)]
pub(crate) struct Check {
    /// Expected values and single numbers compared, by kind of value.
    compared: RefCell<BTreeMap<(String, String), (usize, usize)>>,
    skipped: RefCell<BTreeMap<(String, &'static str), usize>>,
    excused: RefCell<BTreeSet<(String, usize)>>,
    failures: RefCell<Vec<String>>,
    place: RefCell<Place>,
}

/// Where in the document the comparison is.
#[derive(Default, Clone)]
struct Place {
    kind: String,
    case: String,
    key: String,
}

impl Place {
    fn name(&self) -> String {
        format!("{} {}", self.case, self.key)
    }

    /// The kind of value that the key names, without arms, levels and tunings.
    fn family(&self) -> (String, String) {
        let parts = self.key.split('.').map(|part| match part {
            "control" | "variation" => "arm",
            _ => part,
        });
        let digits = |part: &str| part.chars().all(|digit| digit.is_ascii_digit());
        let named = parts.map(|part| if part == "q0" { "q" } else { part });
        let named: Vec<&str> = named.filter(|part| !digits(part)).collect();
        (self.kind.clone(), named.join(".").replace("_q0", "_q"))
    }
}

impl Check {
    pub(crate) fn fail(&self, message: impl Into<String>) {
        self.failures.borrow_mut().push(message.into());
    }

    pub(crate) fn close(&self, actual: f64, expected: f64, relative: f64, absolute: f64) {
        self.that(near(actual, expected, relative, absolute), || {
            format!("{actual:e}, expected {expected:e}")
        });
    }

    /// Compares numbers one by one, but for those that are excused by name.
    pub(crate) fn all_close(&self, actual: &[f64], expected: &Value, relative: f64, absolute: f64) {
        let expected = numbers(expected);
        assert_eq!(actual.len(), expected.len(), "{}", self.place.borrow().name());
        for (position, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            if self.is_excused(position) {
                let same = near(*actual, expected, relative, absolute);
                assert!(!same, "{} {position} agrees", self.place.borrow().name());
            } else {
                self.close(*actual, expected, relative, absolute);
            }
        }
    }

    pub(crate) fn that(&self, holds: bool, message: impl FnOnce() -> String) {
        self.compared.borrow_mut().entry(self.place.borrow().family()).or_default().1 += 1;
        if !holds {
            let name = self.place.borrow().name();
            self.fail(format!("{name}: {}", message()));
        }
    }

    /// Whether the number at `position` of the value at hand is a named exception.
    fn is_excused(&self, position: usize) -> bool {
        let place = self.place.borrow();
        let named = VALUES.iter().any(|(name, at, _)| *at == position && *name == place.name());
        let part = PARTS
            .iter()
            .find(|(kind, key, at, _)| *at == position && *kind == place.kind && *key == place.key);
        if named {
            self.excused.borrow_mut().insert((place.name(), position));
        }
        if let Some((kind, key, _, reason)) = part {
            *self
                .skipped
                .borrow_mut()
                .entry((format!("{kind}, half of {key}"), *reason))
                .or_default() += 1;
        }
        named || part.is_some()
    }

    /// Runs `compare` over the expected values of a case or row; false means that it does not know the key.
    pub(crate) fn expected(
        &self,
        case: &Value,
        row: &Value,
        mut compare: impl FnMut(&str, &Value) -> bool,
    ) {
        let kind = text(&case["kind"]);
        for (key, expected) in row["expected"].as_object().unwrap() {
            let case = text(&case["id"]).to_owned();
            *self.place.borrow_mut() = Place { kind: kind.to_owned(), case, key: key.clone() };
            let compared = compare(key, &expected["value"]);
            let listed = KINDS.iter().find(|(of, start, _)| *of == kind && key.starts_with(start));
            let family = self.place.borrow().family();
            match (compared, listed) {
                (true, None) => self.compared.borrow_mut().entry(family).or_default().0 += 1,
                (false, Some((_, _, reason))) => {
                    let name = format!("{} {}", family.0, family.1);
                    *self.skipped.borrow_mut().entry((name, *reason)).or_default() += 1;
                }
                (true, Some(_)) => self.fail(format!("{kind} {key} is compared and excepted")),
                (false, None) => {
                    self.fail(format!("{kind} {key} is neither compared nor excepted"));
                }
            }
        }
    }

    pub(crate) fn rows(
        &self,
        case: &Value,
        compare: impl Fn(&Self, &Value, (&str, &Value)) -> bool,
    ) {
        for row in case["rows"].as_array().unwrap() {
            self.expected(case, row, |key, value| compare(self, row, (key, value)));
        }
    }

    /// Prints what was compared and fails on any disagreement.
    pub(crate) fn finish(&self) {
        let mut total = (0, 0);
        for ((kind, family), (values, numbers)) in self.compared.borrow().iter() {
            println!("{values:5} compared ({numbers:4} numbers): {kind} {family}");
            total = (total.0 + values, total.1 + numbers);
        }
        println!("{:5} compared ({:4} numbers): all", total.0, total.1);
        for ((name, reason), count) in self.skipped.borrow().iter() {
            println!("{count:5} not compared: {name}: {reason}");
        }
        for (name, position, reason) in VALUES {
            println!("    1 number not compared: {name} [{position}]: {reason}");
        }
        let failures = self.failures.borrow();
        assert!(failures.is_empty(), "{} disagreements:\n{}", failures.len(), failures.join("\n"));
        assert_eq!(self.excused.borrow().len(), VALUES.len(), "exceptions that do not occur");
    }
}

fn near(actual: f64, expected: f64, relative: f64, absolute: f64) -> bool {
    let error = (actual - expected).abs();
    actual == expected
        || actual.is_nan() && expected.is_nan()
        || error <= absolute.max(relative * expected.abs())
}
