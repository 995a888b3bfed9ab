//! A nightly report that several workers would begin at once: one of them does, the others wait or give
//! up, and one that was away for too long changes nothing any more.
//!
//! ```sh
//! cargo run --example lock
//! ```
//!
//! It needs no server: the lock is one of this process then. With `Cache::builder("reports").redis(url)` it
//! is one of all processes, and nothing else here is different.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use larder::{Cache, Lock, LockError};
use tokio::{task::JoinSet, time::sleep};

/// How long a report takes.
const TAKES: Duration = Duration::from_millis(50);

/// Where reports are kept. It refuses whoever comes with a fence below the greatest that it has seen: in a
/// database, `UPDATE report SET …, fence = $2 WHERE id = $1 AND fence <= $2`.
#[derive(Debug, Default)]
struct Reports(Mutex<(u64, String)>);

impl Reports {
    fn write(&self, fence: u64, text: &str) -> Result<(), &'static str> {
        let mut report = self.0.lock().unwrap();
        if fence < report.0 {
            return Err("refused: somebody has had the lock since");
        }
        *report = (fence, text.to_owned());
        Ok(())
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().1.clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, "report:2026");

    title("One at a time, in the order in which they came");
    let (start, inside) = (Instant::now(), Arc::new(AtomicU32::new(0)));
    let mut workers = JoinSet::new();
    for worker in 1..=4 {
        let (lock, inside) = (lock.clone(), Arc::clone(&inside));
        workers.spawn(async move {
            let guard = lock.acquire(Duration::from_secs(5)).await?;
            let others = inside.fetch_add(1, SeqCst);
            println!(
                "worker {worker} has it after {:>5.1?}, {others} others inside",
                start.elapsed()
            );
            sleep(TAKES).await;
            inside.fetch_sub(1, SeqCst);
            guard.release().await
        });
    }
    for done in workers.join_all().await {
        done?;
    }

    title("Who would rather not wait");
    let guard = lock.acquire(Duration::ZERO).await?;
    let at_once = lock.try_acquire().await?;
    println!("at once: {}", if at_once.is_some() { "taken" } else { "somebody has it" });
    let start = Instant::now();
    match lock.acquire(TAKES).await {
        Err(error @ LockError::TimedOut) => println!("after {:.0?}: {error}", start.elapsed()),
        other => println!("{other:?}"),
    }

    title("A wait that pays");
    let (start, next) = (Instant::now(), lock.clone());
    let waiting = tokio::spawn(async move { next.acquire(Duration::from_secs(5)).await });
    sleep(TAKES).await;
    let first = guard.fence();
    guard.release().await?;
    let guard = waiting.await.unwrap()?;
    println!(
        "handed over after {:.0?}, with a greater fence: {}",
        start.elapsed(),
        guard.fence() > first
    );

    title("One that was frozen, and comes back when its lease is over and another has the lock");
    let reports = Reports::default();
    let of_late = reports.write(guard.fence(), "of the second worker");
    println!("the second worker writes: {of_late:?}");
    println!("the first one, who has lost it: {:?}", reports.write(first, "of the first worker"));
    println!("the report is {}", reports.text());
    Ok(())
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
