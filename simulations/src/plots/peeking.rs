use plotters::prelude::SeriesLabelPosition;

use super::chart::{Axis, BLUE, Chart, GREEN, GREY, Line, ORANGE, PURPLE, RED, percent};
use crate::criteria::peeking::{LOOKS, METHODS, setting};
use crate::row::{Figure, Row, grouped};
use crate::table::Table;

/// False alarms against the number of looks.
pub(super) fn chart(tables: &[Table]) -> Option<Chart> {
    let rows = super::rows(tables, "Peeking")?;
    let line = |method: &str, colour| {
        let rate = |looks: u64| rate(rows, &setting(looks), method);
        let points = LOOKS.iter().filter_map(|looks| Some((*looks as f64, rate(*looks)?)));
        Line::new(method, colour, points.collect())
    };
    let [welch, mann_whitney, p50, p99, sequence, mean, rollback] = METHODS.map(|(name, _)| name);
    Some(Chart {
        title: "A/A experiments with a false alarm, by number of looks",
        x: Axis {
            name: "looks at the running experiment (even distances, 100,000 requests in all)",
            range: (1.0, 1_000.0),
            ticks: LOOKS.map(|looks| looks as f64).to_vec(),
            logarithmic: true,
            format: grouped,
        },
        y: Axis {
            name: "experiments with a false alarm",
            range: (0.0, 0.7),
            ticks: vec![0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            logarithmic: false,
            format: percent,
        },
        lines: vec![
            line(mann_whitney, RED),
            line(p50, ORANGE),
            line(welch, PURPLE),
            line(p99, GREY),
            line(sequence, BLUE),
            line(mean, GREEN),
            line(rollback, BLUE).dashed(),
            Line::new("5 %", GREY, vec![(1.0, 0.05), (1_000.0, 0.05)]).unnamed().dashed(),
        ],
        legend: SeriesLabelPosition::UpperLeft,
    })
}

fn rate(rows: &[Row], setting: &str, method: &str) -> Option<f64> {
    let row = rows.iter().find(|row| row.setting == setting && row.method == method)?;
    match row.observed {
        Figure::Share(share) => Some(share),
        _ => None,
    }
}
