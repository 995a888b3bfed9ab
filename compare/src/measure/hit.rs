//! Calls of entries that are there.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Stopwatch, TURN};
use crate::contestants::{Calls, Contestant};
use crate::meter;
use crate::popularity;
use crate::values::Value;

const KEYS: u64 = 10_000;

pub async fn hit<C: Contestant + Calls<V>, V: Value>(scale: f64) -> Vec<f64> {
    C::set_up(V::CAPACITY);
    for id in 0..KEYS {
        <C as Calls<V>>::call(id).await;
    }
    let zipf: &'static [u64] = popularity::zipf(KEYS, 32 * TURN).leak();
    let hot: &'static [u64] = vec![KEYS / 2; 32 * TURN].leak();
    let window = Duration::from_millis(100).mul_f64(scale);

    // Whatever a cache puts off after the fill is not part of a hit.
    spin::<C, V>(2, zipf, window / 4).await;

    let mut figures = Vec::new();
    for keys in [zipf, hot] {
        let spin = spin::<C, V>(1, keys, window).await;
        figures.push(spin.cpu.as_nanos() as f64 / spin.calls as f64);
    }
    for tasks in [2, 64] {
        for keys in [zipf, hot] {
            let spin = spin::<C, V>(tasks, keys, window).await;
            figures.push(spin.calls as f64 / spin.wall.as_micros() as f64);
        }
    }
    figures.push(allocations::<C, V>(zipf).await);
    figures
}

struct Spin {
    calls: usize,
    wall: Duration,
    cpu: Duration,
}

/// Lets `tasks` tasks call for as long as `window`.
async fn spin<C: Contestant + Calls<V>, V: Value>(
    tasks: usize,
    keys: &'static [u64],
    window: Duration,
) -> Spin {
    let watch = Stopwatch::start();
    let deadline = Instant::now() + window;
    let tasks: Vec<_> =
        (0..tasks).map(|first| tokio::spawn(calls_until::<C, V>(deadline, keys, first))).collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    Spin { calls, wall: watch.wall(), cpu: watch.cpu() }
}

/// How many calls were done. Each task begins at a turn of its own.
async fn calls_until<C: Calls<V>, V: Value>(
    deadline: Instant,
    keys: &'static [u64],
    first: usize,
) -> usize {
    let mut calls = 0;
    for turn in keys.chunks(TURN).cycle().skip(first) {
        for &id in turn {
            black_box(<C as Calls<V>>::call(id).await);
        }
        calls += turn.len();
        if Instant::now() >= deadline {
            break;
        }
        tokio::task::yield_now().await;
    }
    calls
}

async fn allocations<C: Calls<V>, V: Value>(keys: &[u64]) -> f64 {
    meter::count_allocations();
    for &id in keys {
        black_box(<C as Calls<V>>::call(id).await);
    }
    meter::allocations() as f64 / keys.len() as f64
}
