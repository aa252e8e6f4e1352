//! The same for the strict, the fixed-n and the dependent-data methods.

use latency_experiment_stats::{
    Alpha, Alternative, BlockPair, Boundary, Comparison, ControlEpoch, DesignEffect, DominanceGrid,
    Edges, EventCounts, GroupCounts, GroupedStratum, IntervalContrast, PairedRuns, RateCounts,
    Share, StickyEpoch, Threshold, before_after, benjamini_hochberg, brunner_munzel, common_ratio,
    dominance_log_e, hodges_lehmann, holm, interference, ks_distance, label_log_e, mann_whitney,
    mantel_haenszel, mean_effect, newcombe, quantile_effect, random_groups, rate_ratio,
    rate_ratio_log_e, sticky_srm, strict_test, switchback, switchback_sequence, variance_inflation,
    welch, welch_log, wilson,
};
use proptest::prelude::*;

use crate::{
    boundary, close, convincing, count, distribution, few, quantile, sound, strata, swapped,
};

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![Just(0.5), 1e-9..0.999_999].prop_map(|share| Share::new(share).unwrap())
}

fn alternative() -> impl Strategy<Value = Alternative> {
    prop_oneof![Just(Alternative::Greater), Just(Alternative::Less), Just(Alternative::TwoSided)]
}

