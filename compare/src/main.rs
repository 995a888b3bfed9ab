//! Measures caches beside each other. See README.md.

#![deny(unsafe_code)]

mod arguments;
mod contestants;
mod measure;
mod meter;
mod process;
mod table;
mod values;
mod zipf;

use arguments::Arguments;
use contestants::Entry;
use measure::{Case, Kind, TABLES, Table};

fn main() {
    if let Some(child) = process::child() {
        return child.run();
    }
    let arguments = Arguments::parse();
    print!("{}", table::heading(&arguments));
    for table in TABLES.iter().filter(|table| arguments.wants(table.kind)) {
        print!("{}", table::render(table, &measurements(table, &arguments)));
    }
}

/// A contestant of a table, and for each column what each round gave.
struct Row {
    contestant: &'static Entry,
    columns: Vec<Vec<f64>>,
}

fn measurements(table: &Table, arguments: &Arguments) -> Vec<Row> {
    let mut rows: Vec<_> = contestants::ALL
        .iter()
        .filter(|contestant| !contestant.left_out.contains(&table.kind))
        .filter(|contestant| {
            contestant.name == contestants::ALONE || arguments.wants_contestant(contestant.name)
        })
        .map(|contestant| Row { contestant, columns: Vec::new() })
        .collect();
    // A count of instructions is the same every time.
    let rounds = if table.kind == Kind::Instructions { 1 } else { arguments.rounds };
    let mut first = 0;
    for (case, columns) in table.cases {
        for row in &mut rows {
            row.columns.resize_with(first + columns.len(), Vec::new);
        }
        for round in 1..=rounds {
            // One after the other, so that a slow minute of the machine is everybody's.
            for row in &mut rows {
                eprintln!("{case:?}, round {round} of {rounds}: {}", row.contestant.name);
                let figures = figures(table.kind, row.contestant, *case, arguments.scale);
                for (column, figure) in figures.into_iter().enumerate() {
                    row.columns[first + column].push(figure);
                }
            }
        }
        first += columns.len();
    }
    rows
}

fn figures(kind: Kind, contestant: &Entry, case: Case, scale: f64) -> Vec<f64> {
    if kind == Kind::Instructions {
        process::instructions_per_call(contestant, case, scale)
    } else {
        process::figures(contestant, case, scale)
    }
}
