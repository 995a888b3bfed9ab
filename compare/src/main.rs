//! Measures caches beside each other. See README.md.

#![deny(unsafe_code)]

mod arguments;
mod contestants;
mod measure;
mod meter;
mod process;
#[path = "../../tests/common/redis.rs"]
mod redis_server;
mod table;
mod values;
mod zipf;

use arguments::Arguments;
use contestants::Entry;
use measure::{Case, TABLES, Table};
use redis_server::RedisServer;

fn main() {
    if let Some(child) = process::child() {
        return child.run();
    }
    let arguments = Arguments::parse();
    print!("{}", table::heading(&arguments));
    let wanted = || TABLES.iter().filter(|table| arguments.wants(table.kind));
    let server = wanted().any(Table::takes_server).then(redis_server).flatten();
    for table in wanted() {
        if table.takes_server() && server.is_none() {
            continue;
        }
        let rows = measurements(table, &arguments, server.as_ref());
        print!("{}", table::render(table, &rows));
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
}

fn measurements(table: &Table, arguments: &Arguments, server: Option<&RedisServer>) -> Vec<Row> {
    let mut rows: Vec<_> = table
        .contestants
        .iter()
        .filter(|contestant| !contestant.left_out.contains(&table.kind))
        .filter(|contestant| {
            contestant.name == contestants::ALONE || arguments.wants_contestant(contestant.name)
        })
        .map(|contestant| Row { contestant, columns: Vec::new() })
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
                let figures = figures(row.contestant, *case, arguments.scale, server);
                for (column, figure) in figures.into_iter().enumerate() {
                    row.columns[first + column].push(figure);
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
