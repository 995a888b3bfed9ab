//! The tier in Redis: how it is reached, and what is asked of it.

mod breaker;
mod connection;
mod ears;
mod failure;
mod race;
mod scripts;
mod stamps;
mod subscriber;
mod supervisor;
mod tier;
mod url;
mod waiters;
mod wire;

use std::{sync::Arc, time::Duration};

use super::{Remote, backoff};
use crate::{blob::Compression, cache::OnRestart, error::ConfigError};
use scripts::Policy;
use tier::{RedisTier, TierSettings};
use url::Address;

/// What the tier is made with, beside its URL.
pub(crate) struct RedisSettings {
    pub(crate) service: String,
    pub(crate) budget: Duration,
    pub(crate) lease: Duration,
    pub(crate) max_staleness: Duration,
    pub(crate) compression: Compression,
    pub(crate) on_restart: OnRestart,
    pub(crate) random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The tier in Redis. Connects with the first command.
pub(crate) fn redis(url: &str, settings: RedisSettings) -> Result<Arc<dyn Remote>, ConfigError> {
    let address = Address::parse(url)?;
    let on_restart = match settings.on_restart {
        OnRestart::Clear => Policy::Clear,
        OnRestart::Trust => Policy::Trust,
    };
    let RedisSettings { service, budget, lease, max_staleness, compression, random, .. } = settings;
    Ok(Arc::new(RedisTier::new(TierSettings {
        address,
        service,
        budget,
        lease,
        max_staleness,
        compression,
        on_restart,
        random,
    })))
}
