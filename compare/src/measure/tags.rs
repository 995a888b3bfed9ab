//! What it costs to have a tag in Redis, and to invalidate all entries that have it.

use std::ops::Range;
use std::time::Instant;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::Stopwatch;
use super::redis::server_cpu;
use crate::contestants::redis::{Filler, Group, connect};
use crate::values::runs;

/// All of a group at once, so often: the time that it takes, and that the server does nothing else.
pub async fn invalidation<C: Group>(members: u64, count: usize) -> Vec<f64> {
    C::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    // The first one connects and loads the script.
    store::<C>(0..64).await;
    tokio::spawn(C::invalidate()).await.unwrap();

    let mut micros = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..count {
        let before = runs();
        store::<C>(0..members).await;
        assert_eq!(runs() - before, members, "some were there still");
        let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut server).await.unwrap();
        let began = Instant::now();
        tokio::spawn(C::invalidate()).await.unwrap();
        micros.push(began.elapsed().as_nanos() as f64 / 1e3);
        servers.push(micros_of_scripts(&mut server).await);
    }
    vec![median(&mut micros), median(&mut servers)]
}

/// Since they were reset. Those of what a script calls are in it.
async fn micros_of_scripts(server: &mut MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(server).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap();
    let micros = line.split(',').find_map(|part| part.strip_prefix("usec=")).unwrap();
    micros.parse().unwrap()
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

const TASKS: u64 = 64;

async fn store<C: Filler>(ids: Range<u64>) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let ids = ids.clone();
            tokio::spawn(async move {
                for id in ids.skip(task as usize).step_by(TASKS as usize) {
                    C::store(id).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// To store what was not stored: what it takes, and what is kept.
pub async fn fills<C: Filler>(scale: f64) -> Vec<f64> {
    const FIRST: u64 = 64;
    C::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    store::<C>(0..FIRST).await;

    let count = (20_000.0 * scale) as u64;
    let cpu = server_cpu(&mut server).await;
    let watch = Stopwatch::start();
    store::<C>(FIRST..FIRST + count).await;
    let (wall, own) = (watch.wall(), watch.cpu());
    let servers = server_cpu(&mut server).await - cpu;
    let per_entry = |figure: f64| figure / count as f64;
    vec![
        count as f64 / wall.as_micros() as f64 * 1e3,
        per_entry(own.as_nanos() as f64 / 1e3),
        per_entry(servers * 1e6),
        (bytes(&mut server).await / (FIRST + count) as f64).round(),
    ]
}

/// Of everything that it has.
async fn bytes(server: &mut MultiplexedConnection) -> f64 {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(server).await.unwrap();
    let mut pipeline = redis::pipe();
    for key in keys {
        // All elements of a set, and not some of them.
        pipeline.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    }
    let bytes: Vec<u64> = pipeline.query_async(server).await.unwrap();
    bytes.iter().sum::<u64>() as f64
}
