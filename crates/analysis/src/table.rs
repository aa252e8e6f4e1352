//! The report as text for a terminal or a log: no colour, at most 100 columns unless an arm's name
//! is long.

use std::fmt;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table,
    TableStyle,
};

use crate::blocks::FEWEST_PAIRS;
use crate::comparison::{Comparison, Interval, Segment};
use crate::report::{Population, Report};
use crate::words::{count, quantile, round_percent, signed_percent};

mod lines;
use lines::Lines;

const WIDTH: usize = 100;

/// Columns hold nothing but their text; a line separates the header.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (routes, skipped): (Vec<&Comparison>, Vec<&Comparison>) =
            self.routes().partition(|row| row.population == self.population);
        self.head(f)?;
        writeln!(f, "\n{}", self.table(&routes).trim_fmt())?;
        self.reasons(f, &routes)?;
        never_consulted(f, &skipped)?;
        self.foot(f)
    }
}

impl Report {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { experiment, epoch, alpha, population, srm, .. } = self;
        let requests = match population {
            Population::Exposed => "exposed requests",
            Population::Assigned => "all assigned requests",
        };
        writeln!(f, "{experiment} · epoch {epoch} · alpha {alpha} · {requests}")?;
        let split: Vec<String> =
            srm.observed.iter().map(|(arm, number)| format!("{arm} {}", count(*number))).collect();
        let outcome = match srm.p_value {
            _ if srm.observed.values().all(|count| *count == 0) => "nothing to test".to_owned(),
            None => "not tested".to_owned(),
            Some(p) => format!("{}, {}", p_value(p), if srm.mismatch { "MISMATCH" } else { "ok" }),
        };
        writeln!(f, "split: {} · {outcome}", split.join(", "))?;
        if let Some(exposed) = srm.exposed.as_ref().filter(|exposed| exposed.mismatch) {
            let split: Vec<String> = exposed
                .observed
                .iter()
                .map(|(arm, number)| format!("{arm} {}", count(*number)))
                .collect();
            let p = p_value(exposed.p_value);
            writeln!(f, "split of the exposed requests: {} · {p}, MISMATCH", split.join(", "))?;
        }
        for warning in &self.warnings {
            paragraph(f, "! ", 2, warning)?;
        }
        Ok(())
    }

    fn table(&self, routes: &[&Comparison]) -> Table {
        let mut table = Table::new();
        table
            .load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH as u16)
            .set_header(self.header());
        for (position, comparison) in self.overall().enumerate() {
            table.add_row_if(|_, _| position > 0, [""]);
            table.add_row(self.block("all routes", comparison));
        }
        for (position, comparison) in routes.iter().enumerate() {
            let route = comparison.segment.route.as_deref().unwrap_or_default();
            table.add_row([""]);
            table.add_row(self.block(route, comparison));
            // The size classes follow the last variation of their route.
            let next = routes.get(position + 1);
            if next.is_none_or(|next| next.segment != comparison.segment) {
                for comparison in self.sizes(route) {
                    table.add_row(self.size_block(comparison));
                }
            }
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if index > 0 {
                // Only the routes are wrapped.
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            if (2..=5).contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn header(&self) -> Vec<String> {
        let variation = match self.variations()[..] {
            [one] => one.to_owned(),
            _ => "variation".to_owned(),
        };
        let level = format!("{} interval", round_percent(1.0 - self.alpha));
        ["", "", &self.control, &variation, "lift", &level, "verdict"].map(str::to_owned).into()
    }

    /// The names of the variations, each once.
    fn variations(&self) -> Vec<&str> {
        self.overall().map(|comparison| comparison.variation.as_str()).collect()
    }

    fn block(&self, title: &str, comparison: &Comparison) -> Vec<String> {
        let mut lines = Lines::new(&self.title(title, comparison));
        lines.requests(comparison);
        for entry in &comparison.quantiles {
            lines.quantile(entry);
        }
        if comparison.segment.is_overall() {
            lines.mean(&comparison.mean);
        }
        lines.share("errors", comparison.errors);
        lines.share("cancelled", comparison.censored);
        lines.cells()
    }

    /// A size class is descriptive: one quantile says enough.
    fn size_block(&self, comparison: &Comparison) -> Vec<String> {
        let size = comparison.segment.size.as_deref().unwrap_or_default();
        let mut lines = Lines::new(&self.title(&format!("· {size}"), comparison));
        lines.requests(comparison);
        for entry in comparison.quantiles.iter().filter(|entry| entry.q == self.primary) {
            lines.quantile(entry);
        }
        lines.cells()
    }

    /// The segment and, where there are several, the variation below it.
    fn title(&self, segment: &str, comparison: &Comparison) -> Vec<String> {
        let mut title = vec![segment.to_owned()];
        if self.variations().len() > 1 {
            title.push(comparison.variation.clone());
        }
        title
    }

    /// The comparisons of a route's size classes, if it has more than one.
    fn sizes(&self, route: &str) -> Vec<&Comparison> {
        let sizes: Vec<&Comparison> = self
            .comparisons
            .iter()
            .filter(|comparison| {
                let Segment { route: at, size } = &comparison.segment;
                size.is_some() && at.as_deref() == Some(route)
            })
            .collect();
        match sizes.split_first() {
            Some((first, rest)) if rest.iter().any(|size| size.segment != first.segment) => sizes,
            _ => Vec::new(),
        }
    }

    fn reasons(&self, f: &mut fmt::Formatter<'_>, routes: &[&Comparison]) -> fmt::Result {
        let overall: Vec<&Comparison> = self.overall().collect();
        for comparison in &overall {
            writeln!(f, "\n{}: {}", self.title_line("all routes", comparison), comparison.verdict)?;
            for reason in &comparison.reasons {
                paragraph(f, "  - ", 4, reason)?;
            }
            for note in self.notes(comparison) {
                paragraph(f, "  - ", 4, &note)?;
            }
        }
        let known = |comparison: &&&Comparison| {
            // What forbids all verdicts has been said.
            !overall.iter().any(|all| all.reasons == comparison.reasons)
        };
        let mut routes = routes.iter().filter(known).peekable();
        if routes.peek().is_some() {
            writeln!(f)?;
        }
        for comparison in routes {
            let route = comparison.segment.route.as_deref().unwrap_or_default();
            let text = format!(
                "{}: {}; {}",
                self.title_line(route, comparison),
                comparison.verdict,
                comparison.reasons.join("; ")
            );
            paragraph(f, "", 2, &text)?;
        }
        Ok(())
    }

    fn title_line(&self, segment: &str, comparison: &Comparison) -> String {
        self.title(segment, comparison).join(", ")
    }

    /// What else is worth knowing about an overall comparison.
    fn notes(&self, comparison: &Comparison) -> Vec<String> {
        let mut notes = Vec::new();
        let routes = self.routes().filter(|row| row.variation == comparison.variation).count();
        if let Some(Interval { estimate: Some(estimate), lower: Some(lower), upper: Some(upper) }) =
            comparison.common_ratio.filter(|_| routes > 1)
        {
            notes.push(format!(
                "within routes, {} changes by {} ({} to {})",
                quantile(self.primary),
                signed_percent(estimate - 1.0),
                signed_percent(lower - 1.0),
                signed_percent(upper - 1.0)
            ));
        }
        if let Some(test) = comparison.mann_whitney {
            let planned = self.fixed_n || comparison.information >= self.tuned_for;
            let p = if planned {
                format!(" (Mann-Whitney, one look: {})", p_value(test.p_value))
            } else {
                String::new()
            };
            notes.push(format!(
                "probability that a request of the variation is the faster of two: {:.2}{p}",
                test.probability_faster
            ));
        }
        notes
    }

    fn foot(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tightest = if self.overall().any(|comparison| comparison.blocks.is_some()) {
            format!("from {FEWEST_PAIRS} pairs of time blocks on")
        } else {
            let tuned_for = count((4.0 * self.tuned_for).round() as u64);
            format!("tightest near {tuned_for} requests of an even split")
        };
        let mut text = format!(
            "Intervals are confidence sequences: valid at every look, {tightest}. Lift is relative to {}; negative is faster.",
            self.control
        );
        if self.fixed_n {
            text.push_str(
                " Intervals marked \"once\" hold for one look at a number of requests fixed in advance.",
            );
        }
        writeln!(f)?;
        paragraph(f, "", 0, &text)
    }
}

fn never_consulted(f: &mut fmt::Formatter<'_>, skipped: &[&Comparison]) -> fmt::Result {
    let Some(first) = skipped.first() else { return Ok(()) };
    let routes: Vec<&str> = skipped
        .iter()
        .filter(|comparison| comparison.variation == first.variation)
        .filter_map(|comparison| comparison.segment.route.as_deref())
        .collect();
    writeln!(f)?;
    paragraph(f, "", 2, &format!("never consulted, not compared: {}", routes.join(", ")))
}

fn p_value(p: f64) -> String {
    match p {
        p if p < 0.001 => "p < 0.001".to_owned(),
        p if p < 0.1 => format!("p = {p:.3}"),
        p => format!("p = {p:.2}"),
    }
}

/// Writes text in lines of at most [`WIDTH`], the first behind a mark, the others indented.
fn paragraph(f: &mut fmt::Formatter<'_>, mark: &str, indent: usize, text: &str) -> fmt::Result {
    let mut line = mark.to_owned();
    let mut length = mark.chars().count();
    let mut empty = true;
    for word in words_of(text) {
        let width = word.chars().count();
        if !empty && length + 1 + width > WIDTH {
            writeln!(f, "{line}")?;
            line = " ".repeat(indent);
            length = indent;
            empty = true;
        }
        if !empty {
            line.push(' ');
            length += 1;
        }
        line.push_str(&word);
        length += width;
        empty = false;
    }
    writeln!(f, "{line}")
}

/// The words of a text; a number stays with its percent sign.
fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(last) if word.starts_with('%') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}
