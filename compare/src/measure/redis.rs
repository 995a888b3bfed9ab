//! Calls with Redis behind them: on loopback, beside the two workers on the same processors.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::Stopwatch;
use crate::contestants::Calls;
use crate::contestants::redis::{HandOff, Tier, Which, connect};
use crate::meter;
use crate::values::{Profile, Value};

/// So few that a server has them at hand, whatever their size.
const KEYS: u64 = 1_000;

pub async fn hit<C: Tier + Calls<V>, V: Value>(scale: f64) -> Vec<f64> {
    C::set_up().await;
    let window = Duration::from_millis(200).mul_f64(scale);
    fill::<C, V>(KEYS).await;
    spin::<C, V>(64, window / 4).await;

    let mut figures = Vec::new();
    for tasks in [1, 64, 256] {
        let spin = spin::<C, V>(tasks, window).await;
        figures.push(spin.calls as f64 / spin.wall.as_micros() as f64 * 1e3);
        if tasks == 64 {
            figures.push(spin.cpu.as_nanos() as f64 / 1e3 / spin.calls as f64);
        }
    }
    // In the order of the columns.
    figures.swap(2, 3);
    meter::count_allocations();
    for id in 0..KEYS {
        black_box(<C as Calls<V>>::call(id).await);
    }
    figures.push(meter::allocations() as f64 / KEYS as f64);
    figures
}

/// Hits to be counted under callgrind.
pub async fn hits<C: Tier + Calls<V>, V: Value>(calls: f64) -> Vec<f64> {
    const KEYS: u64 = 16;
    C::set_up().await;
    fill::<C, V>(KEYS).await;
    for id in 0..calls as u64 {
        black_box(<C as Calls<V>>::call(id % KEYS).await);
    }
    Vec::new()
}

async fn fill<C: Calls<V>, V: Value>(keys: u64) {
    for id in 0..keys {
        <C as Calls<V>>::call(id).await;
    }
}

struct Spin {
    calls: usize,
    wall: Duration,
    cpu: Duration,
}

/// Lets `tasks` tasks call for as long as `window`, each from a key of its own on.
async fn spin<C: Tier + Calls<V>, V: Value>(tasks: u64, window: Duration) -> Spin {
    let watch = Stopwatch::start();
    let deadline = Instant::now() + window;
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < deadline {
                    for step in 0..8 {
                        let id = (task * 61 + calls as u64 + step) % KEYS;
                        black_box(<C as Calls<V>>::call(id).await);
                    }
                    calls += 8;
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

pub async fn miss<C: Tier>(scale: f64) -> Vec<f64> {
    C::set_up().await;
    let mut server = connect(AsyncConnectionConfig::new()).await;
    // The first ones connect and load the scripts.
    misses::<C>(0..64).await;
    let one = (4_000.0 * scale) as u64;
    let many = (20_000.0 * scale) as u64 / 64;

    let trips = info(&mut server, "stats", "total_reads_processed").await;
    let watch = Stopwatch::start();
    misses::<C>(64..64 + one).await;
    let wall = watch.wall();
    // Less the INFO itself.
    let trips = info(&mut server, "stats", "total_reads_processed").await - trips - 1.0;
    let mut figures = vec![
        (trips / one as f64 * 100.0).round() / 100.0,
        one as f64 / wall.as_micros() as f64 * 1e3,
    ];

    let cpu = server_cpu(&mut server).await;
    let watch = Stopwatch::start();
    let from = |task: u64| 64 + one + task * many;
    let tasks: Vec<_> =
        (0..64).map(|task| tokio::spawn(misses::<C>(from(task)..from(task + 1)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (wall, own) = (watch.wall(), watch.cpu());
    let calls = (64 * many) as f64;
    figures.push(calls / wall.as_micros() as f64 * 1e3);
    figures.push(own.as_nanos() as f64 / 1e3 / calls);
    figures.push((server_cpu(&mut server).await - cpu) * 1e6 / calls);
    figures
}

async fn misses<C: Tier>(ids: Range<u64>) {
    for id in ids {
        black_box(<C as Calls<Profile>>::call(id).await);
    }
}

/// Seconds.
pub async fn server_cpu(server: &mut MultiplexedConnection) -> f64 {
    let user = info(server, "cpu", "used_cpu_user").await;
    user + info(server, "cpu", "used_cpu_sys").await
}

pub async fn info(server: &mut MultiplexedConnection, section: &str, name: &str) -> f64 {
    let info: String = redis::cmd("INFO").arg(section).query_async(server).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().parse().unwrap()
}

/// Lets the server count from now on.
pub async fn reset(server: &mut MultiplexedConnection) {
    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(server).await.unwrap();
}

/// How many commands of these names the server has carried out, and the microseconds that it took for
/// them. What a script calls is in its time.
pub async fn sent(server: &mut MultiplexedConnection, names: &[&str]) -> (f64, f64) {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(server).await.unwrap();
    let (mut calls, mut micros) = (0.0, 0.0);
    for line in info.lines() {
        let Some((name, figures)) =
            line.strip_prefix("cmdstat_").and_then(|line| line.split_once(':'))
        else {
            continue;
        };
        if !names.contains(&name) {
            continue;
        }
        for figure in figures.split(',') {
            match figure.split_once('=').unwrap() {
                ("calls", figure) => calls += figure.parse::<f64>().unwrap(),
                ("usec", figure) => micros += figure.parse::<f64>().unwrap(),
                _ => {}
            }
        }
    }
    (calls, micros)
}

/// What a hand-off is of.
static FAILS: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicUsize = AtomicUsize::new(0);
static FIRST_ENDED: Mutex<Option<Instant>> = Mutex::new(None);
static SECOND_BEGAN: Mutex<Option<Instant>> = Mutex::new(None);

/// The function of a hand-off: the first run takes a while, and fails if it is to.
pub async fn run(id: u64) -> Result<u64, &'static str> {
    if RUNS.fetch_add(1, SeqCst) > 0 {
        *SECOND_BEGAN.lock().unwrap() = Some(Instant::now());
        return Ok(id);
    }
    // Not in step with anybody who looks every so often.
    sleep(Duration::from_millis(25 + id * 7 % 10)).await;
    *FIRST_ENDED.lock().unwrap() = Some(Instant::now());
    if FAILS.load(SeqCst) { Err("it failed") } else { Ok(id) }
}

pub async fn hand_off<C: HandOff>(scale: f64) -> Vec<f64> {
    C::set_up().await;
    let count = (30.0 * scale).ceil() as u64;
    let mut figures = Vec::new();
    for fails in [false, true] {
        let mut micros = Vec::new();
        for number in 0..=count {
            let id = number * 2 + u64::from(fails);
            FAILS.store(fails, SeqCst);
            RUNS.store(0, SeqCst);
            let first = tokio::spawn(C::call(Which::First, id));
            while RUNS.load(SeqCst) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let second = tokio::spawn(async move {
                C::call(Which::Second, id).await;
                Instant::now()
            });
            first.await.unwrap();
            let returned = second.await.unwrap();
            let until = if fails { SECOND_BEGAN.lock().unwrap().take() } else { Some(returned) };
            let ended = FIRST_ENDED.lock().unwrap().unwrap();
            // The first one of each kind connects and loads the scripts.
            if number > 0 {
                micros.push(until.unwrap().duration_since(ended).as_nanos() as f64 / 1e3);
            }
        }
        micros.sort_by(f64::total_cmp);
        figures.push(micros[micros.len() / 2]);
        figures.push(micros[micros.len() * 9 / 10]);
    }
    figures
}
