//! Decisions of limits: all of them allow, or all of them deny.

use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use super::redis::{reset, sent};
use super::{MIB, Stopwatch, TURN};
use crate::contestants::Limits;
use crate::contestants::redis::connect;
use crate::meter;
use crate::popularity;

/// A question of which the answer is known.
pub trait Ask: 'static {
    type Of: Limits;

    /// Once for each key, before anything else.
    fn prepare(key: u64) -> impl Future<Output = ()> + Send;

    fn ask(key: u64) -> impl Future<Output = ()> + Send;
}

pub struct Allowed<C>(PhantomData<C>);

pub struct Denied<C>(PhantomData<C>);

impl<C: Limits> Ask for Allowed<C> {
    type Of = C;

    async fn prepare(key: u64) {
        Self::ask(key).await;
    }

    async fn ask(key: u64) {
        assert!(C::wide(key).await);
    }
}

impl<C: Limits> Ask for Denied<C> {
    type Of = C;

    async fn prepare(key: u64) {
        assert!(C::narrow(key).await);
    }

    async fn ask(key: u64) {
        assert!(!C::narrow(key).await);
    }
}

/// How many keys are asked for, if there can be more than one.
fn keys<A: Ask>(keys: u64) -> u64 {
    if A::Of::HAS_KEYS { keys } else { 1 }
}

pub async fn in_memory<A: Ask>(scale: f64) -> Vec<f64> {
    A::Of::set_up().await;
    let keys = keys::<A>(10_000);
    for key in 0..keys {
        A::prepare(key).await;
    }
    let zipf: &'static [u64] = popularity::zipf(keys, 32 * TURN).leak();
    let hot: &'static [u64] = vec![keys / 2; 32 * TURN].leak();
    let window = Duration::from_millis(100).mul_f64(scale);
    spin::<A>(2, zipf, TURN, window / 4).await;

    let mut figures = Vec::new();
    for keys in [hot, zipf] {
        let spun = spin::<A>(1, keys, TURN, window).await;
        figures.push(spun.cpu.as_nanos() as f64 / spun.calls as f64);
    }
    for keys in [hot, zipf] {
        let spun = spin::<A>(64, keys, TURN, window).await;
        figures.push(spun.calls as f64 / spun.wall.as_micros() as f64);
    }
    figures.push(allocations::<A>(zipf).await);
    figures
}

/// Decisions to be counted under callgrind.
pub async fn counted<A: Ask>(calls: f64) -> Vec<f64> {
    A::Of::set_up().await;
    let keys = keys::<A>(16);
    for key in 0..keys {
        A::prepare(key).await;
    }
    for call in 0..calls as u64 {
        A::ask(call % keys).await;
    }
    Vec::new()
}

/// The first decision of each of so many keys: what it takes.
pub async fn new_keys<C: Limits>(keys: u64) -> Vec<f64> {
    C::set_up().await;
    let watch = Stopwatch::start();
    for key in 0..keys {
        Denied::<C>::prepare(key).await;
    }
    vec![watch.cpu().as_nanos() as f64 / keys as f64]
}

/// And what it leaves for an hour, in all and for each key.
pub async fn memory<C: Limits>(keys: u64) -> Vec<f64> {
    meter::count_allocations();
    C::set_up().await;
    for key in 0..keys {
        Denied::<C>::prepare(key).await;
    }
    let bytes = meter::live_bytes() as f64;
    vec![bytes / MIB, (bytes / keys as f64).round()]
}

/// Decisions on keys that were asked for before, and, where they deny, were denied.
pub async fn in_redis<A: Ask>(scale: f64) -> Vec<f64> {
    /// So many are asked for between two looks at the clock.
    const FEW: usize = 16;
    A::Of::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    let keys = keys::<A>(1_000);
    for key in 0..keys {
        A::prepare(key).await;
    }
    each::<A>(64, 0..keys).await;
    let keys: &'static [u64] = popularity::uniform(keys, 32 * TURN).leak();
    let window = Duration::from_millis(200).mul_f64(scale);
    let one = spin::<A>(1, keys, FEW, window).await;
    reset(&mut server).await;
    let many = spin::<A>(64, keys, FEW, window).await;
    let mut figures = figures::<A>(&one, &many, &mut server).await;
    figures.push(allocations::<A>(&keys[..1_000]).await);
    figures
}

/// Decisions of which each is the first that denies its key.
pub async fn first_denials<C: Limits>(scale: f64) -> Vec<f64> {
    const FIRST: u64 = 64;
    C::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    let one = FIRST + (3_000.0 * scale) as u64;
    let many = one + (20_000.0 * scale) as u64;
    let last: Vec<_> = (many..many + 1_000).collect();
    for key in 0..many + 1_000 {
        Denied::<C>::prepare(key).await;
    }
    each::<Denied<C>>(64, 0..FIRST).await;
    let spun = each::<Denied<C>>(1, FIRST..one).await;
    reset(&mut server).await;
    let many = each::<Denied<C>>(64, one..many).await;
    let mut figures = figures::<Denied<C>>(&spun, &many, &mut server).await;
    figures.push(allocations::<Denied<C>>(&last).await);
    figures
}

struct Spun {
    calls: usize,
    wall: Duration,
    cpu: Duration,
}

/// Of one task, and of many since the counts of the server were reset.
async fn figures<A: Ask>(one: &Spun, many: &Spun, server: &mut MultiplexedConnection) -> Vec<f64> {
    let (sent, micros) = sent(server, A::Of::SENDS).await;
    let calls = many.calls as f64;
    vec![
        one.wall.as_nanos() as f64 / 1e3 / one.calls as f64,
        calls / many.wall.as_micros() as f64 * 1e3,
        many.cpu.as_nanos() as f64 / 1e3 / calls,
        micros / calls,
        (sent / calls * 100.0).round() / 100.0,
    ]
}

/// Lets `tasks` tasks ask for as long as `window`, each from a turn of its own on.
async fn spin<A: Ask>(tasks: usize, keys: &'static [u64], turn: usize, window: Duration) -> Spun {
    let watch = Stopwatch::start();
    let deadline = Instant::now() + window;
    let tasks: Vec<_> = (0..tasks)
        .map(|first| tokio::spawn(ask_until::<A>(deadline, keys.chunks(turn).cycle().skip(first))))
        .collect();
    spun(watch, tasks).await
}

async fn ask_until<A: Ask>(
    deadline: Instant,
    turns: impl Iterator<Item = &'static [u64]>,
) -> usize {
    let mut calls = 0;
    for turn in turns {
        for &key in turn {
            A::ask(key).await;
        }
        calls += turn.len();
        if Instant::now() >= deadline {
            break;
        }
        tokio::task::yield_now().await;
    }
    calls
}

/// Lets `tasks` tasks ask once for each key.
async fn each<A: Ask>(tasks: usize, keys: Range<u64>) -> Spun {
    let watch = Stopwatch::start();
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let keys = keys.clone().skip(task).step_by(tasks);
            tokio::spawn(async move {
                let mut calls = 0;
                for key in keys {
                    A::ask(key).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    spun(watch, tasks).await
}

async fn spun(watch: Stopwatch, tasks: Vec<JoinHandle<usize>>) -> Spun {
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    Spun { calls, wall: watch.wall(), cpu: watch.cpu() }
}

async fn allocations<A: Ask>(keys: &[u64]) -> f64 {
    meter::count_allocations();
    for &key in keys {
        A::ask(key).await;
    }
    meter::allocations() as f64 / keys.len() as f64
}
