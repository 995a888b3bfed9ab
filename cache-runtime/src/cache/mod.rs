//! The cache: the tiers of one service and their settings.

mod background;
mod builder;
mod current;
mod options;

#[cfg(feature = "limit")]
use std::sync::OnceLock;
use std::{
    fmt,
    future::Future,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub(crate) use builder::Settings;
pub use builder::{CacheBuilder, OnRestart};
pub(crate) use current::{Circle, InScope, Installed, Stage, current, scope};
pub use options::Options;

#[cfg(feature = "metrics")]
use crate::watch::Publisher;
use crate::{
    change::{self, InvalidationBuilder, Write},
    clock::Time,
    counters::{Counters, Functions},
    error::{ConfigError, Error, InstallError},
    key::{Instance, KeyText},
    local::{Flights, Generations, Header, Named, Store, Trust},
    lock::Queues,
    remote::{self, ClearRepair, Memory, Remote, Renewals, Repairs, Token},
    stats::Stats,
    tally::{LockCounts, Tallies},
    watch::events,
};
#[cfg(feature = "limit")]
use crate::{limit::Limits, tally::LimitCounts};
pub(crate) use background::{Background, Running};

/// A cache: a cheap handle, to be cloned.
///
/// Annotated functions find theirs by [`Cache::current`]: the one of the task's
/// [`scope`](Cache::scope), else the one that was [installed](Cache::install), else one in memory
/// that is made on first use. So with nothing configured, caching works.
///
/// ```
/// use larder::Cache;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// Cache::builder("shop").capacity(50_000).build()?.install()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cache {
    /// `None` for the installed one, which is not counted: a count that every call of every
    /// thread changes would cost more than the rest of a hit.
    inner: Option<Arc<Inner>>,
}

#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "`Cache` is what is shown")]
pub struct Inner {
    service: Arc<str>,
    pub(crate) settings: Settings,
    pub(crate) time: Time,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) store: Store,
    pub(crate) generations: Generations,
    pub(crate) trust: Trust,
    pub(crate) flights: Flights,
    pub(crate) functions: Arc<Functions>,
    pub(crate) background: Background,
    pub(crate) remote: Option<Arc<dyn Remote>>,
    pub(crate) renewals: Renewals,
    pub(crate) repairs: Repairs,
    pub(crate) locks: Queues,
    pub(crate) lock_counts: Tallies<LockCounts>,
    #[cfg(feature = "limit")]
    pub(crate) limit_counts: Tallies<LimitCounts>,
    unheld: AtomicU64,
    #[cfg(feature = "metrics")]
    pub(crate) publisher: Publisher,
    /// Made with the first limit.
    #[cfg(feature = "limit")]
    pub(crate) limits: OnceLock<Box<Limits>>,
}

impl Cache {
    /// Starts a cache for a service. Its name keeps the keys of services that share a remote tier
    /// apart, and is not part of a [key](crate::Cached::key).
    pub fn builder(service: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(service.into())
    }

    /// A builder with what the environment says:
    ///
    /// | variable | is | default |
    /// |---|---|---|
    /// | `LARDER_SERVICE` | the name of the service | required |
    /// | `LARDER_CAPACITY` | entries in memory, a whole number above zero | 100000 |
    /// | `LARDER_URL` | where Redis is, as [`CacheBuilder::redis`] takes it | no Redis |
    /// | `LARDER_DISABLED` | `1` switches the cache off, `0` does not | `0` |
    ///
    /// # Errors
    ///
    /// A variable that is missing or cannot be understood. What is wrong with `LARDER_URL` is said
    /// by [`build`](CacheBuilder::build).
    pub fn from_env() -> Result<CacheBuilder, ConfigError> {
        CacheBuilder::from_variables(|name| std::env::var_os(name))
    }

    /// A cache of its own in memory, with the defaults; for tests.
    ///
    /// # Panics
    ///
    /// Never: the defaults are valid.
    #[must_use]
    pub fn memory() -> Self {
        Self::builder("test").build().unwrap_or_else(|_| unreachable!())
    }

