//! What must hold for any data: numbers stay numbers, arms are interchangeable, merging has no order.

mod methods;

use latency_experiment_stats::{
    Allocation, Alpha, Alternative, BaseRate, BetaBinomial, Boundary, Bucket, Comparison, Design,
    Distribution, Estimate, Evidence, LabelCounts, Power, Quantile, Share, Stratum,
    bernoulli_confidence_sequence, best_requirement, common_ratio, geometric_mean_effect,
    label_log_e, mann_whitney, mean_effect, quantile_confidence_interval,
    quantile_confidence_sequence, quantile_effect, requirement, srm,
};
use proptest::prelude::*;

/// Width of the buckets of all generated histograms, so that they share one schema.
const WIDTH: u64 = 10;

/// Counts that meet every edge: nothing, a handful, many, more than fit 2^40.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 3 => 1_u64..6, 3 => 6_u64..5_000, 1 => Just(1_000_000_000_000)]
}

fn counts() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(count(), 0..24)
}

/// Counts without the extremes, where levels meet to the last digit.
fn few() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0_u64..5_000, 0..24)
}

/// Buckets of one schema; the last may be an overflow bucket.
fn distribution() -> impl Strategy<Value = Distribution> {
    (counts(), prop::option::of(count()), prop_oneof![4 => Just(0), 1 => 1_u64..100]).prop_map(
        |(counts, overflow, at_infinity)| {
            let top = Bucket { lower: 30 * WIDTH, upper: u64::MAX, count: overflow.unwrap_or(0) };
            let buckets = counts.iter().zip(0..).map(|(&count, index)| Bucket {
                lower: index * WIDTH,
                upper: index * WIDTH + WIDTH - 1,
                count,
            });
            let buckets = Distribution::new(buckets.chain([top])).unwrap();
            buckets.with_at_infinity(at_infinity).unwrap()
        },
    )
}

fn stratum() -> impl Strategy<Value = Stratum> {
    (distribution(), distribution(), prop_oneof![Just(0.0), 1e-3..1e6])
        .prop_map(|(control, variation, weight)| Stratum { control, variation, weight })
}

fn strata() -> impl Strategy<Value = Vec<Stratum>> {
    prop::collection::vec(stratum(), 0..5)
}

fn quantile() -> impl Strategy<Value = Quantile> {
    prop_oneof![Just(0.5), Just(0.95), Just(0.99), 1e-6..0.999_999]
        .prop_map(|level| Quantile::new(level).unwrap())
}

fn boundary() -> impl Strategy<Value = Boundary> {
    prop_oneof![Just(Boundary::default()), Just(Boundary::FixedN)]
}

fn sound(estimate: &Estimate) {
    assert!(!estimate.lower.is_nan() && !estimate.upper.is_nan(), "{estimate:?}");
    assert!(estimate.lower <= estimate.upper, "{estimate:?}");
    if let Some(point) = estimate.point {
        assert!(estimate.contains(point), "{estimate:?}");
    }
}

fn convincing(evidence: &Evidence) {
    assert!(evidence.z.is_finite(), "{evidence:?}");
    assert!((0.0..=1.0).contains(&evidence.p_value), "{evidence:?}");
    assert!(evidence.log_e.is_none_or(f64::is_finite), "{evidence:?}");
}

