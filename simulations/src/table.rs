use std::fmt::Write as _;

use crate::row::Row;

/// The rows of one criterion.
#[derive(Debug, Clone)]
pub struct Table {
    /// The letter of the criterion and what it asks.
    pub title: &'static str,
    /// What was simulated, in sentences.
    pub notes: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// Rows whose promise is broken.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.holds() == Some(false))
    }

    /// The table for a terminal: a line per row, columns aligned.
    pub fn text(&self) -> String {
        let header = ["setting", "method", "runs", "observed", "limit", "holds"].map(String::from);
        let mut lines = vec![header];
        lines.extend(self.rows.iter().map(cells));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = format!("{}\n", self.title);
        for line in &lines {
            let aligned = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let fill = " ".repeat(width - cell.chars().count());
                if (2..5).contains(&column) {
                    format!("{fill}{cell}")
                } else {
                    format!("{cell}{fill}")
                }
            });
            let aligned: Vec<String> = aligned.collect();
            let _ = writeln!(text, "  {}", aligned.join("  ").trim_end());
        }
        text
    }

    /// The table for a document: a column per method where every setting has the same methods and limits, a
    /// line per row elsewhere.
    pub fn markdown(&self) -> String {
        let body = if self.is_grid() { self.grid() } else { self.list() };
        format!("## {}\n\n{}\n\n{body}", self.title, self.notes)
    }

    fn methods(&self) -> Vec<&Row> {
        let mut methods: Vec<&Row> = Vec::new();
        for row in &self.rows {
            if methods.iter().all(|known| known.method != row.method) {
                methods.push(row);
            }
        }
        methods
    }

    fn is_grid(&self) -> bool {
        let methods = self.methods();
        let limits = |first: &Row| {
            let same = |row: &&Row| row.method == first.method && row.limit == first.limit;
            self.rows.iter().filter(same).count()
        };
        let settings = self.rows.len() / methods.len().max(1);
        methods.len() > 1 && settings > 1 && methods.iter().all(|first| limits(first) == settings)
    }

    fn grid(&self) -> String {
        let methods = self.methods();
        let mut text = "| setting | runs |".to_owned();
        for method in &methods {
            let limit =
                method.limit.map_or("shown beside".to_owned(), |l| l.words(method.observed));
            let _ = write!(text, " {}<br>{limit} |", method.method);
        }
        let _ = write!(text, "\n|---|---:|{}\n", "---:|".repeat(methods.len()));
        for rows in self.rows.chunks(methods.len()) {
            let _ = write!(text, "| {} | {} |", rows[0].setting, rows[0].runs);
            for row in rows {
                let mark = if row.holds() == Some(false) { " **fails**" } else { "" };
                let _ = write!(text, " {}{mark} |", row.observed);
            }
            text.push('\n');
        }
        text
    }

    fn list(&self) -> String {
        let mut text =
            "| setting | method | runs | observed | limit | holds |\n|---|---|---:|---:|---:|---|\n"
                .to_owned();
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", cells(row).join(" | "));
        }
        text
    }
}

fn cells(row: &Row) -> [String; 6] {
    let limit = row.limit.map_or_else(String::new, |limit| limit.words(row.observed));
    let holds = match row.holds() {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    };
    [
        row.setting.clone(),
        row.method.clone(),
        row.runs.to_string(),
        row.observed.to_string(),
        limit,
        holds.to_owned(),
    ]
}
