use std::{
    ffi::OsString,
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{Cache, Inner, background::Background};
use crate::{
    clock::{Clock, Time, nanos},
    counters::Functions,
    error::ConfigError,
    local::{Bound, Flights, Generations, Store},
    remote::Remote,
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
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    remote: Option<Arc<dyn Remote>>,
}

/// What stays of them.
pub(crate) struct Settings {
    /// In nanoseconds.
    pub(crate) local_ttl: u64,
    pub(crate) lease: Duration,
}

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
            random: Box::new(|| fastrand::u64(..)),
            remote: None,
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

    /// How long memory keeps an entry at most, whatever its `ttl`. Default: no such bound.
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
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.time = Time::Given(Box::new(clock));
        self
    }

    /// Where `jitter` is drawn from: any `u64`, all equally likely. Default: a fast generator
    /// that is not for secrets.
    pub fn random(mut self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.random = Box::new(random);
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
        if self.local_ttl == Some(Duration::ZERO) {
            let problem = "is zero; it has to be above zero. To keep a function out of memory, \
                           write `local = false` on it";
            return Err(ConfigError::new("local_ttl", problem));
        }
        if self.lease.is_zero() {
            return Err(ConfigError::new("lease", "is zero; it has to be above zero"));
        }
        let functions = Arc::new(Functions::new());
        let bound = Bound { entries: self.capacity, bytes: self.max_bytes };
        let inner = Inner {
            service: self.service.into(),
            enabled: AtomicBool::new(self.enabled),
            settings: Settings {
                local_ttl: self.local_ttl.map_or(u64::MAX, nanos),
                lease: self.lease.min(LONGEST_LEASE),
            },
            time: self.time,
            random: self.random,
            store: Store::new(bound, &functions),
            generations: Generations::new(),
            flights: Flights::new(),
            functions,
            background: Background::default(),
            remote: self.remote,
        };
        Ok(Cache { inner: Some(Arc::new(inner)) })
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
        if text("LARDER_URL")?.is_some_and(|url| !url.is_empty()) {
            // Not the URL itself: it may hold a password.
            let problem = "is set, but this version has no remote tier; unset it";
            return Err(ConfigError::new("LARDER_URL", problem));
        }
        Ok(builder)
    }
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
        assert_eq!(with("LARDER_URL", "redis://localhost"), "LARDER_URL");
    }
}