fn swapped(strata: &[Stratum]) -> Comparison {
    Comparison::new(strata.iter().cloned().map(|Stratum { control, variation, weight }| Stratum {
        control: variation,
        variation: control,
        weight,
    }))
    .unwrap()
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comparisons_never_give_nan_or_panic(
        strata in strata(),
        quantile in quantile(),
        boundary in boundary(),
        alpha in 1e-9_f64..0.9,
    ) {
        let alpha = Alpha::new(alpha).unwrap();
        let comparison = Comparison::new(strata).unwrap();
        prop_assert!((0.0..=1.0).contains(&comparison.dropped_share()));

        let effect = quantile_effect(&comparison, quantile, boundary, alpha);
        sound(&effect.difference);
        sound(&effect.ratio);
        convincing(&effect.evidence);
        for effect in [
            mean_effect(&comparison, boundary, alpha),
            geometric_mean_effect(&comparison, boundary, alpha),
        ] {
            sound(&effect.ratio);
            convincing(&effect.evidence);
        }
        let common = common_ratio(&comparison, quantile, boundary, alpha);
        sound(&common.ratio);
        convincing(&common.evidence);
        if let Some(test) = mann_whitney(&comparison) {
            prop_assert!(test.u >= 0.0 && test.z.is_finite());
            prop_assert!((0.0..=1.0).contains(&test.p_value) && test.log_p_value <= 0.0);
            prop_assert!((0.0..=1.0).contains(&test.probability_faster));
        } else {
            prop_assert!(comparison.strata().is_empty());
        }
    }

    #[test]
    fn one_arm_never_gives_nan_or_panics(
        arm in distribution(),
        quantile in quantile(),
        alpha in 1e-9_f64..0.9,
        tuned_for in 1.0_f64..1e9,
        change in -0.99_f64..3.0,
        share in 1e-6_f64..0.999_999,
    ) {
        let alpha = Alpha::new(alpha).unwrap();
        let sequence = quantile_confidence_sequence(&arm, quantile, tuned_for, alpha).unwrap();
        sound(&sequence);
        sound(&quantile_confidence_interval(&arm, quantile, alpha));
        prop_assert_eq!(sequence.point.is_none(), arm.is_empty());
        let edges = arm.mean_edges();
        if let (Some(mean), Some(edges)) = (arm.mean(), edges) {
            prop_assert!(edges.lower <= mean && mean <= edges.upper);
        }
        prop_assert!(arm.variance().is_none_or(|variance| variance >= 0.0));
        prop_assert!(arm.log_variance().is_none_or(|variance| variance >= 0.0));

        let share = Share::new(share).unwrap();
        let design = Design { quantile, change, share, alpha, power: Power::DEFAULT };
        let boundary = Boundary::default();
        let plans = [
            requirement(&arm, &design, boundary),
            requirement(&arm, &design, Boundary::FixedN),
            best_requirement(&arm, &design),
        ];
        for plan in plans.into_iter().flatten() {
            prop_assert!(plan.requests > 0.0 && plan.requests.is_finite(), "{:?}", plan);
        }
    }

    #[test]
    fn e_values_of_counts_are_numbers(
        p in 1e-9_f64..0.999_999_999,
        k in count(),
        failures in count(),
        tuned_for in 1e-3_f64..1e12,
    ) {
        let n = k + failures;
        let mixture = BetaBinomial::new(p, tuned_for, Alpha::DEFAULT).unwrap();
        prop_assert!(mixture.log_e(k, n).is_finite());
        prop_assert!(!mixture.log_e_one_sided(k, n).is_nan());
        let (lower, upper) = bernoulli_confidence_sequence(k, n, tuned_for, Alpha::DEFAULT).unwrap();
        prop_assert!(0.0 <= lower && lower <= upper && upper <= 1.0, "{} {}", lower, upper);
        if n > 0 {
            let observed = k as f64 / n as f64;
            prop_assert!(lower <= observed && observed <= upper);
        }

        let split = srm(&[Allocation { observed: &[k, failures], weights: &[p, 1.0 - p] }]).unwrap();
        prop_assert!(!split.log_e.is_nan() && (0.0..=1.0).contains(&split.p_value));

        let counts = LabelCounts {
            share: Share::new(p).unwrap(),
            bad_control: k,
            bad_variation: failures,
            ok_control: failures,
            ok_variation: k,
        };
        prop_assert!(label_log_e(&[counts], BaseRate::P99, Alternative::TwoSided).is_finite());
    }

    #[test]
    fn swapping_the_arms_inverts_the_effect(
        strata in strata(),
        quantile in quantile(),
        boundary in boundary(),
    ) {
        let alpha = Alpha::DEFAULT;
        let there = Comparison::new(strata.clone()).unwrap();
        let back = swapped(&strata);

        let a = quantile_effect(&there, quantile, boundary, alpha);
        let b = quantile_effect(&back, quantile, boundary, alpha);
        prop_assert_eq!(a.evidence.z, -b.evidence.z);
        prop_assert_eq!(a.evidence.p_value, b.evidence.p_value);
        prop_assert_eq!((a.difference.lower, a.difference.upper), (-b.difference.upper, -b.difference.lower));
        // Where the lower end is 0 because nothing bounds it, its reciprocal is infinite.
        prop_assert!(close(a.ratio.lower, b.ratio.upper.recip()), "{:?} {:?}", a.ratio, b.ratio);
        prop_assert!(close(a.ratio.upper, b.ratio.lower.recip()), "{:?} {:?}", a.ratio, b.ratio);

        let (a, b) = (mean_effect(&there, boundary, alpha), mean_effect(&back, boundary, alpha));
        prop_assert!(close(a.evidence.z, -b.evidence.z));
        prop_assert!(close(a.ratio.lower, b.ratio.upper.recip()));

        if let (Some(a), Some(b)) = (mann_whitney(&there), mann_whitney(&back)) {
            let pairs: u128 = there
                .strata()
                .iter()
                .map(|s| u128::from(s.control.count()) * u128::from(s.variation.count()))
                .sum();
            prop_assert_eq!(a.twice_u.unwrap() + b.twice_u.unwrap(), 2 * pairs);
            prop_assert_eq!(a.z, -b.z);
            prop_assert_eq!(a.p_value, b.p_value);
        }
    }

    #[test]
    fn scaling_every_value_leaves_every_test_unchanged(
        a in counts(),
        b in counts(),
        factor in 2_u64..1_000_000,
        quantile in quantile(),
    ) {
        let at = |counts: &[u64], factor: u64| {
            let points = counts.iter().zip(1..).map(|(&count, value)| (value * factor, count));
            Distribution::from_points(points).unwrap()
        };
        let compare = |factor| Comparison::pair(at(&a, factor), at(&b, factor)).unwrap();
        let (one, many) = (compare(1), compare(factor));
        let effect = |comparison| quantile_effect(comparison, quantile, Boundary::default(), Alpha::DEFAULT);
        prop_assert_eq!(effect(&one).evidence, effect(&many).evidence);
        prop_assert!(close(effect(&one).ratio.upper, effect(&many).ratio.upper));
        prop_assert_eq!(mann_whitney(&one), mann_whitney(&many));
    }

    #[test]
    fn merging_has_no_order(parts in prop::collection::vec(distribution(), 0..7), rotation in 0_usize..7) {
        let all = Distribution::merge(&parts).unwrap();
        let mut other: Vec<&Distribution> = parts.iter().rev().collect();
        let middle = rotation.min(other.len());
        other.rotate_left(middle);
        prop_assert_eq!(&all, &Distribution::merge(other).unwrap());
        let (left, right) = parts.split_at(middle.min(parts.len()));
        let halves = [Distribution::merge(left).unwrap(), Distribution::merge(right).unwrap()];
        prop_assert_eq!(&all, &Distribution::merge(&halves).unwrap());
        prop_assert_eq!(all.count(), parts.iter().map(Distribution::count).sum::<u64>());
    }

    #[test]
    fn exact_sums_survive_merging_in_any_order(
        values in prop::collection::vec(prop::collection::vec(0_u64..5_000, 1..40), 1..5),
    ) {
        let of = |values: &[u64]| {
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            let buckets = sorted.chunk_by(|a, b| a / WIDTH == b / WIDTH).map(|same| Bucket {
                lower: same[0] / WIDTH * WIDTH,
                upper: same[0] / WIDTH * WIDTH + WIDTH - 1,
                count: same.len() as u64,
            });
            let sum = values.iter().map(|&value| u128::from(value)).sum();
            let sum_sq = values.iter().map(|&value| u128::from(value).pow(2)).sum();
            Distribution::new(buckets).unwrap().with_moments(sum, sum_sq)
        };
        let parts: Vec<Distribution> = values.iter().map(|values| of(values)).collect();
        let all = values.concat();
        let whole = of(&all);
        prop_assert_eq!(&whole, &Distribution::merge(&parts).unwrap());
        prop_assert_eq!(&whole, &Distribution::merge(parts.iter().rev()).unwrap());
        let mean = all.iter().sum::<u64>() as f64 / all.len() as f64;
        prop_assert!(close(whole.mean().unwrap(), mean));
        if all.len() > 1 {
            let sum: f64 = all.iter().map(|&value| (value as f64 - mean).powi(2)).sum();
            prop_assert!(close(whole.variance().unwrap(), sum / (all.len() - 1) as f64));
        }
    }

    #[test]
    fn coarser_buckets_only_widen(a in counts(), b in counts(), quantile in quantile(), boundary in boundary()) {
        let at = |counts: &[u64], cells: usize| {
            let width = WIDTH * cells as u64;
            let buckets = counts.chunks(cells).zip(0..).map(|(counts, index)| Bucket {
                lower: 1 + index * width,
                upper: index * width + width,
                count: counts.iter().sum(),
            });
            Distribution::new(buckets).unwrap()
        };
        let effect = |cells| {
            let pair = Comparison::pair(at(&a, cells), at(&b, cells)).unwrap();
            quantile_effect(&pair, quantile, boundary, Alpha::DEFAULT)
        };
        let (fine, coarse) = (effect(1), effect(2));
        prop_assert!(coarse.ratio.lower <= fine.ratio.lower && fine.ratio.upper <= coarse.ratio.upper);
        prop_assert!(coarse.difference.lower <= fine.difference.lower);
        prop_assert!(fine.difference.upper <= coarse.difference.upper);
    }

    #[test]
    fn equal_strata_are_as_good_as_one(a in few(), b in few(), quantile in quantile()) {
        // Two strata with the same shape carry the information of one with twice the counts.
        let at = |counts: &[u64], times: u64| {
            let points = counts.iter().zip(1..).map(|(&count, value)| (value, count * times));
            Distribution::from_points(points).unwrap()
        };
        let twice = Comparison::pair(at(&a, 2), at(&b, 2)).unwrap();
        let split = Comparison::nested([[(at(&a, 1), at(&b, 1)), (at(&a, 1), at(&b, 1))]]).unwrap();
        let effect = |comparison| quantile_effect(comparison, quantile, Boundary::default(), Alpha::DEFAULT);
        let (twice, split) = (effect(&twice), effect(&split));
        prop_assert!(close(twice.evidence.z, split.evidence.z));
        prop_assert_eq!(twice.control, split.control);
        prop_assert!(close(twice.information, split.information));
    }
}
