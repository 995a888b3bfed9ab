//! What a writer pays, and how long the memory of another process goes on serving what it has
//! changed: on loopback, with all of them on the same processors.

use std::io::stdin;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::redis::server_cpu;
use super::{Stopwatch, quantile};
use crate::contestants::redis::{Reader, Writer, connect};
use crate::meter;
use crate::process::Peer;

/// The first ones connect and load the scripts.
const FIRST: u64 = 16;

pub async fn cost<C: Writer>(entries: u64, count: u64) -> Vec<f64> {
    C::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    let all = (FIRST + count) * entries;
    store::<C>(all).await;
    assert!(stored(&mut server).await >= all);
    tokio::spawn(invalidations::<C>(entries, 0..FIRST)).await.unwrap();

    let cpu = server_cpu(&mut server).await;
    let watch = Stopwatch::start();
    let timed = invalidations::<C>(entries, FIRST..FIRST + count);
    let mut micros = tokio::spawn(timed).await.unwrap();
    let own = watch.cpu();
    let servers = server_cpu(&mut server).await - cpu;
    // An entry of the set-up, and what larder knows of the service.
    assert!(stored(&mut server).await <= 2);
    vec![
        quantile(&mut micros, 0.5),
        own.as_nanos() as f64 / 1e3 / count as f64,
        servers * 1e6 / count as f64,
    ]
}

async fn store<C: Writer>(entries: u64) {
    const TASKS: u64 = 64;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            tokio::spawn(async move {
                for id in (task..entries).step_by(TASKS as usize) {
                    C::store(id).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn stored(server: &mut MultiplexedConnection) -> u64 {
    redis::cmd("DBSIZE").query_async(server).await.unwrap()
}

/// One after another, each of so many entries; how many microseconds each took.
async fn invalidations<C: Writer>(entries: u64, numbers: Range<u64>) -> Vec<f64> {
    let mut micros = Vec::new();
    for number in numbers {
        let began = Instant::now();
        C::invalidate(number * entries..(number + 1) * entries).await;
        micros.push(began.elapsed().as_nanos() as f64 / 1e3);
    }
    micros
}

/// Invalidates what a peer has in memory, and hears from it when that has dropped it.
pub async fn propagation<C: Reader>(is_loaded: bool, count: usize) -> Vec<f64> {
    let mut peer = Peer::start();
    C::set_up().await;
    if is_loaded {
        load::<C>();
    }
    let mut micros = Vec::new();
    let mut dropped_before = 0;
    for id in 1.. {
        peer.tell(id);
        peer.hear();
        // It has begun to look by then, and nothing goes in step.
        thread::sleep(Duration::from_micros(500 + id * 7 % 10 * 50));
        let invalidation = tokio::spawn(async move {
            let began = meter::now();
            C::invalidate(id..id + 1).await;
            began
        });
        let began = invalidation.await.unwrap();
        let dropped = Duration::from_nanos(peer.hear());
        if id <= FIRST {
            continue;
        }
        match dropped.checked_sub(began) {
            Some(took) => micros.push(took.as_nanos() as f64 / 1e3),
            // By itself, as when it could not hear the others for a moment.
            None => dropped_before += 1,
        }
        if micros.len() == count {
            break;
        }
    }
    assert!(dropped_before <= count / 10, "{dropped_before} were not there any more");
    vec![quantile(&mut micros, 0.5), quantile(&mut micros, 0.99)]
}

/// What the peer looks for in its memory; 0 for nothing.
static LOOKED_FOR: AtomicU64 = AtomicU64::new(0);
/// When it was not there any more, in nanoseconds; 0 as long as it is there.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The peer: keeps the entries that it is told to, and says when they are gone.
pub async fn read<C: Reader>(is_loaded: bool) {
    C::set_up().await;
    if is_loaded {
        load::<C>();
    }
    for line in stdin().lines() {
        let id = line.unwrap().parse().unwrap();
        C::store(id).await;
        DROPPED.store(0, SeqCst);
        LOOKED_FOR.store(id, SeqCst);
        println!("{id}");
        while DROPPED.load(SeqCst) == 0 {
            look::<C>();
            if is_loaded {
                // The tasks look, too.
                thread::sleep(Duration::from_micros(20));
            } else {
                thread::yield_now();
            }
        }
        println!("{}", DROPPED.load(SeqCst));
    }
}

fn look<C: Reader>() {
    let id = LOOKED_FOR.load(SeqCst);
    if id == 0 || C::has(id) {
        return;
    }
    let now = meter::now().as_nanos() as u64;
    // The first to see it, and not one that has looked for the one before.
    if LOOKED_FOR.compare_exchange(id, 0, SeqCst, SeqCst).is_ok() {
        DROPPED.store(now, SeqCst);
    }
}

/// Tasks that ask Redis for other entries, seven that are there and one that is not, as long as the
/// process lives.
fn load<C: Reader>() {
    const THERE: u64 = 1_000;
    for task in 0..64 {
        tokio::spawn(async move {
            // No other task and no other process has these.
            let mut absent = (u64::from(std::process::id()) << 32) + (task << 24);
            for step in task * 61.. {
                if step % 8 == 0 {
                    absent += 1;
                    C::other(absent).await;
                } else {
                    C::other(step % THERE).await;
                }
                look::<C>();
            }
        });
    }
}
