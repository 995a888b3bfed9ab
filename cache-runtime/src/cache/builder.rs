use std::{
    ffi::OsString,
    fmt,
    sync::{Arc, Weak, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use super::{Cache, Inner, background::Background};
use crate::{
    blob::{Codec, Compression},
    clock::{Clock, Time, nanos},
    counters::Functions,
    error::ConfigError,
    local::{Bound, Flights, Generations, Store, Trust},
    lock::Queues,
    remote::{Remote, Renewals, Repairs},
    tally::Tallies,
};

/// Settings of a [`Cache`].
#[must_use = "a builder does nothing until it is built"]
pub struct CacheBuilder {
    service: String,
    capacity: usize,
    max_bytes: Option<u64>,
    local_ttl: Option<Duration>,
    lease: Duration,
    enabled: bool,
    time: Time,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    remote: Option<Arc<dyn Remote>>,
    url: Option<Url>,
    redis_budget: Duration,
    max_staleness: Duration,
    unproven: Option<Duration>,
    max_run: Option<Duration>,
    background_runs: usize,
    on_restart: OnRestart,
    codec: Codec,
    compression: Compression,
}

/// Where Redis is, and which setting said so. Never shown: it may hold a password.
struct Url {
    setting: &'static str,
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "refused without a look"))]
    text: String,
}

/// What happens to what a service has stored when its processes meet a Redis that is not the one
/// they met last: one that was restarted, or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnRestart {
    /// All of it counts as invalidated: the server may have come back with data from before an
    /// invalidation.
    #[default]
    Clear,
    /// It is served on. For a server that is known never to lose a write.
    Trust,
}

/// What stays of them.
pub(crate) struct Settings {
    /// In nanoseconds.
    pub(crate) local_ttl: u64,
    pub(crate) lease: Duration,
    /// How long a lease is renewed.
    pub(crate) max_run: Duration,
    /// What the commands of one call may take together.
    pub(crate) redis_budget: Duration,
    /// In nanoseconds.
    pub(crate) max_staleness: u64,
    /// In nanoseconds.
    pub(crate) unproven: u64,
    pub(crate) codec: Codec,
}

/// How long memory keeps an entry at most, unless it is said.
const LOCAL_TTL_WITH_REDIS: Duration = Duration::from_secs(60);

