//! One row of the table: the figures of a comparison, one per line.

use crate::comparison::{Comparison, Interval, MeanComparison, QuantileComparison, Roles};
use crate::words::{count, duration, percent, quantile, signed_percent, telling};

/// Width of the routes when the figures have their usual one.
const TITLE_WIDTH: usize = 24;

/// The cells of one table row, each with one line per figure.
pub(super) struct Lines {
    title: String,
    figures: Vec<[String; 6]>,
}

impl Lines {
    pub(super) fn new(title: &[String]) -> Self {
        let title: Vec<String> = title.iter().map(|line| break_route(line)).collect();
        Self { title: title.join("\n"), figures: Vec::new() }
    }

    pub(super) fn requests(&mut self, comparison: &Comparison) {
        let Roles { control, variation } = comparison.n;
        self.push(["n", &count(control), &count(variation), "", "", comparison.verdict.as_str()]);
    }

    pub(super) fn quantile(&mut self, entry: &QuantileComparison) {
        self.push([
            &quantile(entry.q),
            &optional(entry.control.estimate_ns, duration),
            &optional(entry.variation.estimate_ns, duration),
            &optional(entry.lift.estimate, signed_percent),
            &interval(entry.lift),
            "",
        ]);
        if let Some(fixed) = entry.lift_fixed_n {
            self.push(["", "", "", "once", &interval(fixed), ""]);
        }
    }

    pub(super) fn mean(&mut self, mean: &MeanComparison) {
        self.push([
            "mean",
            &optional(mean.control_ns, duration),
            &optional(mean.variation_ns, duration),
            &optional(mean.lift.estimate, signed_percent),
            &interval(mean.lift),
            "",
        ]);
    }

    /// A rate, unless both arms have none.
    pub(super) fn share(&mut self, label: &str, share: Roles<Option<f64>>) {
        let Roles { control, variation } = share;
        if [control, variation].into_iter().flatten().any(|share| share > 0.0) {
            let [control, variation] = [control, variation].map(|share| optional(share, percent));
            self.push([label, &control, &variation, "", "", ""]);
        }
    }

    fn push(&mut self, line: [&str; 6]) {
        self.figures.push(line.map(str::to_owned));
    }

    pub(super) fn cells(self) -> Vec<String> {
        let column =
            |index: usize| self.figures.iter().map(|line| &*line[index]).collect::<Vec<_>>();
        let columns = (0..6).map(|index| column(index).join("\n"));
        std::iter::once(self.title.clone()).chain(columns).collect()
    }
}

fn optional(value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// A route in lines of the width that the figures leave, broken before a slash.
fn break_route(route: &str) -> String {
    let mut text = String::new();
    let mut length = 0;
    for (position, part) in route.split('/').enumerate() {
        let width = part.chars().count() + usize::from(position > 0);
        if position > 0 {
            if length > 0 && length + width > TITLE_WIDTH {
                text.push('\n');
                length = 0;
            }
            text.push('/');
        }
        text.push_str(part);
        length += width;
    }
    text
}

/// `-75.0 to -73.2 %`.
fn interval(lift: Interval) -> String {
    let Interval { lower, upper, .. } = telling(lift);
    match (lower, upper) {
        (None, None) => "-".to_owned(),
        (Some(lower), None) => format!("above {}", signed_percent(lower)),
        (None, Some(upper)) => format!("below {}", signed_percent(upper)),
        (Some(lower), Some(upper)) => {
            let lower = signed_percent(lower);
            format!("{} to {}", lower.trim_end_matches(" %"), signed_percent(upper))
        }
    }
}
