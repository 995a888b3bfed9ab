//! A service under load, and what can be seen of it: `/metrics` for a Prometheus, a table that refreshes,
//! and spans.
//!
//! ```sh
//! cargo run --package example-observe
//! curl http://127.0.0.1:9464/metrics
//! ```
//!
//! It needs no server; with `LARDER_URL=redis://localhost` there is a tier in Redis, too. While it runs,
//! type what goes wrong: `hang` (the database does not answer), `race` (prices are invalidated faster than
//! they can be read), `clear` (something clears the cache all the time), and `calm`. The alerts of
//! `dashboards/` fire at that. It ends with its input, or by `Ctrl-C`.
//!
//! - `--port 9464` is where `/metrics` is, on this machine alone.
//! - `--once` prints the table of two seconds, and ends.
//! - `--otel` prints the spans of four requests as OpenTelemetry has them, and ends.

mod journal;
mod load;
mod otel;
mod service;
mod table;

use std::{
    env,
    io::{IsTerminal as _, stdout},
    net::Ipv4Addr,
    time::Duration,
};

use anyhow::Context as _;
use journal::Journal;
use larder::{Cache, Stats};
use load::Trouble;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use table::Table;
use tokio::{
    sync::watch,
    task,
    time::{Instant, sleep},
};

/// The upper bounds of what times are counted by, in seconds. Without, the exporter makes summaries, which no
/// query can put together.
const BUCKETS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

#[derive(Debug)]
struct Options {
    port: u16,
    once: bool,
    otel: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { port, once, otel } = Options::read(env::args().skip(1))?;
    let mut builder = Cache::builder("observe");
    if let Some(url) = env::var("LARDER_URL").ok().filter(|url| !url.is_empty()) {
        builder = builder.redis(url);
    }
    let cache = builder.build()?;
    cache.clone().install()?;
    if otel {
        return otel::show().await;
    }
    if once {
        let (_calm, nothing_typed) = watch::channel(Trouble::Calm);
        task::spawn(load::run(nothing_typed));
        println!("{}", table(&cache, &mut Stats::default(), Duration::from_secs(2)).await);
        return Ok(());
    }
    let journal = Journal::start();
    serve_metrics(port)?;
    let load = task::spawn(load::run(load::typed()));
    if stdout().is_terminal() {
        task::spawn(show(cache.clone(), port, journal));
    }
    load.await?;
    cache.shutdown().await?;
    Ok(())
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { port: 9464, once: false, otel: false };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--once" => options.once = true,
                "--otel" => options.otel = true,
                "--port" => {
                    let port = arguments.next().context("--port needs a number")?;
                    options.port = port.parse().context("--port needs a number")?;
                }
                other => anyhow::bail!("{other}? There are --port, --once and --otel"),
            }
        }
        Ok(options)
    }
}

/// From now on what caches publish is at `/metrics`, on this machine.
fn serve_metrics(port: u16) -> anyhow::Result<()> {
    PrometheusBuilder::new()
        .with_http_listener((Ipv4Addr::LOCALHOST, port))
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install()
        .with_context(|| format!("port {port}"))
}

/// As long as the program runs.
async fn show(cache: Cache, port: u16, journal: Journal) {
    let mut before = cache.stats();
    loop {
        let table = table(&cache, &mut before, Duration::from_secs(1)).await;
        // To the top left, and what was there before is erased.
        println!("\x1b[H\x1b[J{table}");
        for line in journal.lines() {
            println!("{line}");
        }
        println!("\nhttp://127.0.0.1:{port}/metrics; type hang, race, clear or calm, and Enter");
    }
}

/// What comes from now on until so much time has passed.
async fn table(cache: &Cache, before: &mut Stats, time: Duration) -> String {
    let began = Instant::now();
    sleep(time).await;
    let now = cache.stats();
    let table = Table { before, now: &now, passed: began.elapsed() }.to_string();
    *before = now;
    table
}