/// A year: a moment that far away is one that a timer can have.
const LONGEST_LEASE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl CacheBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            capacity: 100_000,
            max_bytes: None,
            local_ttl: None,
            lease: Duration::from_secs(10),
            enabled: true,
            time: Time::Kernel,
            random: Arc::new(|| fastrand::u64(..)),
            remote: None,
            url: None,
            redis_budget: Duration::from_millis(100),
            max_staleness: Duration::from_secs(1),
            unproven: None,
            max_run: None,
            background_runs: 64,
            on_restart: OnRestart::default(),
            codec: Codec::default(),
            compression: Compression::default(),
        }
    }

    /// How many entries memory holds. Default: 100,000.
    ///
    /// The least useful ones make room, by a relative of CLOCK-Pro: what was used once goes before
    /// what is used again. Entries are spread over shards, so a few may go before the last place
    /// is taken.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// How many bytes memory holds, about. Default: no such bound, only that of the entries.
    ///
    /// A value counts for the length of its JSON (with `remote = false` for its size on the
    /// stack), plus its key and 128 bytes; measured once, when it is stored. An entry that is
    /// larger than its shard (an eighth of this on two processors) is not kept.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How long memory keeps an entry at most, whatever its `ttl`. Default: 60 s with Redis, else
    /// no such bound.
    ///
    /// Zero, which needs Redis, keeps nothing in memory but what has `remote = false`: as if each
    /// other function had `local = false`.
    pub fn local_ttl(mut self, life: Duration) -> Self {
        self.local_ttl = Some(life);
        self
    }

    /// How long a call waits for the run of another before it runs the function itself. All whose
    /// wait has ended share that run. Default: 10 s, at most a year.
    ///
    /// Measured by the timers of tokio: in a runtime that has them off (`enable_time`) a call that
    /// has to wait panics, and outside of a runtime it waits until the run ends.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Whether the cache is switched on. Default: yes. See [`Cache::set_enabled`].
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The clock that lives are measured by. Default: the kernel's.
    ///
    /// With Redis, a proof that messages arrive lasts by it too: a clock that stands still never makes
    /// memory doubt them.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.time = Time::Given(Box::new(clock));
        self
    }

    /// Where `jitter` is drawn from: any `u64`, all equally likely. Default: a fast generator
    /// that is not for secrets.
    pub fn random(mut self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Keeps values in Redis too, for all processes of the service: `redis://host:6379/0`,
    /// `redis://user:password@host`, or `unix:///run/redis.sock?db=1`. Default: no Redis.
    ///
    /// It connects with the first call that asks for something. A server that is absent, also at
    /// the start, costs no call an error: the functions run, and it is used once it is there.
    /// `rediss://`, Sentinel and Cluster are not supported yet, and refused by [`build`](Self::build).
    #[cfg(feature = "redis")]
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.url = Some(Url { setting: "redis", text: url.into() });
        self
    }

    /// How long one call waits for Redis, over all its commands together. What is not there by then
    /// is a miss. Default: 100 ms.
    pub fn redis_budget(mut self, budget: Duration) -> Self {
        self.redis_budget = budget;
        self
    }

    /// How far the memory of this process may be behind an invalidation by another. Default: 1 s.
    ///
    /// The invalidations of others come by a subscription of its own connection, in about a
    /// millisecond. Four times in this time it is asked for a sign of life, and without one memory
    /// is not trusted beyond this time (the tick of the clock, 1 to 10 ms on Linux, comes on top).
    /// Without Redis there is nobody to be behind of.
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = age;
        self
    }

    /// How long memory is used for after its load began, while nobody knows whether the invalidations
    /// of other processes arrive: while Redis is away, and for a moment after it is back. Default:
    /// as `max_staleness`, so that a dead Redis does not become a dead database.
    ///
    /// A longer time puts availability first, and costs exactly this: what another process changes
    /// while the two cannot hear each other is served so long, and not for `max_staleness`. Zero
    /// puts correctness first: without Redis, every call runs its function.
    pub fn unproven(mut self, age: Duration) -> Self {
        self.unproven = Some(age);
        self
    }

    /// How many refreshes may run at once without a caller that waits for them. Of what is more, the call
    /// that begins a refresh waits for it, as it does where arguments are borrowed. Default: 64.
    pub fn background_runs(mut self, runs: usize) -> Self {
        self.background_runs = runs;
        self
    }

    /// How long the lease of a run is renewed. A run that takes longer goes on, but others may run
    /// beside it. Default: 10 times the lease.
    pub fn max_run(mut self, run: Duration) -> Self {
        self.max_run = Some(run);
        self
    }

    /// What happens when Redis was restarted or replaced. Default: what was stored before counts as
    /// invalidated.
    pub fn on_restart(mut self, on_restart: OnRestart) -> Self {
        self.on_restart = on_restart;
        self
    }

    /// How values are encoded in Redis. Default: JSON.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// How values are compressed in Redis, if that saves a tenth. Default: not.
    pub fn compress(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The tier behind memory.
    #[doc(hidden)]
    pub fn remote(mut self, remote: Arc<dyn Remote>) -> Self {
        self.remote = Some(remote);
        self
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// A setting that cannot be: an empty service, no capacity, a life or a lease of zero.
    pub fn build(self) -> Result<Cache, ConfigError> {
        self.check()?;
        let lease = self.lease.min(LONGEST_LEASE);
        let max_run = self.max_run.unwrap_or(lease.saturating_mul(10));
        if max_run < lease {
            let problem = format!("is {max_run:?}; it has to be at least the lease, {lease:?}");
            return Err(ConfigError::new("max_run", problem));
        }
        let remote = match (self.remote, self.url) {
            (Some(remote), _) => Some(remote),
            (None, None) => None,
            #[cfg(feature = "redis")]
            (None, Some(url)) => Some(
                crate::remote::redis(
                    &url.text,
                    crate::remote::RedisSettings {
                        service: self.service.clone(),
                        budget: self.redis_budget,
                        lease,
                        max_staleness: self.max_staleness,
                        compression: self.compression,
                        on_restart: self.on_restart,
                        random: Arc::clone(&self.random),
                    },
                )
                .map_err(|error| ConfigError { setting: url.setting, ..error })?,
            ),
            #[cfg(not(feature = "redis"))]
            (None, Some(url)) => {
                let problem = "is set, but this build has no Redis; it needs the feature `redis`";
                return Err(ConfigError::new(url.setting, problem));
            }
        };
        if self.local_ttl == Some(Duration::ZERO) && remote.is_none() {
            let problem = "is zero, and there is no Redis: nothing would be kept. To cache nothing, use \
                           `enabled(false)`";
            return Err(ConfigError::new("local_ttl", problem));
        }
        // Without anybody to invalidate elsewhere, what is in memory lives as long as it lives.
        let local_ttl = self.local_ttl.or(remote.is_some().then_some(LOCAL_TTL_WITH_REDIS));
        let functions = Arc::new(Functions::new());
        let bound = Bound { entries: self.capacity, bytes: self.max_bytes };
        let has_clock = !matches!(self.time, Time::Kernel);
        let trust = Trust::new(remote.is_none(), self.enabled, has_clock);
        let inner = Inner {
            service: self.service.into(),
            settings: Settings {
                local_ttl: local_ttl.map_or(u64::MAX, nanos),
                lease,
                max_run,
                redis_budget: self.redis_budget,
                max_staleness: nanos(self.max_staleness),
                unproven: nanos(self.unproven.unwrap_or(self.max_staleness)),
                codec: self.codec,
            },
            time: self.time,
            random: self.random,
            store: Store::new(bound, &functions),
            generations: Generations::new(),
            trust,
            flights: Flights::new(),
            functions,
            background: Background::new(self.background_runs),
            remote,
            renewals: Renewals::default(),
            repairs: Repairs::default(),
            locks: Queues::new(micros_of_day()),
            lock_counts: Tallies::new(),
            #[cfg(feature = "limit")]
            limit_counts: Tallies::new(),
            unheld: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            publisher: crate::watch::Publisher::new(),
            #[cfg(feature = "limit")]
            limits: std::sync::OnceLock::new(),
        };
        let inner = Arc::new(inner);
        #[cfg(feature = "metrics")]
        inner.publisher.tell(&inner);
        if let Some(remote) = &inner.remote {
            let memory: Weak<Inner> = Arc::downgrade(&inner);
            remote.tell(memory);
        }
        Ok(Cache { inner: Some(inner) })
    }

    /// Of each setting by itself.
    fn check(&self) -> Result<(), ConfigError> {
        check_service(&self.service)?;
        if !(1..=MOST_ENTRIES).contains(&self.capacity) {
            let problem = format!(
                "is {}; {CAPACITY_IS}. To cache nothing, use `enabled(false)`",
                self.capacity
            );
            return Err(ConfigError::new("capacity", problem));
        }
        if self.max_bytes == Some(0) {
            return Err(ConfigError::new("max_bytes", "is 0; it has to be above zero"));
        }
        if self.lease.is_zero() {
            return Err(ConfigError::new("lease", "is zero; it has to be above zero"));
        }
        for (setting, time) in
            [("redis_budget", self.redis_budget), ("max_staleness", self.max_staleness)]
        {
            if time.is_zero() {
                return Err(ConfigError::new(setting, "is zero; it has to be above zero"));
            }
        }
        for (setting, feature) in [
            ("codec", self.codec.missing_feature()),
            ("compress", self.compression.missing_feature()),
        ] {
            if let Some(feature) = feature {
                let problem = format!("needs the feature `{feature}` of larder");
                return Err(ConfigError::new(setting, problem));
            }
        }
        Ok(())
    }

    /// What `variable` says, as [`Cache::from_env`] has it.
    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let text = |setting: &'static str| match variable(setting).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(ConfigError::new(setting, "is not UTF-8")),
        };
        let Some(service) = text("LARDER_SERVICE")? else {
            return Err(ConfigError::new("LARDER_SERVICE", "is not set; name the service"));
        };
        check_service(&service)
            .map_err(|error| ConfigError { setting: "LARDER_SERVICE", ..error })?;
        let mut builder = Self::new(service);
        if let Some(capacity) = text("LARDER_CAPACITY")? {
            let number = capacity.parse().ok().filter(|number| (1..=MOST_ENTRIES).contains(number));
            builder.capacity = number.ok_or_else(|| {
                let problem = format!("is `{capacity}`; {CAPACITY_IS}");
                ConfigError::new("LARDER_CAPACITY", problem)
            })?;
        }
        match text("LARDER_DISABLED")?.as_deref() {
            None | Some("" | "0") => {}
            Some("1") => builder.enabled = false,
            Some(other) => {
                let problem = format!("is `{other}`; `1` and `0` are allowed");
                return Err(ConfigError::new("LARDER_DISABLED", problem));
            }
        }
        if let Some(text) = text("LARDER_URL")?.filter(|url| !url.is_empty()) {
            builder.url = Some(Url { setting: "LARDER_URL", text });
        }
        Ok(builder)
    }
}

