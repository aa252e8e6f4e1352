//! Numbers and findings in words.

use std::collections::BTreeMap;

use crate::comparison::Interval;

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 pair`, `7 pairs`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A number that is only good to two digits: `12,000`.
pub(crate) fn about(number: u64) -> String {
    let scale = 10_u64.pow(number.checked_ilog10().unwrap_or(0).saturating_sub(1));
    count(number.div_ceil(scale).saturating_mul(scale))
}

/// `p50`, `p99.9`.
pub(crate) fn quantile(q: f64) -> String {
    // Through text with enough digits, because 0.999 * 100 is not 99.9.
    let percent = format!("{:.6}", q * 100.0);
    format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// `23.1 %`, without a sign.
pub(crate) fn percent(share: f64) -> String {
    let value = (share * 100.0).abs();
    if value >= 1_000.0 {
        format!("{} %", count(value.round().min(1e18) as u64))
    } else if value > 0.0 && value < 0.1 {
        format!("{value:.2} %")
    } else {
        format!("{value:.1} %")
    }
}

/// A level or a margin, which people choose round: `5 %`, `0.1 %`.
pub(crate) fn round_percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `+5.1 %`, `-23.1 %`.
pub(crate) fn signed_percent(share: f64) -> String {
    let text = percent(share);
    if text.trim_start_matches(['0', '.', ' ', '%']).is_empty() {
        return text;
    }
    format!("{}{text}", if share < 0.0 { '-' } else { '+' })
}

/// Nanoseconds to three digits in the unit that suits them: `310 µs`, `1.20 ms`, `12.3 s`.
pub(crate) fn duration(ns: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    // 999.6 µs is 1.00 ms, not 1000 µs.
    let (unit, scale) = UNITS
        .into_iter()
        .find(|(_, scale)| (ns / scale).abs() < 999.5)
        .unwrap_or(UNITS[UNITS.len() - 1]);
    let value = ns / scale;
    let decimals = match value.abs() {
        _ if unit == "ns" => 0,
        small if small < 9.995 => 2,
        medium if medium < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Seconds in the unit that suits people: `40 s`, `12 min`, `3.5 h`, `12 days`.
pub(crate) fn span(seconds: f64) -> String {
    const UNITS: [(&str, f64, f64); 4] = [
        ("s", 1.0, 90.0),
        ("min", 60.0, 90.0),
        ("h", 3_600.0, 48.0),
        ("days", 86_400.0, f64::INFINITY),
    ];
    let (unit, scale, _) = UNITS
        .into_iter()
        .find(|(_, scale, most)| seconds / scale < *most)
        .unwrap_or(UNITS[UNITS.len() - 1]);
    let value = seconds / scale;
    if value < 9.95 && unit != "s" {
        format!("{value:.1} {unit}")
    } else {
        format!("{} {unit}", count(value.ceil() as u64))
    }
}

/// `control 5,012 and variation 4,988`.
pub(crate) fn by_arm(counts: &BTreeMap<String, u64>) -> String {
    let arms: Vec<String> =
        counts.iter().map(|(arm, number)| format!("{arm} {}", count(*number))).collect();
    list(&arms)
}

/// The interval without ends that say nothing: 99.95 % lower, or a thousand times as high.
pub(crate) fn telling(lift: Interval) -> Interval {
    Interval {
        lower: lift.lower.filter(|lower| *lower > -0.9995),
        upper: lift.upper.filter(|upper| *upper < 1_000.0),
        ..lift
    }
}

/// An interval of a lift: `between 12.0 % and 31.0 % lower`, `between 2.1 % lower and 3.0 % higher`.
pub(crate) fn between(lift: Interval) -> String {
    let lift = telling(lift);
    if lift.lower == Some(0.0) && lift.upper == Some(0.0) {
        return "the same in both arms".to_owned();
    }
    let lower = lift.lower.unwrap_or(-1.0);
    let side =
        |value: f64| format!("{} {}", percent(value), if value < 0.0 { "lower" } else { "higher" });
    match lift.upper {
        None if lower <= -1.0 => "anything".to_owned(),
        None if lower < 0.0 => format!("at most {}, or higher by any amount", side(lower)),
        None => format!("at least {}", side(lower)),
        Some(upper) if upper < 0.0 => {
            format!("between {} and {} lower", percent(upper), percent(lower))
        }
        Some(upper) if lower > 0.0 => {
            format!("between {} and {} higher", percent(lower), percent(upper))
        }
        Some(upper) => format!("between {} and {}", side(lower), side(upper)),
    }
}

/// `p99 is 23.1 % lower (between 12.0 % and 31.0 %)`.
pub(crate) fn change(q: f64, lift: Interval) -> String {
    let lift = telling(lift);
    let name = quantile(q);
    let Some(estimate) = lift.estimate else { return format!("{name} is {}", between(lift)) };
    let direction = if estimate < 0.0 { "lower" } else { "higher" };
    let range = match (lift.lower, lift.upper) {
        (Some(lower), Some(upper)) if upper < 0.0 => {
            format!("between {} and {}", percent(upper), percent(lower))
        }
        (Some(lower), Some(upper)) if lower > 0.0 => {
            format!("between {} and {}", percent(lower), percent(upper))
        }
        _ => between(lift),
    };
    format!("{name} is {} {direction} ({range})", percent(estimate))
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_never_a_thousand_of_a_unit() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (310.0, "310 ns"),
            (999.4, "999 ns"),
            (999.5, "1.00 µs"),
            (9_994.0, "9.99 µs"),
            (9_996.0, "10.0 µs"),
            (99_960.0, "100 µs"),
            (999_600.0, "1.00 ms"),
            (12_345_678.0, "12.3 ms"),
            (68_719_476_736.0, "68.7 s"),
            (7.2e12, "7200 s"),
        ] {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn counts_and_percentages_read_well() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [about(0), about(7), about(11_713), about(99_001)],
            ["0", "7", "12,000", "100,000"]
        );
        assert_eq!(
            [percent(-0.231), percent(0.0004), percent(12.5)],
            ["23.1 %", "0.04 %", "1,250 %"]
        );
        assert_eq!(
            [signed_percent(0.0), signed_percent(-0.00001), signed_percent(0.1)],
            ["0.0 %", "0.00 %", "+10.0 %"]
        );
        assert_eq!([quantile(0.5), quantile(0.999), quantile(0.07)], ["p50", "p99.9", "p7"]);
        assert_eq!([round_percent(0.05), round_percent(0.001)], ["5 %", "0.1 %"]);
    }

    #[test]
    fn changes_name_both_ends() {
        let lift = |estimate: f64, lower: f64, upper: f64| Interval {
            estimate: Some(estimate),
            lower: Some(lower),
            upper: Some(upper).filter(|upper| upper.is_finite()),
        };
        assert_eq!(
            change(0.99, lift(-0.231, -0.31, -0.12)),
            "p99 is 23.1 % lower (between 12.0 % and 31.0 %)"
        );
        assert_eq!(
            change(0.5, lift(0.2, 0.1, 0.3)),
            "p50 is 20.0 % higher (between 10.0 % and 30.0 %)"
        );
        assert_eq!(between(lift(0.0, -0.02, 0.03)), "between 2.0 % lower and 3.0 % higher");
        assert_eq!(between(lift(0.3, 0.1, f64::INFINITY)), "at least 10.0 % higher");
        assert_eq!(between(lift(0.0, -1.0, f64::INFINITY)), "anything");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
