//! Calls of entries that are not there: each key comes once, and the cache is full after a third.

use std::hint::black_box;
use std::ops::Range;

use super::{Stopwatch, TURN};
use crate::contestants::{Calls, Contestant};
use crate::meter;
use crate::values::{Bounded, Shared};

pub async fn time<C: Contestant>(tasks: u64, scale: f64) -> Vec<f64> {
    C::set_up(Shared::CAPACITY);
    let calls = calls(scale);
    let watch = Stopwatch::start();
    let share = calls / tasks;
    let tasks: Vec<_> = (0..tasks)
        .map(|task| tokio::spawn(misses::<C>(task * share..(task + 1) * share)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (wall, cpu) = (watch.wall(), watch.cpu());
    vec![cpu.as_nanos() as f64 / 1e3 / calls as f64, calls as f64 / wall.as_micros() as f64 * 1e3]
}

pub async fn allocations<C: Contestant>(scale: f64) -> Vec<f64> {
    C::set_up(Shared::CAPACITY);
    let calls = calls(scale);
    meter::count_allocations();
    misses::<C>(0..calls).await;
    vec![meter::allocations() as f64 / calls as f64]
}

/// A multiple of 64, so that every task has as many.
fn calls(scale: f64) -> u64 {
    (3.0 * Shared::CAPACITY as f64 * scale) as u64 / 64 * 64
}

async fn misses<C: Contestant>(ids: Range<u64>) {
    for id in ids {
        black_box(<C as Calls<Shared>>::call(id).await);
        if id % TURN as u64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}
