//! The allocation, held in place by vectors from another implementation of XXH3.

use latency_experiment_flags::*;
use serde_json::Value;

#[test]
fn slots_arms_and_positions_agree_with_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/slots.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let mut outside = 0;
    for (position, case) in cases.iter().enumerate() {
        let salt = case["salt"].as_str().unwrap();
        let subject = case["subject"].as_str().unwrap().as_bytes();
        assert_eq!(
            u64::from(slot(salt, subject)),
            case["slot"].as_u64().unwrap(),
            "slot of case {position}"
        );
        assert_eq!(
            u64::from(exclusion_position(salt, subject)),
            case["layer_position"].as_u64().unwrap(),
            "position of case {position}"
        );
        let weights = case["weights"].as_array().unwrap();
        let variations = weights
            .iter()
            .map(|w| (w[0].as_str().unwrap().to_owned(), w[1].as_u64().unwrap() as u32));
        let flag = Flag::new("flag")
            .with_salt(salt)
            .with_control(weights[0][0].as_str().unwrap())
            .with_variations(variations)
            .with_coverage_bp(case["coverage_bp"].as_u64().unwrap() as u16);
        let flags = FlagSet::try_new([flag]).unwrap();
        let index = flags.find("flag").unwrap();
        let assignment = flags.evaluate(index, subject, &NoAttributes);
        let arm = (assignment.reason == Reason::Split)
            .then(|| flags.flag(index).variation_name(assignment.variation));
        assert_eq!(arm, case["arm"].as_str(), "arm of case {position}");
        outside += usize::from(arm.is_none());
    }
    assert!(
        cases.len() == 1_000 && outside > 100 && outside < 900,
        "{outside} of {} outside",
        cases.len()
    );
}

#[test]
fn what_decides_first_wins() {
    struct Header(&'static str);
    impl Attributes for Header {
        fn header(&self, name: &str) -> Option<&str> {
            (name == "x-arm").then_some(self.0)
        }
    }
    let evaluate = |flag: Flag, header: &'static str| {
        let flags = FlagSet::try_new([flag.with_override_header("X-Arm")]).unwrap();
        flags.evaluate(flags.find("flag").unwrap(), b"subject", &Header(header))
    };
    let flag = || Flag::new("flag");
    let group = |from, to| ExclusionGroup { salt: "group".to_owned(), from, to };
    let position = exclusion_position("group", b"subject");

    let cases = [
        (flag(), "variation", 1, Reason::Override),
        (flag(), "control", 0, Reason::Override),
        (flag().with_enabled(false), "variation", 0, Reason::Disabled),
        (flag().with_coverage_bp(0), "no such variation", 0, Reason::NotCovered),
        (flag().with_variations([("control", 0), ("variation", 1)]), "", 1, Reason::Split),
        (flag().with_variations([("control", 0), ("variation", 0)]), "", 0, Reason::NotCovered),
        (flag().with_exclusion_group(group(0, position)), "", 0, Reason::ExcludedByGroup),
        (flag().with_exclusion_group(group(position, position)), "", 0, Reason::ExcludedByGroup),
        (
            flag()
                .with_exclusion_group(group(position, position + 1))
                .with_variations([("control", 0), ("variation", 1)]),
            "",
            1,
            Reason::Split,
        ),
    ];
    for (flag, header, variation, reason) in cases {
        let shown = format!("{flag:?}");
        assert_eq!(evaluate(flag, header), Assignment { variation, reason, group: 0 }, "{shown}");
    }
}

