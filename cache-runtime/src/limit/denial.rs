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

#[allow(dead_code, reason = "nobody is denied yet")]
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
