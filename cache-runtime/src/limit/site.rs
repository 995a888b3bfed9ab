//! What `#[rate_limited]` emits: a site, and a guard for each call.

use std::{
    sync::{OnceLock, atomic::AtomicBool},
    time::Duration,
};

use super::{
    Algorithm, Allowed, RateLimited, Rule, WhenDown,
    claim::Claim,
    denial::Quota,
    name::{Name, Scope, Title},
};
use crate::{
    cache::{AsCache, Cache},
    key::{KeyBytes, function_of, without_parameters},
    tally::LIMIT_NAMES,
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
    /// Of the call that came first.
    known: OnceLock<Known>,
    /// Of its name, for what is counted.
    number: OnceLock<u32>,
}

/// What follows from what the site says, under one limit and of one instance of the function.
#[derive(Debug, Clone, Copy)]
struct Known {
    limit: u32,
    path: &'static str,
    rule: Rule,
    scope: Scope,
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
            known: OnceLock::new(),
            number: OnceLock::new(),
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

    fn per_time(&self) -> Duration {
        Duration::from_millis(self.per)
    }

    /// What the calls under this limit have in common.
    fn known(&self, path: &'static str, limit: u32) -> Known {
        let known = self.known.get_or_init(|| self.learn(path, limit));
        let is_path =
            self.template.is_some() || std::ptr::eq(known.path, path) || known.path == path;
        match (is_path, known.limit == limit) {
            (true, true) => *known,
            // The limit is an expression that has another value.
            (true, false) => Known { limit, rule: self.rule(limit), ..*known },
            (false, _) => self.learn(path, limit),
        }
    }

    fn number(&self, path: &'static str) -> u32 {
        *self.number.get_or_init(|| match self.template {
            Some(template) => LIMIT_NAMES.number_of(template),
            None => LIMIT_NAMES.number_of(&without_parameters(function_of(path))),
        })
    }

    fn learn(&self, path: &'static str, limit: u32) -> Known {
        let rule = self.rule(limit);
        Known { limit, path, rule, scope: Scope::new(self.title(path), rule) }
    }

    fn rule(&self, limit: u32) -> Rule {
        Rule::new(self.algorithm, limit, self.per_time(), self.burst)
    }

    fn title(&self, path: &'static str) -> Title<'static> {
        match self.template {
            Some(template) => Title::Template(template),
            None => Title::Function(path),
        }
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
#[inline]
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
#[inline]
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
        let Self { cache, site, path, key, limit, cost } = &self;
        let Known { rule, scope, .. } = site.known(path, *limit);
        let claim = Claim {
            cache,
            rule,
            quota: Quota { limit: *limit, per: site.per_time() },
            when_down: site.when_down,
            title: site.title(path),
            key,
            name: Name::new(scope, key),
            counts: cache.limit_counts.of(site.number(path)),
            is_of_redis: AtomicBool::new(false),
        };
        claim.count(if site.wait == 0 {
            claim.take(*cost).await
        } else {
            claim.wait(*cost, Duration::from_millis(site.wait)).await
        })
    }
}
