//! A forecast from a service that is slow, and sometimes down: who waits for it, and what they get
//! meanwhile.
//!
//! ```sh
//! cargo run --example freshness
//! ```
//!
//! It needs no server. The minutes that pass are those of a clock that the example moves; what a call
//! took is real.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use larder::{Cache, Cached, ManualClock, cached};
use tokio::{task::JoinSet, time::sleep};

/// The service: how long it takes, whether it is down, and how often it was asked.
static TAKES_MS: AtomicU64 = AtomicU64::new(50);
static IS_DOWN: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicU32 = AtomicU32::new(0);

type Forecast = Result<String, &'static str>;

async fn ask(city: &str) -> Forecast {
    let run = RUNS.fetch_add(1, SeqCst) + 1;
    sleep(Duration::from_millis(TAKES_MS.load(SeqCst))).await;
    if IS_DOWN.load(SeqCst) { Err("the service is down") } else { Ok(format!("{city}, {run}")) }
}

/// Past its minute the old value is served for an hour, and one caller sees to a new one. The argument
/// is owned, so the run goes on by itself and that caller has the old value at once, too.
#[cached(ttl = 60, stale = "1h", key = "stale:{city}")]
async fn served_stale(city: String) -> Forecast {
    ask(&city).await
}

/// Of a borrowed argument nothing can go on by itself: who sees to the new value waits for it.
#[cached(ttl = 60, stale = "1h", key = "borrowed:{city}")]
async fn borrowed(city: &str) -> Forecast {
    ask(city).await
}

/// The old value is for those whose run has failed.
#[cached(ttl = 60, stale_if_error = "1h", key = "safe:{city}")]
async fn safe(city: String) -> Forecast {
    ask(&city).await
}

/// Nobody waits for longer than this while there is an old value.
#[cached(ttl = 60, stale_if_error = "1h", max_wait = "50ms", key = "bounded:{city}")]
async fn bounded(city: String) -> Forecast {
    ask(&city).await
}

/// Lives that end soon, as the last scene goes by the clock of the machine.
#[cached(ttl = "400ms", key = "late:{city}")]
async fn on_time(city: String) -> Forecast {
    ask(&city).await
}

/// The nearer its end, and the longer a run takes, the likelier it is that a read begins one.
#[cached(ttl = "400ms", refresh_early, key = "early:{city}")]
async fn early(city: String) -> Forecast {
    ask(&city).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = ManualClock::new();
    let cache = Cache::builder("weather").clock(clock.clone()).build()?;
    cache.scope(on_a_clock_that_is_moved(&clock)).await?;
    println!("\nAs counted (by that clock a run takes no time):\n{}", cache.stats());

    title("`refresh_early`: what is read all the time is renewed before anybody has to wait");
    let cache = Cache::builder("weather").build()?;
    cache.scope(async { tokio::join!(read("ttl alone", on_time), read("early", early)) }).await;
    // Runs that nobody waits for are waited for here.
    cache.shutdown().await?;
    Ok(())
}

async fn on_a_clock_that_is_moved(clock: &ManualClock) -> Result<(), larder::Error> {
    let oslo = || "Oslo".to_owned();
    let minutes = |number: u64| clock.advance(Duration::from_secs(60 * number));

    title("`stale`: nobody waits for a refresh");
    show("cold", served_stale(oslo())).await;
    minutes(2);
    show("2 minutes later: old, and a run begins", served_stale(oslo())).await;
    let callers: JoinSet<_> = (0..1_000).map(|_| served_stale(oslo())).collect();
    let old = callers.join_all().await.iter().filter(|old| old.as_deref() == Ok("Oslo, 1")).count();
    println!("{old} of 1,000 others have it meanwhile");
    show("and begin no other run", served_stale(oslo())).await;
    sleep(Duration::from_millis(100)).await;
    show("when it has ended", served_stale(oslo())).await;
    minutes(62);
    show("an hour past its life it is as good as none", served_stale(oslo())).await;

    title("The same with a borrowed argument: one waits, who sees to it");
    show("cold", borrowed("Oslo")).await;
    minutes(2);
    tokio::join!(
        show("the first caller after 2 minutes", borrowed("Oslo")),
        show("the second", borrowed("Oslo")),
    );

    title("`stale_if_error`: it survives that the service is down");
    show("cold", safe(oslo())).await;
    minutes(2);
    IS_DOWN.store(true, SeqCst);
    show("down: old, after a run that failed", safe(oslo())).await;
    show("nobody tries again for 10 seconds", safe(oslo())).await;
    clock.advance(Duration::from_secs(11));
    show("somebody does, 11 seconds later", safe(oslo())).await;
    safe(oslo()).invalidate().await?;
    show("but nothing from before an invalidation", safe(oslo())).await;
    IS_DOWN.store(false, SeqCst);
    show("up again", safe(oslo())).await;

    title("`max_wait`: 50 ms are enough");
    show("cold", bounded(oslo())).await;
    minutes(2);
    TAKES_MS.store(150, SeqCst);
    show("slow: old, after the wait", bounded(oslo())).await;
    show("the next one waits for the same run", bounded(oslo())).await;
    sleep(Duration::from_millis(100)).await;
    show("which went on", bounded(oslo())).await;
    TAKES_MS.store(50, SeqCst);
    Ok(())
}

/// Makes a call, and prints what came of it.
async fn show<F: Future<Output = Forecast>>(when: &str, call: Cached<F>) {
    let start = Instant::now();
    let (forecast, source) = call.with_source().await;
    let (took, runs) = (start.elapsed(), RUNS.load(SeqCst));
    let forecast = forecast.unwrap_or_else(|error| format!("error: {error}"));
    println!("{when:44} {took:>9.1?}  {runs:>2} runs  {forecast:27} {source:?}");
}

/// Reads as fast as it goes for a second, and prints how long somebody had to wait.
async fn read<F: Future<Output = Forecast>>(how: &str, call: impl Fn(String) -> Cached<F>) {
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    let _cold = call("Oslo".to_owned()).await;
    let mut reads = 0;
    while start.elapsed() < Duration::from_secs(1) {
        let called = Instant::now();
        let _forecast = call("Oslo".to_owned()).await;
        longest = longest.max(called.elapsed());
        reads += 1;
        sleep(Duration::from_millis(1)).await;
    }
    println!("{how:10} {reads:>5} reads, of which the longest took {longest:.1?}");
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