#[test]
fn the_fingerprint_changes_with_the_allocation_and_with_nothing_else() {
    let fingerprint = |flag: Flag| {
        let flags = FlagSet::try_new([flag]).unwrap();
        flags.flag(flags.find("flag").unwrap()).fingerprint()
    };
    let base = fingerprint(Flag::new("flag"));
    for same in [
        Flag::new("flag").with_salt("flag"),
        Flag::new("flag").with_epoch(2),
        Flag::new("flag").with_coverage_bp(1),
        Flag::new("flag").with_enabled(false),
        Flag::new("flag").with_override_header("x-arm"),
    ] {
        assert_eq!(fingerprint(same.clone()), base, "{same:?}");
    }
    for other in [
        Flag::new("flag").with_salt("flag#2"),
        Flag::new("flag").with_variations([("control", 1), ("variation", 2)]),
        Flag::new("flag").with_variations([("control", 1), ("other", 1)]),
        Flag::new("flag").with_control("variation"),
        Flag::new("flag").with_exclusion_group(ExclusionGroup {
            salt: "g".to_owned(),
            from: 0,
            to: 10_000,
        }),
    ] {
        assert_ne!(fingerprint(other.clone()), base, "{other:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let bad = Flag::new("bad name")
        .with_variations([("_x", u32::MAX), ("b", 1), ("b", 1)])
        .with_coverage_bp(10_001)
        .with_exclusion_group(ExclusionGroup { salt: String::new(), from: 2, to: 1 })
        .with_override_header("two words");
    let error = FlagSet::try_new([bad.clone(), bad]).unwrap_err();
    let paths: Vec<_> = error.problems().iter().map(Problem::path).collect();
    let of_one = [
        "name",
        "variations[0]",
        "variations[2]",
        "weights",
        "control",
        "coverage_bp",
        "exclusion_group",
        "override_header",
    ];
    let expected: Vec<_> =
        (0..2).flat_map(|flag| of_one.map(|path| format!("flags[{flag}].{path}"))).collect();
    assert_eq!(paths[..paths.len() - 1], expected);
    assert_eq!(paths.last(), Some(&"flags[1].name"), "and the name is there twice");
    assert!(FlagSet::try_new([]).unwrap_err().to_string().contains("1 to 16"));
    assert!(FlagSet::try_new((0..17).map(|n| Flag::new(format!("f{n}")))).is_err());
}

#[test]
fn a_sticky_flag_hashes_its_header_and_deals_its_subjects_into_groups() {
    struct User(Option<&'static str>);
    impl Attributes for User {
        fn header(&self, name: &str) -> Option<&str> {
            self.0.filter(|_| name == "x-user")
        }
    }
    let sticky = Flag::new("flag").with_subject(Subject::Header("X-User".to_owned()));
    let flags = FlagSet::try_new([sticky, Flag::new("other").with_salt("flag")]).unwrap();
    let [flag, by_id] = ["flag", "other"].map(|name| flags.find(name).unwrap());
    for user in ["ada", "grace", "joan"] {
        let assignment = flags.evaluate(flag, b"an ID", &User(Some(user)));
        assert_eq!(assignment, flags.evaluate(flag, b"another ID", &User(Some(user))));
        let same_salt = flags.evaluate(by_id, user.as_bytes(), &NoAttributes);
        assert_eq!(assignment.variation, same_salt.variation);
        assert_eq!(same_salt.group, 0, "each request is a subject of its own");
        // ((hash mod 2^32) G) >> 32
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(
            user.as_bytes(),
            xxhash_rust::xxh3::xxh3_64(b"flag"),
        );
        let group = (u128::from(hash) % (1 << 32)) * u128::from(RANDOM_GROUPS) / (1 << 32);
        assert_eq!(u128::from(assignment.group), group);
    }
    for nobody in [None, Some("")] {
        assert_eq!(flags.evaluate(flag, b"an ID", &User(nobody)).reason, Reason::NoSubject);
    }
    let error = FlagSet::try_new([Flag::new("f").with_subject(Subject::Header("x y".to_owned()))]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "flags[0].subject.header: `x y` is not an HTTP header name"
    );
}

#[test]
fn a_set_is_put_into_the_order_of_another_or_tells_what_does_not_fit() {
    let set = |names: &[&str]| FlagSet::try_new(names.iter().map(|name| Flag::new(*name))).unwrap();
    let ordered = set(&["b", "a"]).in_order_of(["a", "b"]).unwrap();
    assert_eq!(ordered, set(&["a", "b"]));
    assert_eq!(
        set(&["alpha", "c"]).in_order_of(["alpha", "beta"]).unwrap_err().to_string(),
        "flags: `beta` is missing, which the service was started with\n\
         flags: `c` is not a flag of this set; it has `alpha`, `beta`"
    );
}