/// What the fences of locks without Redis begin with.
fn micros_of_day() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// The store numbers its entries with 32 bits.
const MOST_ENTRIES: usize = (u32::MAX / 2) as usize;
const CAPACITY_IS: &str = "a whole number from 1 to 2147483647 is allowed";

/// K4: keys in a remote tier are `service:entity:…`.
fn check_service(service: &str) -> Result<(), ConfigError> {
    let problem = if service.is_empty() {
        "is empty; name the service, as in `Cache::builder(\"shop\")`".to_owned()
    } else if let Some(char) =
        service.chars().find(|char| matches!(char, ':' | '{' | '}') || char.is_control())
    {
        format!("contains {char:?}; a name without `:`, braces and control characters is allowed")
    } else {
        return Ok(());
    };
    Err(ConfigError::new("service", problem))
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("service", &self.service)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(variables: &[(&str, &str)]) -> Result<Cache, ConfigError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        CacheBuilder::from_variables(|name| find(name).map(|(_, value)| OsString::from(value)))?
            .build()
    }

    #[test]
    fn the_environment_names_the_service_and_the_capacity() {
        let cache = built(&[("LARDER_SERVICE", "shop"), ("LARDER_CAPACITY", "7")]).unwrap();
        assert_eq!(&*cache.service, "shop");
        assert!(cache.is_enabled());
    }

    #[test]
    fn the_environment_switches_the_cache_off() {
        let cache = built(&[("LARDER_SERVICE", "shop"), ("LARDER_DISABLED", "1")]).unwrap();
        assert!(!cache.is_enabled());
    }

    #[test]
    fn a_variable_that_cannot_be_understood_is_named() {
        let refused = |variables: &[_]| built(variables).unwrap_err().setting;
        assert_eq!(refused(&[]), "LARDER_SERVICE");
        assert_eq!(refused(&[("LARDER_SERVICE", "a:b")]), "LARDER_SERVICE");
        let with = |name, value| refused(&[("LARDER_SERVICE", "shop"), (name, value)]);
        assert_eq!(with("LARDER_CAPACITY", "0"), "LARDER_CAPACITY");
        assert_eq!(with("LARDER_CAPACITY", "many"), "LARDER_CAPACITY");
        assert_eq!(with("LARDER_DISABLED", "yes"), "LARDER_DISABLED");
        assert_eq!(with("LARDER_URL", "localhost"), "LARDER_URL");
    }
}
