use crate::{Alpha, BetaBinomial, Boundary, Error, Estimate, Evidence};

/// Sums over requests that ran twice: once with the control for the caller, then once more off the request
/// path, with the candidate or, by a fair coin, with the control again.
///
/// The second run finds warm caches, which is why a coin decides: what the second run gains by itself shows
/// in the pairs that ran the control twice. Memory is constant however many requests are added.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairedRuns {
    again: Pairs,
    candidate: Pairs,
}

impl PairedRuns {
    /// Adds a request by the latencies of both runs; `candidate` says which of both the second run was.
    ///
    /// Fails when a latency is not positive and finite.
    pub fn add(&mut self, first: f64, second: f64, candidate: bool) -> Result<(), Error> {
        for value in [first, second] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::NotPositive { what: "latency", value });
            }
        }
        let pairs = if candidate { &mut self.candidate } else { &mut self.again };
        pairs.add(first.ln(), second.ln());
        Ok(())
    }

    /// Requests whose second run was the candidate, and those whose second run was the control again.
    pub fn counts(&self) -> (u64, u64) {
        (self.candidate.count, self.again.count)
    }

    /// By how much the candidate differs from the control.
    ///
    /// **Estimand**: the typical ratio of candidate to control *per request*, the geometric mean over
    /// requests of candidate over control, both as second runs. It is not the ratio of a quantile, and no
    /// verdict "faster" follows.
    ///
    /// **Formula**: `mean ln(second / first)` over the candidate pairs minus that over the control pairs,
    /// with standard error `sqrt(s_1^2 / n_1 + s_0^2 / n_0)` and information `n_1 n_0 / (n_1 + n_0)`. The
    /// sign e-value asks, among requests whose second run was the slower one, whether more than half were
    /// candidates: [`BetaBinomial`] with probability 1/2.
    ///
    /// **Source**: two-sample comparison of paired log ratios; Waudby-Smith et al. 2024 for the boundary,
    /// Howard et al. 2021 for the signs.
    ///
    /// **Assumptions**: a fair coin, independent of everything, chose the second run. **Guarantee**: the
    /// interval is asymptotic, at all looks or one as the boundary says; the sign e-value is exact at every
    /// look.
    ///
    /// **Behaviour at the edges**: below two requests of either kind, or without spread, nothing is known.
    ///
    /// ```
    /// use latency_experiment_stats::{Alpha, Boundary, PairedRuns};
    ///
    /// let mut runs = PairedRuns::default();
    /// for request in 0..4_000_u32 {
    ///     let first = 100.0 + f64::from(request * 37 % 101);
    ///     let noise = f64::from(request * 17 % 13);
    ///     // Warm caches make every second run 10 % faster, the candidate another 20 %.
    ///     let candidate = request % 2 == 0;
    ///     let second = (first + noise) * 0.9 * if candidate { 0.8 } else { 1.0 };
    ///     runs.add(first, second, candidate)?;
    /// }
    /// let effect = runs.effect(Boundary::default(), Alpha::DEFAULT);
    /// assert!((effect.ratio.point.unwrap() - 0.8).abs() < 0.01);
    /// assert!(effect.ratio.upper < 0.82 && effect.gain.unwrap() > 20.0);
    /// # Ok::<(), latency_experiment_stats::Error>(())
    /// ```
    pub fn effect(&self, boundary: Boundary, alpha: Alpha) -> PairedEffect {
        let (candidate, again) = (&self.candidate, &self.again);
        let correlation = again.correlation();
        let unknown = PairedEffect {
            ratio: Estimate::unknown_ratio(alpha),
            evidence: boundary.no_evidence(),
            sign_log_e: self.sign_log_e(boundary),
            correlation,
            gain: correlation.map(|rho| 2.0 / (1.0 - rho)).filter(|gain| gain.is_finite()),
        };
        if candidate.count == 0 || again.count == 0 {
            return unknown;
        }
        let (n_1, n_0) = (candidate.count as f64, again.count as f64);
        let difference = candidate.mean_difference - again.mean_difference;
        let point = Estimate { point: Some(difference.exp()), ..unknown.ratio };
        let variance = candidate.variance().zip(again.variance());
        let squared = variance.map_or(0.0, |(one, zero)| one / n_1 + zero / n_0);
        if squared <= 0.0 {
            return PairedEffect { ratio: point, ..unknown };
        }
        let (error, information) = (squared.sqrt(), n_1 * (n_0 / (n_1 + n_0)));
        let half_width = boundary.radius(information, alpha) * error;
        let z = (difference / error).clamp(-1e150, 1e150);
        PairedEffect {
            ratio: Estimate {
                lower: (difference - half_width).exp(),
                upper: (difference + half_width).exp(),
                ..point
            },
            evidence: boundary.evidence(z, information, alpha),
            ..unknown
        }
    }

    /// ln E against "a slower second run is as often the control as the candidate".
    fn sign_log_e(&self, boundary: Boundary) -> f64 {
        let tuned_for = match boundary {
            // Half of the requests are slower the second time, a quarter of which is the information.
            Boundary::ConfidenceSequence { tuned_for } => 2.0 * tuned_for.get(),
            Boundary::FixedN => 2.0 * crate::TunedFor::DEFAULT.get(),
        };
        let slower = self.candidate.slower + self.again.slower;
        BetaBinomial::new(0.5, tuned_for, Alpha::DEFAULT)
            .map_or(0.0, |fair| fair.log_e(self.candidate.slower, slower))
    }
}

