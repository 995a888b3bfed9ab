use std::{
    fmt,
    future::Future,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    Algorithm, Allowed, RateLimited, Rule, WhenDown,
    claim::Claim,
    denial::Quota,
    name::{Name, Scope, Title},
};
use crate::{
    cache::Cache,
    key::{KeyBytes, KeyPart},
    tally::LIMIT_NAMES,
};

/// How often something may be done, for each of several keys: what `#[rate_limited]` is made of.
///
/// ```
/// use std::{net::IpAddr, time::Duration};
/// use larder::{Cache, Limiter, RateLimited};
///
/// async fn login(limiter: &Limiter, ip: IpAddr, is_right: bool) -> Result<bool, RateLimited> {
///     limiter.check(ip).await?;
///     if is_right {
///         // Who knows his password has tried nothing.
///         limiter.reset(ip).await;
///     }
///     Ok(is_right)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::memory();
/// let limiter = Limiter::new(&cache, "login", 3, Duration::from_secs(60));
/// let ip = IpAddr::from([192, 0, 2, 7]);
/// for _ in 0..3 {
///     assert_eq!(login(&limiter, ip, false).await, Ok(false));
/// }
/// let denied = login(&limiter, ip, true).await.unwrap_err();
/// assert!(denied.retry_after <= Duration::from_secs(20));
/// # }
/// ```
///
/// With Redis it counts for the whole fleet, in one round trip and by the server's clock, and a denial is
/// remembered in the process until it could be granted. Without, it counts in the process. It
/// counts also in a cache that is [switched off](Cache::set_enabled).
///
/// # What counts together
///
/// Limiters of one name, algorithm and `per`, in caches of one service: give
/// the same name twice, and both take from the same. A limiter `login` and an attribute with
/// `key = "login:{ip}"` are such a pair, if their keys are of one type. Change the limit, and what was
/// taken before still counts.
///
/// # Memory
///
/// A process remembers 65,536 keys that something was taken of, and as many that Redis has denied, in
/// 20 MB at most, however long they are: of a long one, its SHA-256. Where there are more, the one is
/// forgotten that would be over first: whoever takes the most is remembered the longest.
///
/// # Cancellation
///
/// All of its futures can be dropped. What was granted to one that was dropped on the way stays taken, and
/// who waited has given up his place.
#[derive(Clone)]
pub struct Limiter {
    cache: Cache,
    name: Arc<str>,
    quota: Quota,
    burst: Option<u32>,
    algorithm: Algorithm,
    when_down: WhenDown,
    rule: Rule,
    scope: Scope,
    /// Of the name, for what is counted.
    number: u32,
}

impl Limiter {
    /// So many in each `per`, from a microsecond to 35 years. A limit of zero allows nothing.
    #[must_use]
    pub fn new(cache: &Cache, name: &str, limit: u32, per: Duration) -> Self {
        let rule = Rule::new(Algorithm::Gcra, limit, per, None);
        Self {
            cache: cache.clone(),
            name: name.into(),
            quota: Quota { limit, per },
            burst: None,
            algorithm: Algorithm::Gcra,
            when_down: WhenDown::Local,
            rule,
            scope: Scope::new(Title::Named(name), rule),
            number: LIMIT_NAMES.number_of(name),
        }
    }

    /// So many may come at once, of [`Algorithm::Gcra`]. Default: as many as the limit.
    ///
    /// Any time of the length `per`, wherever it begins, has the burst and the limit at most. A burst of
    /// one spaces them evenly.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use larder::{Cache, Limiter};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let limiter = Limiter::new(&Cache::memory(), "mail", 60, Duration::from_secs(60)).burst(1);
    /// assert!(limiter.check("ada@example.com").await.is_ok());
    /// let denied = limiter.check("ada@example.com").await.unwrap_err();
    /// assert!(denied.retry_after <= Duration::from_secs(1));
    /// # }
    /// ```
    #[must_use]
    pub fn burst(self, burst: u32) -> Self {
        Self { burst: Some(burst), ..self }.ruled()
    }

