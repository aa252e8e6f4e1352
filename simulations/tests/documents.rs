//! What is published: tables without a broken promise, from a commit, and figures that are there.

use std::path::{Path, PathBuf};

fn docs(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(docs(path)).unwrap()
}

#[test]
fn the_published_tables_keep_their_promises_and_name_their_commit() {
    let tables = read("statistics/simulations.md");
    assert!(!tables.contains("**fails**") && !tables.contains("**no**"));
    let commit = tables.split("at commit `").nth(1).and_then(|rest| rest.split('`').next());
    let commit = commit.unwrap();
    assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
    for letter in ["B", "C", "D", "G", "H", "I"] {
        assert!(tables.contains(&format!("\n## {letter}. ")), "criterion {letter} is missing");
    }
}

#[test]
fn every_link_of_the_explanation_leads_somewhere() {
    let text = read("statistics.md");
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let headings: Vec<String> =
        text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let mut figures = 0;
    for link in links {
        match link.strip_prefix('#') {
            Some(heading) => assert!(headings.iter().any(|known| known == heading), "#{heading}"),
            None => assert!(docs(link).exists(), "{link}"),
        }
        figures += usize::from(Path::new(link).extension().is_some_and(|name| name == "svg"));
    }
    assert_eq!(figures, 5);
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches(['#', ' ']).to_lowercase();
    let kept = |c: char| (c.is_alphanumeric() || c == '-' || c == ' ').then_some(c);
    words.chars().filter_map(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}
