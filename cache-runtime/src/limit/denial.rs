//! What a limit says to who asks: that he may, or when he may.

use std::{fmt, time::Duration};

use super::{Limited, Verdict};

/// It may be done, and was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// How often it may be done in each `per`.
    pub limit: u32,
    /// So often it could be done at once.
    pub remaining: u32,
    /// Until it could be done as often as ever, if nobody does it.
    pub reset_after: Duration,
    per: Duration,
}

/// It may not be done now, and was not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimited {
    /// How often it may be done in each `per`.
    pub limit: u32,
    /// So often it could be done at once: of what counts more than once, it may be some.
    pub remaining: u32,
    /// Until the same may be done, if nobody else does it first. [`Duration::MAX`] if it never may: it
    /// counts more than may be done at once.
    pub retry_after: Duration,
    /// Until it could be done as often as ever, if nobody does it.
    pub reset_after: Duration,
    per: Duration,
}

/// How often something may be done, as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) limit: u32,
    pub(super) per: Duration,
}

impl Quota {
    /// What became of a step, in the terms of who asked for it.
    pub(super) fn answer(self, limited: Limited) -> Result<Allowed, RateLimited> {
        let Limited { verdict, remaining, reset_after } = limited;
        let retry_after = match verdict {
            Verdict::Allowed => return Ok(self.allowed(remaining, reset_after)),
            Verdict::Denied { retry_after } => retry_after,
            Verdict::Never => Duration::MAX,
        };
        Err(self.denied(remaining, retry_after, reset_after))
    }

    pub(super) fn allowed(self, remaining: u32, reset_after: Duration) -> Allowed {
        let Self { limit, per } = self;
        Allowed { limit, remaining, reset_after, per }
    }

    pub(super) fn denied(
        self,
        remaining: u32,
        retry_after: Duration,
        reset_after: Duration,
    ) -> RateLimited {
        let Self { limit, per } = self;
        RateLimited { limit, remaining, retry_after, reset_after, per }
    }
}

impl Allowed {
    /// What an HTTP response may say of it, after `draft-ietf-httpapi-ratelimit-headers-10`: `RateLimit` and
    /// `RateLimit-Policy`, times in whole seconds, rounded up.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use larder::{Cache, Limiter};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let limiter = Limiter::new(&Cache::memory(), "search", 10, Duration::from_secs(60));
    /// let allowed = limiter.check(7).await.unwrap();
    /// assert_eq!(allowed.headers(), [
    ///     ("RateLimit", r#""default";r=9;t=6"#.to_owned()),
    ///     ("RateLimit-Policy", r#""default";q=10;w=60"#.to_owned()),
    /// ]);
    /// # }
    /// ```
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let Self { limit, remaining, reset_after, per } = *self;
        Quota { limit, per }.headers(remaining, reset_after)
    }
}

impl RateLimited {
    /// What an HTTP response of the status 429 may say of it: what [`Allowed::headers`] does, and
    /// `Retry-After`, in whole seconds, rounded up.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use larder::{Cache, Limiter};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let limiter = Limiter::new(&Cache::memory(), "search", 1, Duration::from_secs(60));
    /// limiter.check(7).await.unwrap();
    /// let denied = limiter.check(7).await.unwrap_err();
    /// assert_eq!(denied.headers(), [
    ///     ("RateLimit", r#""default";r=0;t=60"#.to_owned()),
    ///     ("RateLimit-Policy", r#""default";q=1;w=60"#.to_owned()),
    ///     ("Retry-After", "60".to_owned()),
    /// ]);
    /// # }
    /// ```
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 3] {
        let Self { limit, remaining, retry_after, reset_after, per } = *self;
        let [state, policy] = Quota { limit, per }.headers(remaining, reset_after);
        [state, policy, ("Retry-After", seconds(retry_after).min(LATEST).to_string())]
    }
}

/// As late as a client is sure to understand: RFC 9111, 1.2.2.
const LATEST: u64 = 1 << 31;

impl Quota {
    fn headers(self, remaining: u32, reset_after: Duration) -> [(&'static str, String); 2] {
        let Self { limit, per } = self;
        [
            ("RateLimit", format!("\"default\";r={remaining};t={}", seconds(reset_after))),
            ("RateLimit-Policy", format!("\"default\";q={limit};w={}", seconds(per).min(LATEST))),
        ]
    }
}

/// Rounded up, so that nobody comes too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, retry_after, per, .. } = self;
        if *retry_after == Duration::MAX {
            write!(f, "over the limit of {limit} in {per:?}, and would always be")
        } else {
            write!(f, "over the limit of {limit} in {per:?}; may be tried again in {retry_after:?}")
        }
    }
}

impl std::error::Error for RateLimited {}