    /// By what it is decided who may. Default: [`Algorithm::Gcra`].
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }.ruled()
    }

    /// What it says while Redis is away. Default: [`WhenDown::Local`].
    #[must_use]
    pub fn when_down(self, when_down: WhenDown) -> Self {
        Self { when_down, ..self }
    }

    fn ruled(mut self) -> Self {
        let Quota { limit, per } = self.quota;
        self.rule = Rule::new(self.algorithm, limit, per, self.burst);
        self.scope = Scope::new(Title::Named(&self.name), self.rule);
        self
    }

    /// Whether it may be done once more, now. If so, it counts.
    ///
    /// # Errors
    ///
    /// It may not, and did not count.
    pub fn check<K: KeyPart>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Allowed, RateLimited>> + Send + use<'_, K> {
        self.check_n(key, 1)
    }

    /// The same for what counts so many times. It may be done all or not at all.
    ///
    /// # Errors
    ///
    /// It may not, and did not count. If it never may, because so many are more than may be done at once,
    /// `retry_after` is [`Duration::MAX`].
    pub fn check_n<K: KeyPart>(
        &self,
        key: K,
        cost: u32,
    ) -> impl Future<Output = Result<Allowed, RateLimited>> + Send + use<'_, K> {
        let key = bytes_of(&key);
        async move {
            let claim = self.claim(&key);
            claim.count(claim.take(cost).await)
        }
    }

    /// As [`check`](Self::check); if it may not be done now, as soon as it may.
    ///
    /// Those who wait in this process are admitted in the order in which they came, and one of them asks
    /// at a time; who only checks goes before them. It gives up as soon as the time cannot suffice, if
    /// nobody else takes any.
    ///
    /// Measured by the timers of tokio: in a runtime that has them off (`enable_time`) a call that has
    /// to wait panics.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use larder::{Cache, Limiter};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let limiter = Limiter::new(&Cache::memory(), "crawl", 100, Duration::from_secs(1)).burst(1);
    /// for page in 0..3 {
    ///     limiter.wait("example.com", Duration::from_secs(5)).await.unwrap();
    ///     println!("page {page}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// It may not be done within the time, and did not count.
    pub fn wait<K: KeyPart>(
        &self,
        key: K,
        at_most: Duration,
    ) -> impl Future<Output = Result<Allowed, RateLimited>> + Send + use<'_, K> {
        let key = bytes_of(&key);
        async move {
            let claim = self.claim(&key);
            claim.count(claim.wait(1, at_most).await)
        }
    }

    /// How the limit stands. It takes nothing, and asks Redis also after a denial.
    ///
    /// While Redis is away it is as [`when_down`](Self::when_down) says: with [`WhenDown::Allow`] nothing
    /// was taken, with [`WhenDown::Deny`] nothing remains.
    pub fn peek<K: KeyPart>(&self, key: K) -> impl Future<Output = Allowed> + Send + use<'_, K> {
        let key = bytes_of(&key);
        async move { self.claim(&key).peek().await }
    }

    /// Gives back so many that were taken and not used. No more than was taken comes back. While Redis is
    /// away, only what was taken in this process meanwhile.
    ///
    /// Other processes may deny what they have denied before for as long as they had said.
    pub fn refund<K: KeyPart>(
        &self,
        key: K,
        cost: u32,
    ) -> impl Future<Output = ()> + Send + use<'_, K> {
        let key = bytes_of(&key);
        async move { self.claim(&key).refund(cost).await }
    }

    /// Forgets what was taken. While Redis is away, in this process alone.
    ///
    /// Other processes may deny what they have denied before for as long as they had said.
    pub fn reset<K: KeyPart>(&self, key: K) -> impl Future<Output = ()> + Send + use<'_, K> {
        let key = bytes_of(&key);
        async move { self.claim(&key).reset().await }
    }

    #[inline]
    fn claim<'a>(&'a self, key: &'a KeyBytes) -> Claim<'a> {
        Claim {
            cache: &self.cache,
            rule: self.rule,
            quota: self.quota,
            when_down: self.when_down,
            title: Title::Named(&self.name),
            key,
            name: Name::new(self.scope, key),
            counts: self.cache.limit_counts.of(self.number),
            is_of_redis: AtomicBool::new(false),
        }
    }
}

#[inline]
fn bytes_of<K: KeyPart>(key: &K) -> KeyBytes {
    let mut bytes = KeyBytes::new();
    bytes.writer().part(key);
    bytes
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.name)
            .field("limit", &self.quota.limit)
            .field("per", &self.quota.per)
            .field("burst", &self.burst)
            .field("algorithm", &self.algorithm)
            .field("when_down", &self.when_down)
            .finish_non_exhaustive()
    }
}
