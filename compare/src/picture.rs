//! A picture of what went on over time, as SVG that is readable on a light page and on a dark one.

use std::fmt::Write;
use std::time::Duration;

pub struct Line {
    pub name: &'static str,
    /// One after another, a step apart.
    pub points: Vec<f64>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 400.0;

/// What is beside the plane of the lines.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;

/// Colours that are told apart also by who sees fewer of them, and dashes for who sees none.
const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .grid { stroke: #d1d9e0; }
  .axis { stroke: #59636e; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .c0 { stroke: #c0392b; }
  .c1 { stroke: #0072b2; stroke-dasharray: 9 3; }
  .c2 { stroke: #b07d00; stroke-dasharray: 3 3; }
  .c3 { stroke: #00805a; }
  .c4 { stroke: #8e44ad; stroke-dasharray: 12 3 3 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .grid { stroke: #3d444d; }
    .axis { stroke: #9198a1; }
    .c0 { stroke: #ff7b72; }
    .c1 { stroke: #58a6ff; }
    .c2 { stroke: #e3b341; }
    .c3 { stroke: #3fd39b; }
    .c4 { stroke: #d2a8ff; }
  }
";

/// The lines in one plane, over time. `across` and `up` say what the axes are.
pub fn svg(lines: &[Line], step: Duration, across: &str, up: &str) -> String {
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let count = lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
    let seconds = step.as_secs_f64() * count as f64;
    let most = lines.iter().flat_map(|line| &line.points).copied().fold(1.0, f64::max);
    let (x, y) =
        (|at: f64| LEFT + width * at / seconds, |at: f64| TOP + height * (1.0 - at / most));

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{up}, over {across}</title>\n\
         <style>{STYLE}</style>\n"
    );
    write_legend(&mut svg, lines);
    let between = round_step(most);
    for mark in (0..).map(|number| f64::from(number) * between).take_while(|mark| *mark <= most) {
        let y = y(mark);
        path(&mut svg, "grid", &format!("M{LEFT} {y:.1}h{width}"));
        text(&mut svg, (LEFT - 8.0, y + 4.0), "end", &mark.to_string());
    }
    let bottom = TOP + height;
    path(&mut svg, "axis", &format!("M{LEFT} {bottom}h{width}"));
    for second in 0..=seconds.round() as u32 {
        let x = x(f64::from(second));
        path(&mut svg, "axis", &format!("M{x:.1} {bottom}v5"));
        text(&mut svg, (x, bottom + 20.0), "middle", &second.to_string());
    }
    text(&mut svg, (LEFT + width / 2.0, HEIGHT - 14.0), "middle", across);
    text(&mut svg, (LEFT - 40.0, TOP - 14.0), "start", up);
    for (number, line) in lines.iter().enumerate() {
        let at = |place: usize| (place as f64 + 0.5) * step.as_secs_f64();
        let points = line.points.iter().enumerate();
        let points = points.map(|(place, &figure)| format!("{:.1} {:.1}", x(at(place)), y(figure)));
        let points: Vec<_> = points.collect();
        path(&mut svg, &format!("line c{number}"), &format!("M{}", points.join("L")));
    }
    svg.push_str("</svg>\n");
    svg
}

fn write_legend(svg: &mut String, lines: &[Line]) {
    const Y: f64 = 20.0;
    let mut x = LEFT;
    for (number, line) in lines.iter().enumerate() {
        path(svg, &format!("line c{number}"), &format!("M{x} {Y}h30"));
        text(svg, (x + 38.0, Y + 4.0), "start", line.name);
        // As wide as the letters are, more or less.
        x += 66.0 + 7.0 * line.name.len() as f64;
    }
}

fn path(svg: &mut String, class: &str, path: &str) {
    let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    let _ = writeln!(svg, "<text {place}>{text}</text>");
}

/// Between marks: 1, 2 or 5 of a power of ten, so that there are five marks at most.
fn round_step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| most / step <= 5.0).unwrap_or(most)
}
