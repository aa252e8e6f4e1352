use plotters::prelude::SeriesLabelPosition;

use super::chart::{Axis, BLUE, Chart, GREEN, Line, ORANGE, RED, percent, signed_percent};
use crate::criteria::interference::{METHODS, UTILISATION, setting};
use crate::row::Figure;
use crate::table::Table;

/// The effect on a shared queue, the truth beside what experiments show.
pub(super) fn chart(tables: &[Table]) -> Option<Chart> {
    let rows = super::rows(tables, "Interference")?;
    let line = |method: &str, colour| {
        let points = UTILISATION.iter().filter_map(|utilisation| {
            let name = setting(*utilisation);
            let row = rows.iter().find(|row| row.setting == name && row.method == method)?;
            match row.observed {
                Figure::Lift(lift) => Some((*utilisation, lift)),
                _ => None,
            }
        });
        Line::new(method, colour, points.collect())
    };
    let [truth, even, canary, blocks] = METHODS;
    Some(Chart {
        title: "Service 20 % slower, four shared workers: effect on the mean latency",
        x: Axis {
            name: "utilisation of the workers before the change",
            range: (0.28, 0.82),
            ticks: UTILISATION.to_vec(),
            logarithmic: false,
            format: percent,
        },
        y: Axis {
            name: "effect on the mean latency",
            range: (0.04, 6.0),
            ticks: vec![0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0],
            logarithmic: true,
            format: signed_percent,
        },
        lines: vec![line(truth, RED), line(blocks, GREEN), line(canary, ORANGE), line(even, BLUE)],
        legend: SeriesLabelPosition::UpperLeft,
    })
}