    /// The cache of the task's scope, else the installed one, else one in memory that is made now.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        current()
    }

    /// Makes this the cache of all calls outside of a [`scope`](Self::scope), once and for good.
    ///
    /// # Errors
    ///
    /// One is installed already, or a call was made before and has taken the default.
    pub fn install(self) -> Result<(), InstallError> {
        current::install(self)
    }

    /// Runs a future with this as the current cache: how tests of one process keep apart.
    ///
    /// ```
    /// # use larder::{Cache, cached};
    /// #[cached(ttl = 60, key = "answer")]
    /// async fn answer() -> u32 { 42 }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// Cache::memory().scope(async {
    ///     answer().await;
    ///     assert_eq!(answer().peek().await, Some(42));
    /// }).await;
    /// Cache::memory().scope(async {
    ///     assert_eq!(answer().peek().await, None);
    /// }).await;
    /// # }
    /// ```
    ///
    /// A call that is made inside keeps its cache on another task, as in
    /// `tokio::spawn(answer())`; one that is made on another task does not:
    /// `tokio::spawn(async { answer().await })`.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        InScope::of_scope(self).run(future)
    }

    /// Removes an entry by its [key](crate::Cached::key). Prefer the call, which cannot be
    /// misspelt: `get_user(42).invalidate()`.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: it did not land in time, or Redis refused it. Then this process
    /// does not serve the key any more, and repeats the invalidation until it has landed.
    pub async fn invalidate(&self, key: &str) -> Result<(), Error> {
        change::land(vec![Write::of_key(self, key)]).await
    }

    /// Removes every entry that has the tag, with one command however many there are: what
    /// `tags("team:{team}")` of [`#[cached]`](attr.cached.html) says of them, with its values.
    ///
    /// A value stands in a tag as it does in a [key](crate::Cached::key), with `:` and the like
    /// escaped. Prefer [`#[invalidates(tag("team:{team}"))]`](attr.invalidates.html), which writes it.
    ///
    /// ```
    /// # use larder::{Cache, cached};
    /// #[cached(ttl = 60, key = "user:{team}:{id}", tags("team:{team}"))]
    /// async fn get_user(team: u32, id: u64) -> String { format!("user {id} of {team}") }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder::Error> { Cache::memory().scope(async {
    /// get_user(7, 42).await;
    /// Cache::current().invalidate_tag("team:7").await?;
    /// assert_eq!(get_user(7, 42).peek().await, None);
    /// # Ok(()) }).await }
    /// ```
    ///
    /// Once this has returned `Ok`, no call in this process returns a value from before; in others it
    /// may for [`max_staleness`](CacheBuilder::max_staleness) more, unless the function says
    /// `tags_strict` and `local = false`. Runs under way store nothing that is served afterwards.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: it did not land in time, or Redis refused it. Then this process
    /// serves no entry of the tag any more, and repeats the invalidation until it has landed.
    pub async fn invalidate_tag(&self, tag: &str) -> Result<(), Error> {
        change::land(vec![Write::of_tag(self, KeyText::literal(tag))]).await
    }

    /// Starts an invalidation around a change that no function wraps, such as a transaction.
    pub fn invalidation(&self) -> InvalidationBuilder {
        InvalidationBuilder::new(self.clone())
    }

    /// Removes every entry. Runs under way store nothing.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: it did not land in time, or Redis refused it. Then this process
    /// reads nothing from Redis any more, and repeats it until it has landed.
    pub async fn clear(&self) -> Result<(), Error> {
        Flights::clear(self);
        self.store.clear();
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        self.watched();
        let before = self.flights.before();
        let repair = ClearRepair::armed(self);
        remote.clear().await?;
        repair.landed();
        Flights::confirm_clear(self, &before);
        self.store.clear();
        Ok(())
    }

    /// Switches the cache off or on. Switched off, every call runs its function, and nothing is
    /// read or stored; invalidations still take effect.
    pub fn set_enabled(&self, enabled: bool) {
        self.trust.set_enabled(enabled);
    }

    /// What was counted so far. It prints as a table.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Inner::stats(self)
    }

    /// Gives what was counted so far to the recorder of the crate `metrics`, at once. A cache does so by
    /// itself once a second, from the first call that memory does not answer, and when it is
    /// [shut down](Self::shutdown) or dropped. This is for a handler of `/metrics` that shall not be a second
    /// behind, for a runtime without timers, and for tests.
    ///
    /// What there is to see: [Watching it](https://docs.rs/larder/latest/larder/#watching-it).
    ///
    /// ```
    /// use larder::Cache;
    /// # struct PrometheusHandle;
    /// # impl PrometheusHandle { fn render(&self) -> String { String::new() } }
    ///
    /// async fn handler(prometheus: &PrometheusHandle) -> String {
    ///     Cache::current().record_metrics();
    ///     prometheus.render()
    /// }
    /// # metrics::with_local_recorder(&metrics::NoopRecorder, || Cache::memory().record_metrics());
    /// ```
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        self.publish();
    }

    /// Waits for the runs on tasks of their own (`detached`, and refreshes that nobody waits for), and starts
    /// no more of them: from now on they run where they are called. Then waits for the invalidations that have not landed
    /// in Redis. The cache goes on answering.
    ///
    /// Waits as long as they take: to bound it, put `tokio::time::timeout` around it.
    ///
    /// # Errors
    ///
    /// None.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.background.close().await;
        self.repairs.drain(self).await;
        #[cfg(feature = "metrics")]
        self.publish();
        Ok(())
    }

    /// Whether this is a handle of that one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

