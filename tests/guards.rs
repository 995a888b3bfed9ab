//! Guards on one function with the other attributes: what stands above acts first, and a guard above the
//! cache is asked for the run alone.

#![cfg(feature = "limit")]

#[path = "guards/denial.rs"]
mod denial;
#[path = "guards/order.rs"]
mod order;
#[path = "guards/verbs.rs"]
mod verbs;

use std::time::Duration;

use larder::{LockError, RateLimited};

/// How a call has ended that a guard did not let through.
#[derive(Debug, Clone, PartialEq)]
enum Refused {
    Limit(RateLimited),
    Lock,
    Origin,
}

impl From<RateLimited> for Refused {
    fn from(denial: RateLimited) -> Self {
        Self::Limit(denial)
    }
}

impl From<LockError> for Refused {
    fn from(_: LockError) -> Self {
        Self::Lock
    }
}

const HOUR: Duration = Duration::from_secs(3600);
