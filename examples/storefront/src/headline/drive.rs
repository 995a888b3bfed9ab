//! The load: each client asks for one thing after another, and keeps what it was answered.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use hyper::body::Bytes;
use tokio::{task::JoinSet, time::sleep_until};

use super::{Options, fleet::Fleet};
use crate::{
    client::Client,
    load::{Ask, Mix},
};

/// What was asked, and answered.
pub(super) struct Record {
    pub(super) ask: Ask,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) body: Bytes,
}

pub(super) struct Driven {
    /// From the beginning on.
    pub(super) records: Vec<Record>,
    /// From when to when it was measured.
    pub(super) from: Instant,
    pub(super) until: Instant,
}

/// `at_start` is done when the time that is measured begins.
pub(super) async fn drive(
    fleet: &Fleet,
    mix: Mix,
    options: &Options,
    at_start: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Driven> {
    let mix = Arc::new(mix);
    let measured_from = Instant::now() + options.warm_up;
    let until = measured_from + options.measured;
    let mut clients = JoinSet::new();
    for _ in 0..options.clients {
        clients.spawn(ask(fleet.addresses.clone(), Arc::clone(&mix), until));
    }
    sleep_until(measured_from.into()).await;
    at_start().await?;
    let from = Instant::now();
    let mut records = Vec::new();
    while let Some(client) = clients.join_next().await {
        records.extend(client??);
    }
    Ok(Driven { records, from, until })
}

/// One client, who finds any of the instances at each request, as behind a balancer.
async fn ask(
    addresses: Vec<SocketAddr>,
    mix: Arc<Mix>,
    until: Instant,
) -> anyhow::Result<Vec<Record>> {
    let mut random = Rng::new();
    let mut instances = Vec::new();
    for address in addresses {
        instances.push(Client::connect(address).await?);
    }
    let mut records = Vec::new();
    loop {
        let ask = mix.next(&mut random);
        let instance = random.usize(..instances.len());
        let client = instances.get_mut(instance).context("no instance")?;
        let began = Instant::now();
        if began >= until {
            return Ok(records);
        }
        let answer = client.ask(ask.method.clone(), &ask.path, ask.body.as_ref()).await?;
        let ended = Instant::now();
        ensure!(
            answer.status.is_success(),
            "{} {}: {} {:?}",
            ask.method,
            ask.path,
            answer.status,
            answer.body
        );
        records.push(Record { ask, began, ended, body: answer.body });
    }
}

impl Driven {
    /// Those that were made and answered while it was measured.
    pub(super) fn measured(&self) -> impl Iterator<Item = &Record> {
        let is_measured =
            |record: &&Record| record.began >= self.from && record.ended <= self.until;
        self.records.iter().filter(is_measured)
    }

    pub(super) fn time(&self) -> Duration {
        self.until - self.from
    }
}

impl Record {
    pub(super) fn time(&self) -> Duration {
        self.ended - self.began
    }
}
