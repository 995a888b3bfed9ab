//! A nightly report that several workers begin at once: it is made once, some would rather not wait, and
//! one that was away for too long changes nothing any more.
//!
//! ```sh
//! cargo run --example lock
//! ```
//!
//! It needs no server: the lock is one of this process then. With `Cache::builder("reports").redis(url)` it
//! is one of all processes, and nothing else here is different.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use larder::{Cache, Lock, fence, locked};
use tokio::{task::JoinSet, time::sleep};

/// How long it takes to make a report.
const TAKES: Duration = Duration::from_millis(50);

type Failure = Box<dyn Error + Send + Sync>;

/// Where the report is kept, with the fence of the one that has written it. It refuses a lower one: in a
/// database, `UPDATE report SET text = $1, fence = $2 WHERE fence <= $2`.
#[derive(Debug, Default)]
struct Reports(Mutex<(u64, Option<String>)>);

impl Reports {
    fn write(&self, fence: u64, text: &str) -> Result<(), &'static str> {
        let mut report = self.0.lock().unwrap();
        if fence < report.0 {
            return Err("refused, for somebody has had the lock since");
        }
        *report = (fence, Some(text.to_owned()));
        Ok(())
    }

    fn text(&self) -> Option<String> {
        self.0.lock().unwrap().1.clone()
    }
}

/// One worker at a time; who comes later finds what the first has made.
#[locked(key = "report:{year}", wait = "5s")]
async fn make_report(reports: Arc<Reports>, year: u32) -> Result<&'static str, Failure> {
    if reports.text().is_some() {
        return Ok("found it");
    }
    sleep(TAKES).await;
    // `None` outside of a lock.
    let fence = fence().unwrap_or_default();
    reports.write(fence, &format!("the report of {year}"))?;
    Ok("made it")
}

/// The same, for those who have something better to do than to wait.
#[locked(key = "report:{year}")]
async fn make_report_or_leave(reports: Arc<Reports>, year: u32) -> Result<&'static str, Failure> {
    let fence = fence().unwrap_or_default();
    reports.write(fence, &format!("another report of {year}"))?;
    Ok("made another")
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let cache = Cache::memory();
    cache.scope(scenes(&cache)).await
}

async fn scenes(cache: &Cache) -> Result<(), Failure> {
    let reports = Arc::new(Reports::default());

    title("Four workers begin at once");
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 1..=4 {
        let reports = Arc::clone(&reports);
        // The lock is that of the scope in which the call is made.
        let work = cache.scope(async move { (worker, make_report(reports, 2026).await) });
        workers.spawn(work);
    }
    for (worker, did) in workers.join_all().await {
        println!("worker {worker} {}, {:.0?} after the start", did?, start.elapsed());
    }

    title("The same lock without the attribute, and who would rather not wait for it");
    let lock = Lock::new(cache, "report:2026");
    let guard = lock.acquire(Duration::ZERO).await?;
    show("at once", make_report_or_leave(Arc::clone(&reports), 2026).await);
    let (start, others) = (Instant::now(), lock.acquire(TAKES).await);
    println!(
        "for {:.0?}: {}",
        start.elapsed(),
        others.err().map_or("had it".into(), |e| e.to_string())
    );

    title("A wait that pays");
    let start = Instant::now();
    let waiting = tokio::spawn(async move { lock.acquire(Duration::from_secs(5)).await });
    sleep(TAKES).await;
    let first = guard.fence();
    guard.release().await?;
    let second = waiting.await??;
    let is_greater = second.fence() > first;
    println!("handed over after {:.0?}, with a greater fence: {is_greater}", start.elapsed());

    title("The first one was frozen, had lost the lock, and does not know it");
    show("the second writes", reports.write(second.fence(), "of the second").map(|()| "done"));
    show("the first one writes", reports.write(first, "of the first").map(|()| "done"));
    println!("there is: {:?}", reports.text().unwrap_or_default());
    second.release().await?;
    Ok(())
}

fn show<E: ToString>(what: &str, outcome: Result<&str, E>) {
    let outcome = outcome.map_or_else(|error| error.to_string(), str::to_owned);
    println!("{what}: {outcome}");
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
