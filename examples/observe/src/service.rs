//! What the service does. What it reads from is slow, and so it is cached, limited or locked.

use std::{sync::LazyLock, time::Duration};

use larder::{LockError, RateLimited, cached, invalidates, locked, rate_limited};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};
use tracing::instrument;

/// Whether the database answers at all.
pub(crate) static HANGS: LazyLock<watch::Sender<bool>> =
    LazyLock::new(|| watch::Sender::new(false));

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    id: u64,
    name: String,
}

#[cached(ttl = 10, jitter = 10, key = "user:{id}")]
pub(crate) async fn user(id: u64) -> Result<User, String> {
    select("users").await?;
    Ok(User { id, name: format!("user {id}") })
}

/// Fails now and then, and then the old price is served.
#[cached(ttl = 1, stale = 5, stale_if_error = 60, key = "price:{symbol}", tags("prices"))]
pub(crate) async fn price(symbol: u64) -> Result<u64, String> {
    select("prices").await?;
    if fastrand::u8(..) < 10 { Err("no price".to_owned()) } else { Ok(symbol * 7 % 100) }
}

#[invalidates(user(id))]
pub(crate) async fn rename(id: u64) -> Result<(), String> {
    select("users").await
}

/// What one user may do ten times a second.
#[rate_limited(limit = 10, per = 1, key = "search:{user}")]
pub(crate) async fn search(user: u64) -> Result<(), RateLimited> {
    Ok(())
}

/// Twenty a second, in line.
#[rate_limited(limit = 20, per = 1, burst = 1, wait = "500ms", key = "mail")]
pub(crate) async fn mail() -> Result<(), RateLimited> {
    Ok(())
}

/// One at a time in the whole fleet.
#[locked(key = "report:{day}", wait = "1s")]
pub(crate) async fn report(day: u64) -> Result<(), LockError> {
    sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// A query, which has a span of its own.
#[instrument]
async fn select(table: &str) -> Result<(), String> {
    sleep(Duration::from_millis(fastrand::u64(5..20))).await;
    let answers = HANGS.subscribe().wait_for(|hangs| !hangs).await.is_ok();
    if answers { Ok(()) } else { Err("no database".to_owned()) }
}
