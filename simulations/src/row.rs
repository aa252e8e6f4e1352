use std::fmt;

/// One line of a result: what a method did in a setting, beside what it may.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The traffic, the split, the effect.
    pub setting: String,
    /// The method and its level.
    pub method: String,
    /// Repetitions.
    pub runs: usize,
    /// What was found.
    pub observed: Figure,
    /// What is promised; `None` for what is only shown beside.
    pub limit: Option<Limit>,
}

/// A number with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A share of the runs.
    Share(f64),
    /// A relative change.
    Lift(f64),
    /// A ratio.
    Ratio(f64),
    /// A number of requests; infinite when most runs never got there.
    Requests(f64),
    /// Whether something is so.
    Fact(bool),
}

/// What a figure must keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
    /// Neither below the first nor above the second.
    Within(f64, f64),
    /// So and not otherwise.
    True,
}

impl Row {
    /// A row with a promise.
    pub fn new(
        setting: &str,
        method: &str,
        runs: usize,
        observed: Figure,
        limit: impl Into<Option<Limit>>,
    ) -> Self {
        let (setting, method) = (setting.to_owned(), method.to_owned());
        Self { setting, method, runs, observed, limit: limit.into() }
    }

    /// How often a method of level `alpha` was wrong; without a level it promises nothing.
    pub fn error_rate(
        setting: &str,
        (method, alpha): (&str, Option<f64>),
        runs: usize,
        rate: f64,
    ) -> Self {
        let limit = alpha.map(|alpha| Limit::error_rate(alpha, runs));
        Self::new(setting, method, runs, Figure::Share(rate), limit)
    }

    /// Whether the promise is kept; `None` where there is none.
    pub fn holds(&self) -> Option<bool> {
        let value = self.observed.value();
        Some(match self.limit? {
            Limit::AtMost(most) => value <= most,
            Limit::AtLeast(least) => value >= least,
            Limit::Within(least, most) => (least..=most).contains(&value),
            Limit::True => self.observed == Figure::Fact(true),
        })
    }
}

impl Limit {
    /// An error rate of `alpha`, with three standard errors of a simulation of so many runs.
    pub fn error_rate(alpha: f64, runs: usize) -> Self {
        Self::AtMost(alpha + 3.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt())
    }

    /// The limit in the unit of the figure that it limits.
    pub fn words(self, unit: Figure) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", unit.with(most)),
            Self::AtLeast(least) => format!("≥ {}", unit.with(least)),
            Self::Within(least, most) => format!("{} to {}", unit.with(least), unit.with(most)),
            Self::True => "yes".to_owned(),
        }
    }
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Share(value) | Self::Lift(value) | Self::Ratio(value) | Self::Requests(value) => {
                value
            }
            Self::Fact(so) => f64::from(u8::from(so)),
        }
    }

    fn with(self, value: f64) -> Self {
        match self {
            Self::Share(_) => Self::Share(value),
            Self::Lift(_) => Self::Lift(value),
            Self::Ratio(_) => Self::Ratio(value),
            Self::Requests(_) => Self::Requests(value),
            Self::Fact(_) => self,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Share(share) if share > 0.0 && share < 0.001 => {
                write!(f, "{:.2} %", 100.0 * share)
            }
            Self::Share(share) => write!(f, "{:.1} %", 100.0 * share),
            Self::Lift(lift) => write!(f, "{:+.2} %", 100.0 * lift),
            Self::Ratio(ratio) => write!(f, "{ratio:.2}"),
            Self::Requests(requests) if requests.is_infinite() => write!(f, "never"),
            Self::Requests(requests) => write!(f, "{}", grouped(requests)),
            Self::Fact(so) => f.write_str(if so { "yes" } else { "no" }),
        }
    }
}

/// `1,234,567`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle of `values`; infinities count as larger than everything.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::INFINITY,
        count if count.is_multiple_of(2) => 0.5 * (values[count / 2 - 1] + values[count / 2]),
        count => values[count / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(observed: Figure, limit: Limit) -> Row {
        Row::new("", "", 1, observed, limit)
    }

    #[test]
    fn a_row_holds_when_it_keeps_to_its_limit() {
        let holds = |observed, limit| row(observed, limit).holds();
        let limit = Limit::error_rate(0.01, 2_000);
        assert_eq!(limit.words(Figure::Share(0.0)), "≤ 1.7 %");
        assert_eq!(holds(Figure::Share(0.016), limit), Some(true));
        assert_eq!(holds(Figure::Share(0.017), limit), Some(false));
        assert_eq!(holds(Figure::Requests(f64::INFINITY), Limit::AtMost(650.0)), Some(false));
        assert_eq!(holds(Figure::Lift(-0.006), Limit::Within(-0.005, 0.005)), Some(false));
        assert_eq!(holds(Figure::Fact(false), Limit::True), Some(false));
        assert_eq!(Row { limit: None, ..row(Figure::Ratio(f64::NAN), limit) }.holds(), None);
        assert_eq!(holds(Figure::Ratio(f64::NAN), Limit::Within(0.0, 9.0)), Some(false));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(Figure::Requests(1_234_567.4).to_string(), "1,234,567");
        assert_eq!(Figure::Share(0.0003).to_string(), "0.03 %");
        assert_eq!(Figure::Lift(0.5).to_string(), "+50.00 %");
        assert_eq!(median(vec![3.0, f64::INFINITY, 1.0]), 3.0);
    }
}
