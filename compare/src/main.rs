//! Measures caches beside each other. See README.md.

#![deny(unsafe_code)]

mod arguments;
mod contestants;
mod measure;
mod meter;
mod picture;
mod popularity;
mod process;
#[path = "../../tests/common/redis.rs"]
mod redis_server;
mod table;
mod values;

use arguments::Arguments;
use contestants::Entry;
use measure::{Case, Kind, TABLES, Table};
use picture::Line;
use redis_server::RedisServer;

fn main() {
    if let Some(child) = process::child() {
        return child.run();
    }
    let arguments = Arguments::parse();
    print!("{}", table::heading(&arguments));
    let wanted = || TABLES.iter().filter(|table| arguments.wants(table.kind));
    let server = wanted().any(Table::takes_server).then(redis_server).flatten();
    let mut storm = None;
    for table in wanted() {
        if table.takes_server() && server.is_none() {
            continue;
        }
        let rows = measurements(table, &arguments, server.as_ref());
        print!("{}", table::render(table, &rows));
        if table.kind == Kind::Storm {
            storm.get_or_insert_with(|| lines(&rows));
        }
    }
    if let (Some(path), Some(lines)) = (&arguments.svg, storm) {
        let svg =
            picture::svg(&lines, measure::storm::STEP, "seconds of reading", "runs in 100 ms");
        std::fs::write(path, svg).unwrap();
    }
}

/// One of our own; gone when it is dropped, or this process is killed.
fn redis_server() -> Option<RedisServer> {
    if std::process::Command::new("redis-server").arg("--version").output().is_err() {
        eprintln!(
            "There is no `redis-server` in the PATH: the measurements with Redis are left out."
        );
        return None;
    }
    Some(RedisServer::start())
}

/// A contestant of a table, and for each column what each round gave.
struct Row {
    contestant: &'static Entry,
    columns: Vec<Vec<f64>>,
    /// What it gave beyond the columns: how it went on over time.
    course: Vec<Vec<f64>>,
}

fn lines(rows: &[Row]) -> Vec<Line> {
    let line = |row: &Row| Line {
        name: row.contestant.name,
        points: row.course.iter().map(|rounds| table::median(rounds)).collect(),
    };
    rows.iter().map(line).collect()
}

fn measurements(table: &Table, arguments: &Arguments, server: Option<&RedisServer>) -> Vec<Row> {
    let mut rows: Vec<_> = table
        .contestants
        .iter()
        .filter(|contestant| !contestant.left_out.contains(&table.kind))
        .filter(|contestant| {
            contestant.name == contestants::ALONE || arguments.wants_contestant(contestant.name)
        })
        .map(|contestant| Row { contestant, columns: Vec::new(), course: Vec::new() })
        .collect();
    let mut first = 0;
    for (case, columns) in table.cases {
        for row in &mut rows {
            row.columns.resize_with(first + columns.len(), Vec::new);
        }
        let rounds = if case.is_counted() { 1 } else { arguments.rounds };
        for round in 1..=rounds {
            // One after the other, so that a slow minute of the machine is everybody's.
            for row in &mut rows {
                eprintln!("{case:?}, round {round} of {rounds}: {}", row.contestant.name);
                let mut figures =
                    figures(row.contestant, *case, arguments.scale, server).into_iter();
                for (column, figure) in figures.by_ref().take(columns.len()).enumerate() {
                    row.columns[first + column].push(figure);
                }
                for (step, figure) in figures.enumerate() {
                    if row.course.len() <= step {
                        row.course.push(Vec::new());
                    }
                    row.course[step].push(figure);
                }
            }
        }
        first += columns.len();
    }
    rows
}

fn figures(contestant: &Entry, case: Case, scale: f64, server: Option<&RedisServer>) -> Vec<f64> {
    let server = server.filter(|_| contestant.takes_server);
    if let Some(server) = server {
        // What the one before has left there.
        server.command(&["FLUSHALL"]);
    }
    let url = server.map(RedisServer::url);
    if case.is_counted() {
        process::instructions_per_call(contestant, case, scale, url.as_deref())
    } else {
        process::figures(contestant, case, scale, url.as_deref())
    }
}
