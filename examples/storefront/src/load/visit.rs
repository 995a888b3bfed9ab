use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Kind, Mix};
use crate::client::Client;

/// So many ask at once.
const CLIENTS: u64 = 16;

/// How a number of requests went.
#[derive(Debug, Serialize)]
pub(crate) struct Visit {
    requests: usize,
    failed: usize,
    /// Of those that failed: they wait for a lock, for a second at most.
    failed_checkouts: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Asks a service for so much, over HTTP.
pub(crate) async fn visit(
    address: SocketAddr,
    mix: &Arc<Mix>,
    requests: u64,
) -> anyhow::Result<Visit> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let share = requests / CLIENTS + u64::from(number < requests % CLIENTS);
        clients.spawn(ask(address, Arc::clone(mix), share));
    }
    let mut times = Vec::new();
    let mut failed = Vec::new();
    while let Some(client) = clients.join_next().await {
        let (its_times, its_failed) = client??;
        times.extend(its_times);
        failed.extend(its_failed);
    }
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    let at = |share: usize| millis(times.get(times.len() * share / 100).copied());
    Ok(Visit {
        requests: times.len(),
        failed: failed.len(),
        failed_checkouts: failed.iter().filter(|kind| **kind == Kind::CheckOut).count(),
        per_second,
        p50_ms: at(50),
        p99_ms: at(99),
    })
}

async fn ask(
    address: SocketAddr,
    mix: Arc<Mix>,
    requests: u64,
) -> anyhow::Result<(Vec<Duration>, Vec<Kind>)> {
    let mut client = Client::connect(address).await?;
    let mut random = Rng::new();
    let mut times = Vec::new();
    let mut failed = Vec::new();
    for _ in 0..requests {
        let ask = mix.next(&mut random);
        let began = Instant::now();
        let answer = client.ask(ask.method, &ask.path, ask.body.as_ref()).await?;
        times.push(began.elapsed());
        if answer.status.is_server_error() {
            failed.push(ask.kind);
        }
    }
    Ok((times, failed))
}

fn millis(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64() * 1e3
}
