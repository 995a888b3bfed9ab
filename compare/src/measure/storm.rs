//! What was stored together expires together: how many runs that makes at once, in a fleet that goes on
//! reading.

use std::io::stdin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::Case;
use crate::contestants::redis::{Storm, set_up_storm as set_up};
use crate::meter;
use crate::popularity;
use crate::process::Peer;

/// How long an entry lives, without what is added to it.
pub const LIFE: Duration = Duration::from_secs(2);

/// What is a point of the picture.
pub const STEP: Duration = Duration::from_millis(100);

const STEPS: usize = 50;
const KEYS: u64 = 10_000;
const PROCESSES: u64 = 4;

/// How long the function takes.
const RUN: Duration = Duration::from_millis(20);

/// So many reads of a process at once, and so often.
const READS: usize = 5;
const TICK: Duration = Duration::from_millis(1);
const TICKS: usize = (STEP.as_millis() / TICK.as_millis()) as usize * STEPS;

/// By the clock of all processes.
static BEGAN: OnceLock<Duration> = OnceLock::new();
static RUNS: [AtomicU64; STEPS] = [const { AtomicU64::new(0) }; STEPS];

/// The function.
pub async fn run() {
    if let Some(since) = BEGAN.get().and_then(|began| meter::now().checked_sub(*began)) {
        let step = since.as_millis() / STEP.as_millis();
        if let Some(runs) = RUNS.get(step as usize) {
            runs.fetch_add(1, Relaxed);
        }
    }
    sleep(RUN).await;
}

/// From when they are stored until they are read.
const PAUSE: Duration = Duration::from_millis(500);

/// What is looked at by itself: the most popular keys, if some are.
const FIRST: u64 = 100;

/// The most runs, all of them, who waited and how long, and then the runs step by step.
pub async fn storm<C: Storm>(case: Case) -> Vec<f64> {
    let mut peers: Vec<_> = (1..PROCESSES).map(|_| Peer::start()).collect();
    set_up().await;
    for (number, peer) in (1..).zip(&mut peers) {
        peer.tell(number);
        peer.hear();
    }
    let began = meter::now() + PAUSE;
    let keys: Vec<_> = (0..KEYS).collect();
    join_all(keys.chunks(1_000).map(C::fill)).await;
    if meter::now() > began {
        eprintln!("This machine was too slow: the keys were not stored in time.");
    }
    for peer in &mut peers {
        peer.tell(began.as_nanos() as u64);
    }
    let mut calls = read::<C>(case, 0, began).await;
    let mut runs = runs();
    for peer in &mut peers {
        for runs in &mut runs {
            *runs += peer.hear();
        }
        let count = peer.hear();
        calls.extend((0..count).map(|_| Call { id: peer.hear(), micros: peer.hear() }));
    }
    calls.sort_unstable_by_key(|call| call.micros);
    let most = *runs.iter().max().unwrap();
    let mut figures = vec![
        most as f64,
        runs.iter().sum::<u64>() as f64,
        waited(calls.iter()),
        waited(calls.iter().filter(|call| call.id < FIRST)),
        calls[calls.len() * 99 / 100].micros as f64 / 1e3,
    ];
    figures.extend(runs.iter().map(|&runs| runs as f64));
    figures
}

/// How many in a hundred waited for a run.
fn waited<'a>(calls: impl Iterator<Item = &'a Call> + Clone) -> f64 {
    let waited = calls.clone().filter(|call| u128::from(call.micros) > RUN.as_micros() / 2);
    waited.count() as f64 / calls.count() as f64 * 100.0
}

/// One of the other processes.
pub async fn peer<C: Storm>(case: Case) {
    let mut lines = stdin().lines().map(|line| line.unwrap().parse::<u64>().unwrap());
    let number = lines.next().unwrap();
    set_up().await;
    println!("{number}");
    let Some(began) = lines.next() else { return };
    let calls = read::<C>(case, number, Duration::from_nanos(began)).await;
    for number in runs() {
        println!("{number}");
    }
    println!("{}", calls.len());
    for Call { id, micros } in calls {
        println!("{id}\n{micros}");
    }
}

fn runs() -> Vec<u64> {
    RUNS.iter().map(|runs| runs.load(Relaxed)).collect()
}

/// One, and how long it took.
struct Call {
    id: u64,
    micros: u64,
}

/// Reads from then on, at a steady rate whatever the calls take.
async fn read<C: Storm>(case: Case, process: u64, began: Duration) -> Vec<Call> {
    BEGAN.set(began).unwrap();
    let length = TICKS * READS;
    let keys = if case == Case::StormZipf {
        popularity::zipf(KEYS, length * PROCESSES as usize)
    } else {
        popularity::uniform(KEYS, length * PROCESSES as usize)
    };
    // Nobody reads what another does.
    let keys = keys.into_iter().skip(process as usize * length).take(length);
    let keys: Vec<_> = keys.collect();
    let began = Instant::now() + began.saturating_sub(meter::now());
    let mut calls = JoinSet::new();
    for (tick, keys) in (0..).zip(keys.chunks(READS)) {
        sleep_until((began + TICK * tick).into()).await;
        for &id in keys {
            calls.spawn(async move {
                let called = Instant::now();
                C::call(id).await;
                Call { id, micros: called.elapsed().as_micros() as u64 }
            });
        }
    }
    let late = began.elapsed().saturating_sub(TICK * TICKS as u32);
    if late > STEP {
        eprintln!("This machine was too slow: the last reads were {late:?} late.");
    }
    calls.join_all().await
}
