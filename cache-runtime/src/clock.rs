//! Time as a parameter: the kernel's clock, or one that a test moves.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Tells how much time has passed since some fixed moment; never goes back.
///
/// The default is the kernel's monotonic clock, read at the resolution of its tick (1 to 10 ms on
/// Linux), so an entry may live that much longer. Give
/// [`CacheBuilder::clock`](crate::CacheBuilder::clock) another one for tests.
pub trait Clock: Send + Sync + 'static {
    /// The time since a moment that stays the same as long as the clock lives.
    fn now(&self) -> Duration;
}

/// A clock that stands still until it is moved: a `ttl` can be tested without sleeping.
///
/// ```
/// use std::time::Duration;
/// use larder::{Cache, ManualClock, cached};
///
/// #[cached(ttl = 60, key = "answer")]
/// async fn answer() -> u32 { 42 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder::ConfigError> {
/// let clock = ManualClock::new();
/// let cache = Cache::builder("test").clock(clock.clone()).build()?;
/// cache.scope(async {
///     answer().await;
///     assert_eq!(answer().peek().await, Some(42));
///     clock.advance(Duration::from_secs(61));
///     assert_eq!(answer().peek().await, None);
/// }).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock at its first moment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock, for every handle of it.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(nanos(by), Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

/// The clock of a cache. The kernel's is called directly: it is read on every hit.
pub(crate) enum Time {
    Kernel,
    Given(Box<dyn Clock>),
}

impl Time {
    /// Nanoseconds, at the resolution of the kernel's tick.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Kernel => kernel::coarse(),
            Self::Given(clock) => nanos(clock.now()),
        }
    }

    /// Microseconds, as exact as the clock is.
    #[cfg(any(feature = "limit", feature = "metrics"))]
    #[inline]
    pub(crate) fn precise(&self) -> u64 {
        match self {
            Self::Kernel => kernel::precise() / 1000,
            Self::Given(clock) => nanos(clock.now()) / 1000,
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "Kernel",
            Self::Given(_) => "Given",
        })
    }
}

/// Nanoseconds in a millisecond.
pub(crate) const MILLI: u64 = 1_000_000;

/// As many as fit: 584 years.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

#[cfg(target_os = "linux")]
mod kernel {
    use rustix::time::{ClockId, clock_gettime};

    #[inline]
    pub(super) fn coarse() -> u64 {
        read(ClockId::MonotonicCoarse)
    }

    #[cfg(any(feature = "limit", feature = "metrics"))]
    #[inline]
    pub(super) fn precise() -> u64 {
        read(ClockId::Monotonic)
    }

    #[inline]
    fn read(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        // The monotonic clock counts up from the start of the machine.
        #[expect(clippy::cast_sign_loss, reason = "neither is ever below zero")]
        let (seconds, nanos) = (time.tv_sec as u64, time.tv_nsec as u64);
        seconds * 1_000_000_000 + nanos
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::{sync::OnceLock, time::Instant};

    pub(super) fn coarse() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        super::nanos(START.get_or_init(Instant::now).elapsed())
    }

    #[cfg(any(feature = "limit", feature = "metrics"))]
    pub(super) use self::coarse as precise;
}
