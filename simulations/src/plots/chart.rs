use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;

/// Ink, paper and grid on a light page, with what they become on a dark one.
const THEME: [(RGBColor, &str); 3] = [(INK, "#E6EDF3"), (PAPER, "#0D1117"), (GRID, "#30363D")];
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2F);
const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);

/// Colours of series, legible on both.
pub(super) const BLUE: RGBColor = RGBColor(0x2F, 0x81, 0xF7);
pub(super) const RED: RGBColor = RGBColor(0xE5, 0x53, 0x4B);
pub(super) const ORANGE: RGBColor = RGBColor(0xD2, 0x7D, 0x1E);
pub(super) const GREEN: RGBColor = RGBColor(0x2D, 0xA4, 0x4E);
pub(super) const PURPLE: RGBColor = RGBColor(0x98, 0x6E, 0xE2);
pub(super) const GREY: RGBColor = RGBColor(0x80, 0x88, 0x92);

const SIZE: (u32, u32) = (780, 440);

/// One axis.
#[derive(Debug)]
pub(super) struct Axis {
    /// What it shows, with its unit.
    pub(super) name: &'static str,
    pub(super) range: (f64, f64),
    /// Where it has numbers.
    pub(super) ticks: Vec<f64>,
    pub(super) logarithmic: bool,
    pub(super) format: fn(f64) -> String,
}

/// One line, with the area around it if it has one.
#[derive(Debug)]
pub(super) struct Line {
    /// In the legend; none for lines that need none.
    pub(super) name: Option<String>,
    pub(super) colour: RGBColor,
    pub(super) dashed: bool,
    pub(super) points: Vec<(f64, f64)>,
    /// x with lower and upper end.
    pub(super) area: Vec<(f64, f64, f64)>,
}

/// A figure.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    pub(super) legend: SeriesLabelPosition,
}

impl Line {
    pub(super) fn new(name: &str, colour: RGBColor, points: Vec<(f64, f64)>) -> Self {
        let name = Some(name.to_owned());
        Self { name, colour, dashed: false, points, area: Vec::new() }
    }

    /// Without a place in the legend.
    pub(super) fn unnamed(self) -> Self {
        Self { name: None, ..self }
    }

    pub(super) fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    pub(super) fn around(self, area: Vec<(f64, f64, f64)>) -> Self {
        Self { area, ..self }
    }
}

impl Axis {
    /// Where a value is on the axis; beyond its ends at the end.
    fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.range.0, self.range.1);
        if self.logarithmic { value.ln() } else { value }
    }

    fn label(&self, place: f64) -> String {
        (self.format)(if self.logarithmic { place.exp() } else { place })
    }

    fn places(&self) -> Places {
        Places {
            range: self.place(self.range.0)..self.place(self.range.1),
            ticks: self.ticks.iter().map(|tick| self.place(*tick)).collect(),
        }
    }
}

/// An axis as the drawing library sees it: linear, with numbers where we want them.
struct Places {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Places {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl Chart {
    /// The figure as an SVG document.
    pub(super) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&PAPER)?;
            // The error of the backend borrows the text that is being written.
            self.draw(&area).map_err(|error| error.to_string())?;
            area.present()?;
        }
        Ok(themed(&svg))
    }

    fn draw<'a>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    ) -> Result<(), Box<dyn Error + 'a>> {
        let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(28)
            .caption(self.title, text(17))
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d(self.x.places(), self.y.places())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(text(13))
            .axis_desc_style(text(14))
            .x_desc(self.x.name)
            .y_desc(self.y.name)
            .x_label_formatter(&|place| self.x.label(*place))
            .y_label_formatter(&|place| self.y.label(*place))
            .draw()?;
        for line in &self.lines {
            if !line.area.is_empty() {
                let point = |x: f64, y: f64| (self.x.place(x), self.y.place(y));
                let lower = line.area.iter().map(|(x, low, _)| point(*x, *low));
                let upper = line.area.iter().rev().map(|(x, _, high)| point(*x, *high));
                let outline: Vec<(f64, f64)> = lower.chain(upper).collect();
                chart.draw_series([Polygon::new(outline, line.colour.mix(0.2).filled())])?;
            }
        }
        for line in &self.lines {
            let style = line.colour.stroke_width(2);
            let points = line.points.iter().map(|(x, y)| (self.x.place(*x), self.y.place(*y)));
            let drawn = if line.dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?
            } else {
                chart.draw_series(LineSeries::new(points, style))?
            };
            if let Some(name) = &line.name {
                let dashed = line.dashed;
                drawn.label(name.clone()).legend(move |(x, y)| {
                    let end = if dashed { x + 12 } else { x + 20 };
                    PathElement::new([(x, y), (end, y)], style)
                });
            }
        }
        chart
            .configure_series_labels()
            .position(self.legend.clone())
            .label_font(text(13))
            .background_style(PAPER)
            .border_style(GRID)
            .legend_area_size(26)
            .margin(10)
            .draw()?;
        Ok(())
    }
}

/// Adds what ink, paper and grid become on a dark page.
fn themed(svg: &str) -> String {
    let rule = |(RGBColor(r, g, b), dark): &(RGBColor, &str)| {
        let light = format!("#{r:02X}{g:02X}{b:02X}");
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    let rules: String = THEME.iter().map(rule).collect();
    let style = format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>");
    match svg.find('>') {
        Some(end) => format!("{}\n{style}{}", &svg[..=end], &svg[end + 1..]),
        None => svg.to_owned(),
    }
}

/// `50 %`.
pub(super) fn percent(value: f64) -> String {
    format!("{:.0} %", 100.0 * value)
}

/// `+50 %`.
pub(super) fn signed_percent(value: f64) -> String {
    if value == 0.0 { "0 %".to_owned() } else { format!("{:+.0} %", 100.0 * value) }
}