/// What requests that ran twice say about the candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedEffect {
    /// Candidate over control per request; [`Estimate::to_lift`] makes it a lift.
    pub ratio: Estimate,
    /// Evidence against a ratio of 1.
    pub evidence: Evidence,
    /// ln E against equal signs, exact at every look.
    pub sign_log_e: f64,
    /// Correlation rho of the logarithms of both runs of a request, from the pairs that ran the control twice.
    pub correlation: Option<f64>,
    /// 2 / (1 - rho): by how much fewer requests this needs than two independent arms.
    pub gain: Option<f64>,
}

/// Running moments of the logarithms of both runs (Welford 1962).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Pairs {
    count: u64,
    /// Pairs whose second run was the slower one.
    slower: u64,
    mean_first: f64,
    mean_second: f64,
    mean_difference: f64,
    squares_first: f64,
    squares_second: f64,
    squares_difference: f64,
    products: f64,
}

impl Pairs {
    fn add(&mut self, first: f64, second: f64) {
        self.count += 1;
        self.slower += u64::from(second > first);
        let n = self.count as f64;
        let step = |mean: &mut f64, squares: &mut f64, value: f64| {
            let before = value - *mean;
            *mean += before / n;
            *squares += before * (value - *mean);
            before
        };
        let before = step(&mut self.mean_first, &mut self.squares_first, first);
        step(&mut self.mean_second, &mut self.squares_second, second);
        step(&mut self.mean_difference, &mut self.squares_difference, second - first);
        self.products += before * (second - self.mean_second);
    }

    /// Sample variance of ln(second / first).
    fn variance(&self) -> Option<f64> {
        (self.count >= 2).then(|| self.squares_difference / (self.count - 1) as f64)
    }

    fn correlation(&self) -> Option<f64> {
        let scale = self.squares_first.sqrt() * self.squares_second.sqrt();
        (scale > 0.0).then(|| (self.products / scale).clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_caches_are_not_an_effect() {
        let mut runs = PairedRuns::default();
        for request in 0..20_000_u64 {
            let noise = |factor: u64| 1.0 + (request * factor % 1_009) as f64 / 500.0;
            let (first, second) = (100.0 * noise(7), 91.0 * noise(7) + noise(613));
            runs.add(first, second, request % 2 == 0).unwrap();
        }
        let effect = runs.effect(Boundary::default(), Alpha::DEFAULT);
        assert!(effect.ratio.contains(1.0) && effect.evidence.p_value > 0.05, "{effect:?}");
        assert!(effect.sign_log_e < 3.0, "{effect:?}");
        assert!(effect.correlation.unwrap() > 0.95 && effect.gain.unwrap() > 40.0);
        assert_eq!(runs.counts(), (10_000, 10_000));
    }

    #[test]
    fn signs_find_what_is_slower() {
        let mut runs = PairedRuns::default();
        for request in 0..2_000_u32 {
            let candidate = request % 2 == 0;
            let slower = if candidate { request % 10 < 6 } else { request % 10 < 3 };
            runs.add(2.0, if slower { 3.0 } else { 1.0 }, candidate).unwrap();
        }
        assert!(runs.effect(Boundary::FixedN, Alpha::DEFAULT).sign_log_e > 20_f64.ln());
    }

    #[test]
    fn too_few_requests_bound_nothing() {
        let mut runs = PairedRuns::default();
        let nothing = runs.effect(Boundary::default(), Alpha::DEFAULT);
        assert_eq!(nothing.ratio, Estimate::unknown_ratio(Alpha::DEFAULT));
        assert_eq!((nothing.sign_log_e, nothing.gain), (0.0, None));
        runs.add(1.0, 2.0, true).unwrap();
        runs.add(1.0, 1.5, false).unwrap();
        let few = runs.effect(Boundary::FixedN, Alpha::DEFAULT);
        assert_eq!((few.ratio.lower, few.ratio.upper), (0.0, f64::INFINITY));
        assert!(few.ratio.point.is_some());
        assert!(runs.add(0.0, 1.0, true).is_err() && runs.add(1.0, f64::NAN, true).is_err());
    }
}