impl Inner {
    pub(crate) fn is_enabled(&self) -> bool {
        self.trust.is_enabled()
    }

    /// Whether the entry is neither outdated nor expired.
    #[inline]
    pub(crate) fn is_current(&self, header: &Header, now: u64) -> bool {
        self.generations.at(header.slot) == header.generation && now < header.expires
    }

    /// Whether memory may serve the entry.
    pub(crate) fn is_valid(&self, header: &Header, now: u64) -> bool {
        now < header.expires && self.vouches_for(header, now)
    }

    /// Whether memory may serve the entry, as far as its life is not over.
    pub(crate) fn vouches_for(&self, header: &Header, now: u64) -> bool {
        self.generations.is_at(header)
            && (self.trust.lasts(now) || self.is_young(header.loaded(), now))
    }

    /// Whether what was loaded then may be used without a proof that nobody has changed it.
    pub(crate) fn is_young(&self, loaded: u64, now: u64) -> bool {
        now < loaded.saturating_add(self.settings.unproven)
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn shared_service(&self) -> &Arc<str> {
        &self.service
    }

    /// Something was counted that is no hit: sees to it that what is counted is published.
    #[inline]
    #[cfg_attr(
        not(feature = "metrics"),
        allow(clippy::unused_self, reason = "nobody publishes it then")
    )]
    pub(crate) fn watched(&self) {
        #[cfg(feature = "metrics")]
        self.publisher.attend();
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            functions: self.functions.stats(),
            locks: self.lock_counts.stats(),
            ..Stats::default()
        };
        #[cfg(feature = "limit")]
        {
            stats.limits = self.limit_counts.stats();
        }
        if let Some(remote) = &self.remote {
            stats.redis = remote.stats();
            stats.redis.pending_repairs = self.repairs.pending() as u64;
            stats.redis.unheld = self.unheld.load(Relaxed);
        }
        stats
    }

    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    /// One that nobody else has.
    pub(crate) fn token(&self) -> Token {
        Token(u128::from(self.random()) << 64 | u128::from(self.random()))
    }

    /// A change runs without so many holds that it should have had.
    pub(crate) fn count_unheld(&self, unheld: u64) {
        self.unheld.fetch_add(unheld, Relaxed);
        events::hold_missed(&self.service, unheld);
    }

    /// Where it is in the remote tier.
    pub(crate) fn remote_key(&self, name: &Named) -> String {
        if name.is_tag {
            remote::key_of_tag(&self.service, name)
        } else {
            name.text.to_text_of(&self.service)
        }
    }
}

/// P4: what other processes change, as far as this one hears of it.
impl Memory for Inner {
    fn now(&self) -> u64 {
        self.time.now()
    }

    fn invalidated(&self, key: &str) {
        let entry = || key.strip_prefix(&*self.service)?.strip_prefix(':');
        if let Some(tag) = remote::tag_of_key(&self.service, key) {
            Flights::hear(self, &self.flights.name_tag(KeyText::literal(tag)));
        } else if let Some(key) = entry() {
            Flights::hear(self, &self.flights.name(KeyText::literal(key)));
        }
    }

    fn cleared(&self) {
        Flights::clear(self);
    }

    fn broken(&self) {
        self.trust.end();
        Flights::forget(self);
    }

    fn proven(&self, asked: u64) {
        self.trust.extend(asked.saturating_add(self.settings.max_staleness));
    }
}

impl Cache {
    /// The cache, and the counters of a function in it.
    #[inline]
    pub(crate) fn with_counters(&self, instance: &'static Instance) -> (&Inner, &Counters) {
        match &self.inner {
            Some(cache) => (cache, cache.functions.of(instance.number)),
            None => instance.installed().parts(),
        }
    }
}

impl Deref for Cache {
    type Target = Inner;

    #[inline]
    fn deref(&self) -> &Inner {
        match &self.inner {
            Some(inner) => inner,
            None => current::installed(),
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("service", &self.service)
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

/// What `cache = expr` may be.
#[diagnostic::on_unimplemented(
    message = "`cache` takes a `Cache`, found `{Self}`",
    label = "expected `Cache`, `&Cache` or `Arc<Cache>`"
)]
#[doc(hidden)]
pub trait AsCache {
    fn as_cache(&self) -> &Cache;
}

#[diagnostic::do_not_recommend]
impl AsCache for Cache {
    fn as_cache(&self) -> &Cache {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<T: AsCache + ?Sized> AsCache for &T {
    fn as_cache(&self) -> &Cache {
        T::as_cache(self)
    }
}

#[diagnostic::do_not_recommend]
impl<T: AsCache + ?Sized> AsCache for Arc<T> {
    fn as_cache(&self) -> &Cache {
        T::as_cache(self)
    }
}
