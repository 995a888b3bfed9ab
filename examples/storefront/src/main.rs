//! A shop: a service on PostgreSQL and Redis, whose reads are cached, each by what it is.
//!
//! ```sh
//! cargo run -p storefront     # on SQLite and memory, with no server at all
//! scripts/storefront          # on PostgreSQL and Redis, which it starts
//! scripts/headline            # what that is worth, measured
//! ```
//!
//! Its policies are in `shop/`. The page at `/` shows what they do, live.
//!
//! - `--port 8080` is where it is, on this machine alone; 0 for any that is free.
//! - `--servers` starts a PostgreSQL and a Redis for it, which end with it.
//! - `--cache both` is where values are cached: `memory`, `redis`, `both`, or `off` for nowhere. Default: `both` where
//!   there is a Redis, else `memory`.
//! - `--products 20000` is how many it makes in an empty database, with five rows more for each.
//!
//! `DATABASE_URL` names a database (`postgres://…` or `sqlite://…`), `LARDER_URL` a Redis. So a second instance comes
//! beside the first, on another port, with the two that the first one prints.
//!
//! `storefront headline` is what `scripts/headline` runs.

mod client;
mod config;
mod db;
mod headline;
mod load;
mod popularity;
mod shop;
mod web;

use std::{
    env,
    future::IntoFuture as _,
    io::{self, Write as _},
    net::Ipv4Addr,
    time::Duration,
};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use config::{Backends, Options};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use shop::{Shop, seed};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{interval, timeout},
};
use web::App;

/// The upper bounds of what times are counted by, in seconds.
const BUCKETS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// So long who is being answered when it ends may take.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// So long a Redis that is away may take to come back and hear what was invalidated meanwhile.
const LAST_REPAIRS: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "headline").is_some() {
        // One thread, so that the load takes little of the machine from what it measures.
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(headline::run(arguments));
    }
    runtime::Runtime::new()?.block_on(serve(&Options::read(arguments)?))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    let metrics = record_metrics()?;
    let backends = Backends::start(options)?;
    let cache = backends.cache(options.cache)?;
    cache.clone().install()?;
    let db = backends.connect().await?;
    seed::seed(&db, options.products).await.context("the first rows")?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
    let listener = listener.with_context(|| format!("port {}", options.port))?;
    let address = listener.local_addr()?;
    let app = App::new(Shop::new(&db), cache.clone(), metrics, address, &backends, options);
    // Before anybody can know of it: who ends it at once ends it as gracefully.
    let asked_to_end = asked_to_end()?;
    println!("http://{address}");
    // For the shell that starts a second one.
    println!("DATABASE_URL='{}' LARDER_URL='{}'", backends.database_url, backends.redis_url());

    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let (ending, ended) = oneshot::channel();
    let serving = axum::serve(listener, web::router(app.clone())).with_graceful_shutdown(async {
        asked_to_end.await;
        let _ = ending.send(());
    });
    let serving = serving.into_future();
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => served?,
        _ = ended => {
            // Who is connected and says nothing more is not waited for any longer.
            let _ = timeout(LAST_ANSWERS, serving).await;
        }
    }
    // Writes that nobody waits for any more, then what the cache still does, then the connections.
    app.finish().await;
    if timeout(LAST_REPAIRS, cache.shutdown()).await.is_err() {
        eprintln!("Redis has not heard of all that was invalidated");
    }
    db.close().await;
    // Who has started it may listen no more.
    let _ = writeln!(io::stdout(), "ended");
    Ok(())
}

/// By Ctrl-C, or as a supervisor does.
fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}

/// What is recorded from now on is what the handle shows.
fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new();
    let builder =
        builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?;
    let handle = builder.install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
