//! The figures of the documentation, as SVG files that are readable on light and on dark pages.

mod chart;
mod interference;
mod narrowing;
mod peeking;
mod ramp;
mod tails;

use std::error::Error;
use std::path::Path;

use crate::scale::Scale;
use crate::table::Table;

/// Writes all figures into a folder. Those of error rates and of interference are drawn from `tables`, and left
/// out when these were not simulated.
pub fn write(folder: &Path, scale: Scale, tables: &[Table]) -> Result<(), Box<dyn Error>> {
    let figures = [
        ("peeking.svg", peeking::chart(tables)),
        ("tails.svg", Some(tails::chart(scale)?)),
        ("narrowing.svg", Some(narrowing::chart(scale)?)),
        ("ramp.svg", Some(ramp::chart(scale)?)),
        ("interference.svg", interference::chart(tables)),
    ];
    for (name, chart) in figures {
        if let Some(chart) = chart {
            std::fs::write(folder.join(name), chart.svg()?)?;
        }
    }
    Ok(())
}

/// The rows of the table with this title, if it was simulated.
fn rows<'a>(tables: &'a [Table], title: &str) -> Option<&'a [crate::row::Row]> {
    Some(&tables.iter().find(|table| table.title == title)?.rows)
}
