//! The figures as bars, in an SVG that is readable on a light page and on a dark one.

use std::fmt::Write as _;

use super::{
    Setup,
    report::{Figures, name},
};
use crate::config::Tiers;

const WIDTH: f64 = 860.0;
const ROW: f64 = 22.0;
/// Beside the names of the bars, and beside the bars their figures.
const LEFT: f64 = 230.0;
const LONGEST: f64 = WIDTH - LEFT - 110.0;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .off { fill: #b8b2a7; }
  .redis { fill: #4f8fc0; }
  .both { fill: #00805a; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .off { fill: #6e7681; }
    .redis { fill: #58a6ff; }
    .both { fill: #3fd39b; }
  }
";

/// The name of what is shown, what it is, and with how many digits.
type Shown = (&'static str, fn(&Figures) -> f64, usize);

const SHOWN: [Shown; 3] = [
    ("Requests per second", |one| one.per_second, 0),
    ("Reads, p50, ms", |one| one.p50_read, 2),
    ("Queries that reached PostgreSQL, per 1,000 reads", |one| one.queries, 0),
];

pub(super) fn svg(medians: &[(Setup, Figures)]) -> String {
    let rows = SHOWN.len() * (medians.len() + 2);
    let height = ROW * u32::try_from(rows).map_or(0.0, f64::from);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>The storefront with larder off, with Redis, and with memory and Redis</title>\n\
         <style>{STYLE}</style>\n"
    );
    let mut top = 0.0;
    for (title, figure, digits) in SHOWN {
        let most = medians.iter().map(|(_, one)| figure(one)).fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(svg, "<text class=\"title\" x=\"8\" y=\"{}\">{title}</text>", top + 16.0);
        top += ROW;
        for (setup, one) in medians {
            let length = (LONGEST * figure(one) / most).max(1.0);
            let class = match setup.tiers {
                Tiers::Off => "off",
                Tiers::Redis => "redis",
                Tiers::Memory | Tiers::Both => "both",
            };
            let plural = if setup.instances == 1 { "" } else { "s" };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}, {} instance{plural}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"15\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{:.digits$}</text>",
                LEFT - 8.0,
                top + 15.0,
                name(setup.tiers),
                setup.instances,
                top + 3.0,
                LEFT + length + 6.0,
                top + 15.0,
                figure(one),
            );
            top += ROW;
        }
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}
