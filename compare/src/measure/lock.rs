//! Locks: of one who has no rival, and of several who have one another.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::redis::{reset, sent};
use super::{Stopwatch, TURN, quantile};
use crate::contestants::Locks;
use crate::contestants::redis::connect;
use crate::meter;

/// So many locks, and tasks.
const TASKS: u64 = 64;

/// Whose locks these are.
#[derive(Clone, Copy)]
enum Rivals {
    /// Each task has one of its own.
    None,
    /// All have one.
    All,
}

pub async fn in_memory<C: Locks>(scale: f64) -> Vec<f64> {
    C::set_up(1).await;
    let window = Duration::from_millis(100).mul_f64(scale);
    spin::<C>(TASKS, Rivals::None, TURN, window / 4).await;

    let one = spin::<C>(1, Rivals::None, TURN, window).await;
    let mut figures = vec![one.cpu.as_nanos() as f64 / one.calls as f64];
    for rivals in [Rivals::None, Rivals::All] {
        let many = spin::<C>(TASKS, rivals, TURN, window).await;
        figures.push(many.calls as f64 / many.wall.as_micros() as f64);
    }
    figures.push(allocations::<C>().await);
    figures
}

/// Acquisitions to be counted under callgrind.
pub async fn counted<C: Locks>(calls: f64) -> Vec<f64> {
    C::set_up(1).await;
    for call in 0..calls as u64 {
        acquire::<C>(call % TASKS).await;
    }
    Vec::new()
}

pub async fn in_redis<C: Locks>(scale: f64) -> Vec<f64> {
    /// So many between two looks at the clock.
    const FEW: usize = 8;
    C::set_up(1).await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    let window = Duration::from_millis(300).mul_f64(scale);
    // The first ones connect and load the scripts.
    spin::<C>(TASKS, Rivals::None, FEW, window / 4).await;

    let one = spin::<C>(1, Rivals::None, FEW, window).await;
    reset(&mut server).await;
    let many = spin::<C>(TASKS, Rivals::None, FEW, window).await;
    let (sent, micros) = sent(&mut server, C::SENDS).await;
    let calls = many.calls as f64;
    vec![
        one.wall.as_nanos() as f64 / 1e3 / one.calls as f64,
        calls / many.wall.as_micros() as f64 * 1e3,
        many.cpu.as_nanos() as f64 / 1e3 / calls,
        micros / calls,
        (sent / calls * 100.0).round() / 100.0,
        allocations::<C>().await,
    ]
}

struct Spin {
    calls: usize,
    wall: Duration,
    cpu: Duration,
}

/// Lets `tasks` tasks take locks and give them back for as long as `window`.
async fn spin<C: Locks>(tasks: u64, rivals: Rivals, turn: usize, window: Duration) -> Spin {
    let watch = Stopwatch::start();
    let deadline = Instant::now() + window;
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let lock = match rivals {
                Rivals::None => task,
                Rivals::All => 0,
            };
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < deadline {
                    for _ in 0..turn {
                        acquire::<C>(lock).await;
                    }
                    calls += turn;
                    tokio::task::yield_now().await;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    Spin { calls, wall: watch.wall(), cpu: watch.cpu() }
}

async fn acquire<C: Locks>(lock: u64) {
    black_box(C::run(0, lock, async { lock }).await);
}

async fn allocations<C: Locks>() -> f64 {
    const CALLS: u64 = 1_000;
    meter::count_allocations();
    for call in 0..CALLS {
        acquire::<C>(call % TASKS).await;
    }
    meter::allocations() as f64 / CALLS as f64
}

const CONTENDERS: usize = 8;
const HELD: Duration = Duration::from_millis(5);

/// What the contenders do between two acquisitions.
#[derive(Clone, Copy)]
pub enum Pause {
    /// Something else, about as long as they hold the lock.
    Short,
    None,
}

static IS_HELD: AtomicBool = AtomicBool::new(false);
/// Who had it last, and when he began to give it back.
static LAST: Mutex<Option<(usize, Instant)>> = Mutex::new(None);

/// All want the lock all the time: how long it is nobody's, and who gets it how often.
pub async fn contention<C: Locks>(pause: Pause, scale: f64) -> Vec<f64> {
    C::set_up(CONTENDERS).await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    // The first ones connect and load the scripts.
    contend::<C>(pause, Duration::from_millis(200)).await;
    reset(&mut server).await;
    let (acquired, mut micros) = contend::<C>(pause, Duration::from_secs(4).mul_f64(scale)).await;
    let all: usize = acquired.iter().sum();
    let fewest = *acquired.iter().min().unwrap() as f64;
    let most = *acquired.iter().max().unwrap() as f64;
    match pause {
        Pause::Short => vec![
            quantile(&mut micros, 0.5),
            quantile(&mut micros, 0.99),
            commands::<C>(&mut server, all).await,
            all as f64,
            fewest,
            most,
        ],
        Pause::None => {
            vec![commands::<C>(&mut server, all).await, all as f64, fewest, most]
        }
    }
}

async fn commands<C: Locks>(server: &mut MultiplexedConnection, acquired: usize) -> f64 {
    let (sent, _) = sent(server, C::SENDS).await;
    (sent / acquired as f64 * 100.0).round() / 100.0
}

/// How often each contender had the lock, and the microseconds from one of them to another.
async fn contend<C: Locks>(pause: Pause, window: Duration) -> (Vec<usize>, Vec<f64>) {
    let deadline = Instant::now() + window;
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|contender| {
            tokio::spawn(async move {
                let (mut acquired, mut micros) = (0, Vec::new());
                while Instant::now() < deadline {
                    micros.extend(C::run(contender, 0, hold(contender)).await);
                    acquired += 1;
                    if let Pause::Short = pause {
                        // Not in step with one another.
                        sleep(HELD + Duration::from_micros(acquired as u64 * 977 % 3_000)).await;
                    }
                }
                (acquired, micros)
            })
        })
        .collect();
    let (mut acquired, mut micros) = (Vec::new(), Vec::new());
    for task in tasks {
        let (count, times) = task.await.unwrap();
        acquired.push(count);
        micros.extend(times);
    }
    *LAST.lock().unwrap() = None;
    (acquired, micros)
}

/// The microseconds since another gave it back.
async fn hold(contender: usize) -> Option<f64> {
    let now = Instant::now();
    assert!(!IS_HELD.swap(true, SeqCst), "two have it");
    let last = LAST.lock().unwrap().take();
    sleep(HELD).await;
    assert!(IS_HELD.swap(false, SeqCst));
    *LAST.lock().unwrap() = Some((contender, Instant::now()));
    let (last, ended) = last?;
    (last != contender).then(|| now.duration_since(ended).as_nanos() as f64 / 1e3)
}