fn figures() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![Just(5.0), 1e-9..1e15], 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_arms_never_give_nan_or_panic(
        strata in strata(),
        quantile in quantile(),
        boundary in boundary(),
        alpha in 1e-9_f64..0.9,
        tuned_for in 1e-3_f64..1e9,
    ) {
        let alpha = Alpha::new(alpha).unwrap();
        let comparison = Comparison::new(strata).unwrap();
        let strict = strict_test(&comparison, quantile, tuned_for).unwrap();
        prop_assert!(strict.log_e.is_finite() && (0.0..=1.0).contains(&strict.p_value));
        let shift = hodges_lehmann(&comparison, alpha);
        sound(&shift.difference);
        sound(&shift.ratio);
        if let Some(effect) = brunner_munzel(&comparison, boundary, alpha) {
            sound(&effect.probability_slower);
            convincing(&effect.evidence);
            prop_assert!(!effect.statistic().is_nan());
        }
        if let Some(distance) = ks_distance(&comparison) {
            prop_assert!((0.0..=1.0).contains(&distance));
        }
        if let Some(test) = mann_whitney(&comparison) {
            for alternative in [Alternative::Greater, Alternative::Less, Alternative::TwoSided] {
                let p_value = test.corrected_p_value_for(alternative);
                prop_assert!(p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{:?}", p_value);
            }
        }
        for stratum in comparison.strata() {
            let arms = (&stratum.control, &stratum.variation);
            for test in [welch(arms.0, arms.1, alpha), welch_log(arms.0, arms.1, alpha)].into_iter().flatten() {
                sound(&test.effect);
                prop_assert!(test.t.is_finite() && (0.0..=1.0).contains(&test.p_value));
            }
        }
    }

    #[test]
    fn swapping_the_arms_inverts_every_method(strata in strata(), alpha in 1e-6_f64..0.5) {
        let alpha = Alpha::new(alpha).unwrap();
        let (there, back) = (Comparison::new(strata.clone()).unwrap(), swapped(&strata));
        let quantile = latency_experiment_stats::Quantile::P95;
        let strict = [&there, &back].map(|pair| strict_test(pair, quantile, 1_000.0).unwrap().log_e);
        prop_assert!((strict[0] - strict[1]).abs() <= 1e-6 * strict[0].abs().max(1.0), "{:?}", strict);
        prop_assert_eq!(ks_distance(&there), ks_distance(&back));
        let of = |pair: &Comparison| brunner_munzel(pair, Boundary::FixedN, alpha);
        if let Some((a, b)) = of(&there).zip(of(&back)) {
            prop_assert!(close(a.evidence.z, -b.evidence.z), "{:?} {:?}", a, b);
            prop_assert!(close(a.probability_slower.lower, 1.0 - b.probability_slower.upper));
        }
        let [a, b] = [&there, &back].map(|pair| hodges_lehmann(pair, alpha));
        prop_assert!(close(a.difference.lower, -b.difference.upper), "{:?} {:?}", a, b);
        prop_assert!(close(a.ratio.upper, b.ratio.lower.recip()), "{:?} {:?}", a, b);
    }

    #[test]
    fn a_design_effect_only_widens(strata in strata(), quantile in quantile(), factor in 1.0_f64..50.0) {
        let plain = Comparison::new(strata).unwrap();
        let factor = DesignEffect::new(factor).unwrap();
        let wide = plain.clone().with_design_effect(factor);
        let alpha = Alpha::DEFAULT;
        // Beyond the information at which it is tightest a sequence may narrow while standard errors grow.
        let boundary = Boundary::FixedN;
        let quantiles = [&plain, &wide].map(|c| quantile_effect(c, quantile, boundary, alpha).ratio);
        let means = [&plain, &wide].map(|c| mean_effect(c, boundary, alpha).ratio);
        let common = [&plain, &wide].map(|c| common_ratio(c, quantile, boundary, alpha).ratio);
        // Arms so far apart that no ratio of two numbers joins them bound nothing either way.
        let common = Some(common).filter(|[narrow, _]| narrow.point.is_some());
        for [narrow, wide] in [quantiles, means].into_iter().chain(common) {
            sound(&wide);
            prop_assert!(wide.lower <= narrow.lower * (1.0 + 1e-9), "{:?} {:?}", narrow, wide);
            prop_assert!(narrow.upper <= wide.upper * (1.0 + 1e-9), "{:?} {:?}", narrow, wide);
        }
        prop_assert!(close(plain.information(), wide.information() * factor.get()));
    }

    #[test]
    fn thresholds_count_every_request_once(
        baseline in distribution(),
        control in distribution(),
        variation in distribution(),
        quantile in quantile(),
        margin in -0.99_f64..3.0,
        share in share(),
        alternative in alternative(),
    ) {
        if let Some(frozen) = Threshold::at(&baseline, quantile) {
            let (allowing, demanding) = (frozen.allowing(margin).unwrap(), frozen.demanding(margin).unwrap());
            let slow = |threshold: Threshold| {
                let counts = threshold.count(share, &control, &variation);
                assert_eq!(counts.bad_control + counts.ok_control, control.count());
                assert_eq!(counts.bad_variation + counts.ok_variation, variation.count());
                let rate = latency_experiment_stats::BaseRate::P95;
                assert!(label_log_e(&[counts], rate, alternative).is_finite());
                counts.bad_variation
            };
            // A cut bucket counts for the hypothesis on either side.
            prop_assert!(slow(allowing) <= slow(demanding));
        }
        let counts = DominanceGrid::new(&baseline).count(share, &control, &variation);
        prop_assert!(dominance_log_e(&[counts, counts], alternative).is_finite());
    }

    #[test]
    fn rates_never_give_nan_or_panic(
        counts in prop::collection::vec((count(), count(), count(), count(), share()), 0..5),
        tuned_for in 1e-3_f64..1e12,
        ratio in 1e-6_f64..1e6,
        alternative in alternative(),
        alpha in 1e-9_f64..0.9,
    ) {
        let alpha = Alpha::new(alpha).unwrap();
        let events: Vec<EventCounts> = counts
            .iter()
            .map(|&(control, variation, _, _, share)| EventCounts { share, control, variation })
            .collect();
        let theta = rate_ratio(&events, tuned_for, alpha).unwrap();
        sound(&theta);
        prop_assert!(!rate_ratio_log_e(&events, ratio, alternative).unwrap().is_nan());
        let tables: Vec<RateCounts> = counts
            .iter()
            .map(|&(control_events, variation_events, a, b, _)| RateCounts {
                control_events,
                control_requests: control_events + a,
                variation_events,
                variation_requests: variation_events + b,
            })
            .collect();
        if let Some(common) = mantel_haenszel(&tables, alpha) {
            sound(&common.risk_ratio);
            sound(&common.odds_ratio);
            prop_assert!((0.0..=1.0).contains(&common.p_value));
            prop_assert!(common.p_value <= common.corrected_p_value);
        }
        for table in &tables {
            sound(&wilson(table.control_events, table.control_requests, alpha));
            let arms = (table.control_events, table.control_requests);
            sound(&newcombe(arms, (table.variation_events, table.variation_requests), alpha));
        }
    }

    #[test]
    fn dependent_data_never_give_nan_or_panic(
        groups in prop::collection::vec((few(), few()), 1..4),
        share in share(),
        before in figures(),
        after in figures(),
        tuned_for in 1e-3_f64..1e6,
        boundary in boundary(),
    ) {
        let of = |counts: &[u64]| -> Vec<GroupCounts> {
            (0..24)
                .map(|group| {
                    let requests = counts.get(group).copied().unwrap_or(0);
                    GroupCounts { requests, slow: requests / (2 + group as u64 % 3) }
                })
                .collect()
        };
        let arms: Vec<_> = groups.iter().map(|(a, b)| (of(a), of(b))).collect();
        let strata: Vec<_> = arms
            .iter()
            .map(|(control, variation)| GroupedStratum { weight: 1.0, control, variation })
            .collect();
        if let Some(effect) = random_groups(&strata).unwrap() {
            prop_assert!(effect.get() > 0.0 && effect.get().is_finite());
        }
        let pairs: Vec<Vec<(u64, u64)>> = arms
            .iter()
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a.requests, b.requests)).collect())
            .collect();
        let epochs: Vec<_> = pairs.iter().map(|groups| StickyEpoch { share, groups }).collect();
        if let Some(split) = sticky_srm(&epochs).unwrap() {
            convincing(&split.evidence);
        }

        let alpha = Alpha::DEFAULT;
        let change = before_after(&before, &after, alpha).unwrap();
        sound(&change.ratio);
        prop_assert!(change.t.is_finite() && (0.0..=1.0).contains(&change.p_value));
        let blocks: Vec<_> =
            before.iter().zip(&after).map(|(a, b)| BlockPair::new(*a, *b).unwrap()).collect();
        for effect in [switchback(&blocks, alpha), switchback_sequence(&blocks, tuned_for, alpha).unwrap()] {
            sound(&effect.ratio);
            convincing(&effect.evidence);
        }
        let mut runs = PairedRuns::default();
        for (index, (a, b)) in before.iter().zip(&after).enumerate() {
            runs.add(*a, *b, index % 3 == 0).unwrap();
        }
        let effect = runs.effect(boundary, alpha);
        sound(&effect.ratio);
        convincing(&effect.evidence);
        prop_assert!(effect.sign_log_e.is_finite() && effect.gain.is_none_or(|gain| gain >= 1.0 - 1e-9));
        let contrasts: Vec<_> =
            before.iter().zip(&after).map(|(a, b)| IntervalContrast::new(*a, *b).unwrap()).collect();
        if let Some(found) = variance_inflation(&contrasts) {
            prop_assert!(found.factor >= 0.0 && (0.0..=1.0).contains(&found.p_value));
        }
    }

    #[test]
    fn interference_never_gives_nan(epochs in prop::collection::vec((0.0_f64..=1.0, distribution()), 0..6)) {
        let epochs: Vec<ControlEpoch<'_>> =
            epochs.iter().map(|(share, control)| ControlEpoch { share: *share, control }).collect();
        if let Some(found) = interference(&epochs) {
            prop_assert!(found.slope.is_finite() && (0.0..=1.0).contains(&found.p_value), "{:?}", found);
        }
    }

    #[test]
    fn adjusted_p_values_keep_their_order(p_values in prop::collection::vec(0.0_f64..=1.0, 0..20)) {
        for adjusted in [benjamini_hochberg(&p_values), holm(&p_values)] {
            for (i, (p, q)) in p_values.iter().zip(&adjusted).enumerate() {
                prop_assert!(p <= &(q * (1.0 + 1e-12)) && *q <= 1.0);
                for (other_p, other_q) in p_values.iter().zip(&adjusted).skip(i + 1) {
                    prop_assert!((p <= other_p) == (q <= other_q) || q == other_q);
                }
            }
        }
    }

    #[test]
    fn one_pass_gives_the_moments_of_two(arm in distribution()) {
        // Both arms the same: their ratio is 1, with the variance of the two-pass formula.
        let pair = Comparison::pair(arm.clone(), arm.clone()).unwrap();
        let effect = mean_effect(&pair, Boundary::FixedN, Alpha::DEFAULT);
        if let Some((mean, variance)) = arm.mean().zip(arm.variance()) {
            prop_assert!(close(effect.control.unwrap(), mean));
            let cv = variance.sqrt() / mean;
            if mean > 0.0 && variance > 0.0 {
                let error = cv * (2.0 / arm.count() as f64).sqrt();
                let z = 1.959_963_984_540_054;
                prop_assert!(close(effect.ratio.upper.ln(), z * error), "{:?}", effect);
            }
        }
        let Edges { lower, upper } = arm.mean_edges().unwrap_or(Edges { lower: 0.0, upper: 0.0 });
        prop_assert!(lower <= upper);
    }
}
