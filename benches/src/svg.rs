//! Plots, as small as they can be: both axes logarithmic, one line per case.

use std::fmt::Write;

/// A line with its points, all of them above zero.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend says.
    pub name: String,
    /// Where it goes through.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
/// Told apart by readers who see colours differently, too (Okabe and Ito, 2008).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// An axis from one value to another, both powers of the base.
struct Axis {
    base: f64,
    low: f64,
    high: f64,
}

impl Axis {
    fn over(base: f64, values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = values
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        // A little slack, so that 1.0000001 does not ask for another step.
        let (low, high) = ((low.log(base) + 1e-9).floor(), (high.log(base) - 1e-9).ceil());
        Self { base, low, high: high.max(low + 1.0) }
    }

    /// Where a value is, of 1.
    fn place(&self, value: f64) -> f64 {
        (value.log(self.base) - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| self.base.powi(power))
    }
}

/// The plot of some lines. `base` is that of the horizontal axis; the vertical one has powers of 10.
pub fn plot(title: &str, [across, up]: [&str; 2], base: f64, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let x_axis = Axis::over(base, points().map(|(x, _)| x));
    let y_axis = Axis::over(10.0, points().map(|(_, y)| y));
    let x = |value| LEFT + x_axis.place(value) * (WIDTH - LEFT - RIGHT);
    let y = |value| HEIGHT - BOTTOM - y_axis.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let mut add = |element: String| svg.push_str(&(element + "\n"));
    for tick in x_axis.ticks() {
        let (at, bottom) = (x(tick), HEIGHT - BOTTOM);
        add(format!("<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>"));
        let text = bottom + 18.0;
        add(format!(
            "<text x=\"{at:.1}\" y=\"{text}\" text-anchor=\"middle\">{}</text>",
            short(tick)
        ));
    }
    for tick in y_axis.ticks() {
        let (at, right) = (y(tick), WIDTH - RIGHT);
        add(format!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>"));
        let (left, at) = (LEFT - 8.0, at + 4.0);
        add(format!("<text x=\"{left}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>", short(tick)));
    }
    let (middle, bottom) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 14.0);
    add(format!(
        "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>",
        escaped(across)
    ));
    let middle = f64::midpoint(TOP, HEIGHT - BOTTOM);
    add(format!(
        "<text transform=\"translate(20 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        escaped(up)
    ));
    for (position, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let path = line.points.iter().enumerate().fold(String::new(), |mut path, (n, point)| {
            let letter = if n == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(point.0), y(point.1));
            path
        });
        add(format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for point in &line.points {
            let (x, y) = (x(point.0), y(point.1));
            add(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"));
        }
        let (left, at) = (WIDTH - RIGHT + 14.0, TOP + 12.0 + 22.0 * position as f64);
        let (text, below) = (left + 26.0, at - 4.0);
        add(format!("<path d=\"M{left} {below}h18\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        add(format!("<text x=\"{text}\" y=\"{at}\">{}</text>", escaped(&line.name)));
    }
    svg + "</svg>\n"
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
