//! Markdown that also reads well in a terminal.

use std::fmt::Write;
use std::thread;

use crate::Row;
use crate::arguments::Arguments;
use crate::measure::{Column, Table};

/// The machine, the versions, and how to read what follows.
pub fn heading(arguments: &Arguments) -> String {
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let versions: Vec<_> = PEERS.map(|peer| format!("{peer} {}", version(peer))).to_vec();
    format!(
        "{cpus} CPUs ({}), release profile, {}.\n\
         Medians of {} rounds, each measurement in a process of its own; brackets: ratio to the first row.\n",
        model.unwrap_or("unknown"),
        versions.join(", "),
        arguments.rounds,
    )
}

pub fn render(table: &Table, rows: &[Row]) -> String {
    let columns: Vec<_> = table.cases.iter().flat_map(|(_, columns)| *columns).collect();
    let medians: Vec<Vec<f64>> =
        rows.iter().map(|row| row.columns.iter().map(|rounds| median(rounds)).collect()).collect();

    let mut cells = vec![vec![String::new()]];
    cells[0].extend(columns.iter().map(|column| column.heading().to_owned()));
    for (row, figures) in rows.iter().zip(&medians) {
        let mut line = vec![row.contestant.name.to_owned()];
        for (index, column) in columns.iter().enumerate() {
            let first = medians[0][index];
            let last = medians[rows.len() - 1][index];
            line.push(column.cell(figures[index], first, last, row.contestant.tags));
        }
        cells.push(line);
    }
    let mut text = format!("\n### {}\n\n", table.title);
    write_aligned(&mut text, &cells);
    text
}

const PEERS: [&str; 7] =
    ["quick_cache", "moka", "cached", "cachelito-async", "governor", "redis", "rslock"];

/// The version in the lock file.
fn version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let package = lock
        .split("\nname = ")
        .find_map(|package| package.strip_prefix(&format!("{name:?}\nversion = \"")));
    package.and_then(|package| package.split('"').next()).unwrap_or("?")
}

impl Column {
    fn heading(&self) -> &'static str {
        match self {
            Column::Plain(heading)
            | Column::Ratio(heading)
            | Column::Net(heading)
            | Column::EachTag(heading) => heading,
        }
    }

    fn cell(&self, figure: f64, first: f64, last: f64, tags: u32) -> String {
        if figure.is_nan() {
            return "–".to_owned();
        }
        match self {
            Column::Plain(_) => count(figure),
            Column::Ratio(_) => format!("{} ({:.2}x)", number(figure), figure / first),
            Column::Net(_) => count(figure - last),
            Column::EachTag(_) if tags == 0 => number(figure),
            Column::EachTag(_) => {
                format!("{} ({:+.1})", number(figure), (figure - first) / f64::from(tags))
            }
        }
    }
}

pub fn median(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// A whole number when it is one.
fn count(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure:.0}") } else { number(figure) }
}

/// Three digits that say something.
fn number(figure: f64) -> String {
    let decimals = match figure.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{figure:.decimals$}")
}

fn write_aligned(text: &mut String, cells: &[Vec<String>]) {
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap();
    let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
    for (index, row) in cells.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Names to the left, figures to the right.
            let _ = match column {
                0 => write!(text, "| {cell:<width$} "),
                _ => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let _ = match column {
                    0 => write!(text, "|{:-<1$}", "", width + 2),
                    _ => write!(text, "|{:->1$}", ":", width + 2),
                };
            }
            text.push_str("|\n");
        }
    }
}
