//! Everything in the reference values that is not compared, by name and with the reason.

/// Kinds of values that no method here gives: (kind of case, start of the key, why).
pub(crate) const KINDS: &[(&str, &str, &str)] = &[
    ("two_sample", "gb.fixed.relative", "the delta-method test of a mean is rejected for canaries"),
    ("multiple_testing", "by_adjusted", "Benjamini-Yekutieli is not used: e-BH is exact as it is"),
    ("boundaries", "poly_stitching", "mixtures are used instead of stitched boundaries"),
    ("boundaries", "double_stitching", "mixtures are used instead of stitched boundaries"),
    ("boundaries", "empirical_process_lil", "the sequential Kolmogorov-Smirnov test is too weak"),
    ("two_proportions", "fisher_p", "Fisher's exact test is not used"),
    ("two_proportions", "clopper_pearson_variation", "Clopper-Pearson intervals are not used"),
    (
        "hdr",
        "",
        "compared in `crates/record/tests/hdr_vectors.rs`, whose crate owns the layout of these histograms",
    ),
];

/// Kinds of which one number is not compared: (kind of case, key, position, why).
pub(crate) const PARTS: &[(&str, &str, usize, &str)] =
    &[("two_sample", "ks", 1, "the distance is for display only, its p-value is not used")];

const EXTREME: &str = "no rank reaches 1/alpha: the bound is infinite, the reference gives the extreme order statistic";
const ROOT_FINDER: &str = "the reference's root finder stopped short of the median of all pairs";

/// Single numbers in which the reference is wrong: (case and key, position, why).
pub(crate) const VALUES: &[(&str, usize, &str)] = &[
    ("ts01 control.q0.5.cs95", 0, EXTREME),
    ("ts01 control.q0.5.cs95", 1, EXTREME),
    ("ts01 control.q0.95.cs95", 1, EXTREME),
    ("ts01 control.q0.99.cs95", 1, EXTREME),
    ("ts01 variation.q0.5.cs95", 0, EXTREME),
    ("ts01 variation.q0.5.cs95", 1, EXTREME),
    ("ts01 variation.q0.95.cs95", 1, EXTREME),
    ("ts01 variation.q0.99.cs95", 1, EXTREME),
    ("ts02 control.q0.5.cs95", 0, EXTREME),
    ("ts02 control.q0.5.cs95", 1, EXTREME),
    ("ts02 control.q0.95.cs95", 1, EXTREME),
    ("ts02 control.q0.99.cs95", 1, EXTREME),
    ("ts02 variation.q0.95.cs95", 1, EXTREME),
    ("ts02 variation.q0.99.cs95", 1, EXTREME),
    ("ts06 variation.q0.99.cs95", 1, EXTREME),
    ("ts10 control.q0.95.cs95", 1, EXTREME),
    ("ts10 control.q0.99.cs95", 1, EXTREME),
    ("ts10 variation.q0.95.cs95", 1, EXTREME),
    ("ts10 variation.q0.99.cs95", 1, EXTREME),
    ("ts11 control.q0.95.cs95", 1, EXTREME),
    ("ts11 control.q0.99.cs95", 1, EXTREME),
    ("ts11 variation.q0.95.cs95", 1, EXTREME),
    ("ts11 variation.q0.99.cs95", 1, EXTREME),
    ("ts12 control.q0.99.cs95", 1, EXTREME),
    ("ts12 variation.q0.99.cs95", 1, EXTREME),
    ("ts01 r.wilcox", 0, ROOT_FINDER),
    ("ts11 r.wilcox", 0, ROOT_FINDER),
];
