//! What the simulator itself promises: the same figures for a seed, and that it catches a broken method.

use latency_experiment_simulations::criteria::Criterion;
use latency_experiment_simulations::row::{Figure, Limit, Row};
use latency_experiment_simulations::scale::Scale;
use latency_experiment_simulations::table::Table;

fn simulate(criterion: Criterion, seed: u64, runs: usize) -> Table {
    let scale = Scale { seed, short: true, runs: Some(runs) };
    criterion.tables(scale).unwrap().remove(0)
}

#[test]
fn a_seed_gives_the_same_figures_and_another_seed_others() {
    let text = |seed| simulate(Criterion::D, seed, 40).text();
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn a_method_that_does_not_allow_peeking_is_caught() {
    let table = simulate(Criterion::Peeking, 1, 10);
    let held_to_its_level = |looks: &str, method: &str| {
        let row = table.rows.iter().find(|row| row.setting == looks && row.method == method);
        let row = row.unwrap();
        Row { limit: Some(Limit::error_rate(0.05, row.runs)), ..row.clone() }.holds()
    };
    assert_eq!(held_to_its_level("1 looks", "Welch t"), Some(true));
    assert_eq!(held_to_its_level("1,000 looks", "Welch t"), Some(false));
    assert_eq!(held_to_its_level("1,000 looks", "confidence sequence of p50"), Some(true));
    assert_eq!(table.failures().count(), 0);
}

#[test]
fn broken_promises_are_marked_in_every_form() {
    let row = |method, observed| Row::error_rate("setting", (method, Some(0.05)), 2_000, observed);
    let table = |rows| Table { title: "T", notes: "N", rows };
    let list = table(vec![row("good", 0.04), row("bad", 0.2)]);
    assert_eq!(list.failures().count(), 1);
    assert!(list.text().lines().any(|line| line.contains("bad") && line.ends_with("**no**")));
    assert!(list.markdown().contains("| bad | 2000 | 20.0 % | ≤ 6.5 % | **no** |"));
    let grid = table(vec![row("good", 0.04), row("bad", 0.2), row("good", 0.04), row("bad", 0.2)]);
    assert!(grid.markdown().contains("| setting | 2000 | 4.0 % | 20.0 % **fails** |"));
    let fact = Row::new("s", "m", 1, Figure::Fact(false), Limit::True);
    assert!(table(vec![fact]).markdown().contains("| no | yes | **no** |"));
}
