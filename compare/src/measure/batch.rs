//! A hundred entries at once, of which some are not there.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::Stopwatch;
use super::redis::{info, server_cpu};
use crate::contestants::Many;
use crate::contestants::redis::connect;
use crate::meter;
use crate::values::runs;

const ELEMENTS: u64 = 100;

/// The first ones connect and load the scripts.
const FIRST: u64 = 16;

/// So many batches one after another, with so many of each missing.
pub async fn in_redis<C: Many>(missing: u64, scale: f64) -> Vec<f64> {
    C::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    let count = (300.0 * scale).ceil() as u64;
    for number in 0..FIRST + count {
        let present: Vec<_> = ids(number).filter(|&id| !is_missing(id, missing)).collect();
        if !present.is_empty() {
            C::call(&present).await;
        }
    }
    tokio::spawn(batches::<C>(0..FIRST)).await.unwrap();

    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut server).await.unwrap();
    let before = runs();
    let cpu = server_cpu(&mut server).await;
    let watch = Stopwatch::start();
    let mut micros = tokio::spawn(batches::<C>(FIRST..FIRST + count)).await.unwrap();
    let own = watch.cpu();
    let servers = server_cpu(&mut server).await - cpu;
    let per_batch = |figure: f64| (figure / count as f64 * 100.0).round() / 100.0;

    micros.sort_by(f64::total_cmp);
    let mut figures = vec![
        micros[micros.len() / 2],
        own.as_nanos() as f64 / 1e3 / count as f64,
        servers * 1e6 / count as f64,
        per_batch((runs() - before) as f64),
    ];
    let commands = commands(&mut server).await;
    figures.extend(["mget", "get", "set", "evalsha"].map(|name| per_batch(commands(name))));
    // Less those of who asks.
    let trips = info(&mut server, "stats", "total_reads_processed").await - 3.0;
    figures.push(per_batch(trips));
    figures
}

/// Batches to be counted under callgrind: all of each is there, or nothing.
pub async fn in_redis_counted<C: Many>(missing: u64, count: u64) -> Vec<f64> {
    C::set_up().await;
    // Every child makes these.
    for number in 0..FIRST {
        C::call(&ids(number).collect::<Vec<_>>()).await;
    }
    for number in 0..count {
        let number = if missing == 0 { 0 } else { FIRST + number };
        black_box(C::call(&ids(number).collect::<Vec<_>>()).await);
    }
    Vec::new()
}

pub async fn in_memory<C: Many>(scale: f64) -> Vec<f64> {
    const BATCHES: u64 = 100;
    C::set_up().await;
    tokio::spawn(batches::<C>(0..BATCHES)).await.unwrap();
    let count = (5_000.0 * scale).ceil() as u64;
    let watch = Stopwatch::start();
    let spin = async move {
        for _ in 0..count.div_ceil(BATCHES) {
            batches::<C>(0..BATCHES).await;
        }
    };
    tokio::spawn(spin).await.unwrap();
    let own = watch.cpu();
    let calls = count.next_multiple_of(BATCHES) as f64;
    let ids: Vec<_> = ids(0).collect();
    meter::count_allocations();
    black_box(C::call(&ids).await);
    vec![own.as_nanos() as f64 / 1e3 / calls, meter::allocations() as f64]
}

pub async fn in_memory_counted<C: Many>(count: u64) -> Vec<f64> {
    C::set_up().await;
    let ids: Vec<_> = ids(0).collect();
    for _ in 0..=count {
        black_box(C::call(&ids).await);
    }
    Vec::new()
}

/// How many microseconds each took.
async fn batches<C: Many>(numbers: Range<u64>) -> Vec<f64> {
    let mut micros = Vec::new();
    for number in numbers {
        let ids: Vec<_> = ids(number).collect();
        let began = Instant::now();
        let found = black_box(C::call(&ids).await);
        micros.push(began.elapsed().as_nanos() as f64 / 1e3);
        assert_eq!(found.len(), ids.len());
    }
    micros
}

/// The elements of a batch, which no other has.
fn ids(number: u64) -> Range<u64> {
    number * ELEMENTS..(number + 1) * ELEMENTS
}

/// So many of the elements of each batch, here and there in it.
fn is_missing(id: u64, missing: u64) -> bool {
    id % ELEMENTS * 37 % ELEMENTS < missing
}

/// How often each command was carried out, in scripts too.
async fn commands(server: &mut MultiplexedConnection) -> impl Fn(&str) -> f64 + use<> {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(server).await.unwrap();
    move |name| {
        let calls = |line: &str| {
            let line = line.strip_prefix("cmdstat_")?.strip_prefix(name)?;
            line.strip_prefix(":calls=")?.split(',').next()?.parse().ok()
        };
        info.lines().find_map(calls).unwrap_or(0.0)
    }
}
