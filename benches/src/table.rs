//! What the programs print for people.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::target::{Target, Unmeasured};

/// A Markdown table whose columns beyond the first are aligned to the right.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Targets beside what was measured.
pub fn targets(targets: &[Target]) -> String {
    let verdict = |target: &Target| match (target.measured, target.passes()) {
        (Err(_), true) => "not told".to_owned(),
        (_, false) => "FAILS".to_owned(),
        (Ok(_), true) if target.aim.is_some() && target.reaches_aim() => {
            "holds, aim reached".to_owned()
        }
        (Ok(_), true) => match target.meanwhile.filter(|_| !target.holds()) {
            Some(meanwhile) => format!("MISSED, kept {meanwhile}"),
            None => "holds".to_owned(),
        },
    };
    let measured = |target: &Target| match target.measured {
        Ok(value) => number(value),
        Err(Unmeasured::NoCase) => "not measured".to_owned(),
        Err(Unmeasured::Busy) => "machine too busy".to_owned(),
    };
    let rows = targets.iter().map(|target| {
        vec![
            target.name.clone(),
            measured(target),
            target.gate.to_string(),
            target.aim.map_or_else(String::new, |aim| aim.to_string()),
            verdict(target),
        ]
    });
    table(&["target", "measured", "gate", "aim", "gate holds"], rows)
}

/// A number in three or four significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
