//! Rules of the repository that no compiler holds.

use std::collections::BTreeMap;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Crates by rank: an arrow points to a lower rank only.
const RANKS: [(&str, u8); 8] = [
    ("latency-experiment-stats", 0),
    ("latency-experiment-record", 0),
    ("latency-experiment-flags", 0),
    ("latency-experiment-layers", 1),
    ("latency-experiment-analysis", 1),
    ("latency-experiment-export", 2),
    ("latency-experiment-cli", 3),
    ("latency-experiment", 3),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .exec()
        .unwrap()
}

fn published(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.publish.as_ref().is_none_or(|to| !to.is_empty()))
}

#[test]
fn arrows_point_to_lower_ranks() {
    let ranks = BTreeMap::from(RANKS);
    let metadata = metadata();
    for package in published(&metadata) {
        let rank = ranks
            .get(package.name.as_str())
            .unwrap_or_else(|| panic!("{} has no rank", package.name));
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
        {
            if let Some(other) = ranks.get(dependency.name.as_str()) {
                assert!(
                    other < rank,
                    "{} (rank {rank}) uses {} (rank {other})",
                    package.name,
                    dependency.name
                );
            }
        }
    }
    assert_eq!(published(&metadata).count(), RANKS.len());
}

#[test]
fn members_share_the_minimum_rust_version_and_no_dependency_needs_more() {
    let metadata = metadata();
    let workspace: Vec<_> = published(&metadata).collect();
    let minimum = workspace[0].rust_version.clone().unwrap();
    for package in &workspace {
        assert_eq!(package.rust_version.as_ref(), Some(&minimum), "{}", package.name);
    }
    // Everything that a user of a published crate compiles, all features on.
    let nodes: BTreeMap<_, _> =
        metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| (&node.id, node)).collect();
    let mut pending: Vec<_> = workspace.iter().map(|package| &package.id).collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        let package = &metadata[id];
        if let Some(needed) = &package.rust_version {
            assert!(*needed <= minimum, "{} {} needs Rust {needed}", package.name, package.version);
        }
        let normal = nodes[id]
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        pending.extend(normal.map(|dep| &dep.pkg));
    }
    assert!(seen.len() > RANKS.len());
}

#[test]
fn a_default_build_brings_no_runtime_no_tls_and_no_web_framework() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "latency-experiment",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("latency-experiment-layers"), "{tree}");
    for name in tree.lines().filter_map(|line| line.split(' ').next()) {
        let unwanted = [
            "tokio",
            "async-std",
            "smol",
            "rustls",
            "openssl",
            "native-tls",
            "axum",
            "hyper",
            "tonic",
            "actix-web",
        ];
        assert!(!unwanted.contains(&name), "{name} is in the default build:\n{tree}");
    }
}

/// The licences that `deny.toml` allows, read from there, so that there is one list.
fn allowed_licences() -> Vec<String> {
    let rules =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml")).unwrap();
    let list = rules.split_once("[licenses]\nallow = [").unwrap().1.split_once(']').unwrap().0;
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = allowed_licences();
    let is_allowed =
        |name: &str| allowed.iter().any(|allowed| allowed == name.trim().trim_matches(['(', ')']));
    for package in metadata().packages {
        let licence = package.license.clone().unwrap_or_default().replace('/', " OR ");
        let fits = licence.split(" OR ").any(|choice| choice.split(" AND ").all(is_allowed));
        assert!(fits, "{} {} is under `{licence}`", package.name, package.version);
    }
}
