//! What `#[locked]` emits.

use std::{fmt, future::Future, sync::OnceLock, time::Duration};

use super::{Lock, Run};
use crate::{
    cache::{AsCache, Cache},
    key::{KeyBytes, KeyText},
    tally::LOCK_NAMES,
};

/// What the attribute says. A `static` in the function's body.
#[derive(Debug)]
#[doc(hidden)]
pub struct LockSite {
    template: &'static str,
    lease: u64,
    wait: u64,
    /// Of the template, for what is counted.
    number: OnceLock<u32>,
}

impl LockSite {
    #[must_use]
    pub const fn new(template: &'static str) -> Self {
        Self { template, lease: 10_000, wait: 0, number: OnceLock::new() }
    }

    /// In milliseconds.
    #[must_use]
    pub const fn lease(mut self, millis: u64) -> Self {
        self.lease = millis;
        self
    }

    /// In milliseconds.
    #[must_use]
    pub const fn wait(mut self, millis: u64) -> Self {
        self.wait = millis;
        self
    }
}

/// The lock of one call, in the cache that is current.
#[allow(clippy::needless_pass_by_value, reason = "the attribute has no more use for it")]
pub fn lock(site: &'static LockSite, key: KeyBytes) -> Locked {
    Locked::new(&Cache::current(), site, &key)
}

/// The same in a cache that is given.
#[allow(clippy::needless_pass_by_value, reason = "the attribute has no more use for it")]
pub fn lock_on(cache: &impl AsCache, site: &'static LockSite, key: KeyBytes) -> Locked {
    Locked::new(cache.as_cache(), site, &key)
}

/// The lock of one call.
#[doc(hidden)]
#[must_use = "a lock does nothing until the body is run under it"]
pub struct Locked {
    lock: Lock,
    wait: Duration,
}

impl Locked {
    fn new(cache: &Cache, site: &LockSite, key: &KeyBytes) -> Self {
        let name = KeyText::of_tag(site.template, key.as_slice(&mut [0; 9]));
        let number = *site.number.get_or_init(|| LOCK_NAMES.number_of(site.template));
        let lock = Lock::of_name(cache, name, number).lease(Duration::from_millis(site.lease));
        Self { lock, wait: Duration::from_millis(site.wait) }
    }

    /// Runs the body under the lock, and drops it when the lock is lost.
    ///
    /// The error is why the body was not run, or not to its end.
    pub fn run<F: Future>(self, body: F) -> Run<F> {
        let Self { lock, wait } = self;
        Run::new(async move { lock.acquire(wait).await }, body)
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").field("lock", &self.lock).field("wait", &self.wait).finish()
    }
}
