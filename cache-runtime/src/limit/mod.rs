//! How often something may be done: the algorithms, without a clock and without a place to keep
//! anything. The time is a parameter, in microseconds, and what has to be kept of a key is a small
//! value. The scripts in `remote/redis/scripts` do the same in Redis, step by step.
//!
//! All of it is in whole numbers. Where a limit does not divide its time, a call takes a fraction of
//! a microsecond, and that is kept as a fraction: nothing is rounded away at 100,000 per second.

mod claim;
mod denial;
mod gcra;
mod limiter;
mod line;
mod name;
mod site;
mod table;
mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use claim::Limits;
pub use denial::{Allowed, RateLimited};
#[cfg(feature = "redis")]
pub(crate) use gcra::Span;
pub(crate) use gcra::{Arrival, Gcra};
pub use limiter::Limiter;
pub use site::{LimitGuard, LimitSite, limit, limit_on};
pub(crate) use window::{Counts, Kind, Window};

/// The longest time that a limit is about, in microseconds: 35 years. Twice that from now on is still
/// a number of Lua.
pub(crate) const LONGEST: u64 = 1 << 50;

/// By what it is decided who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// A bucket that drains evenly. Strict: any time of the limit's length, wherever it begins, has
    /// the burst and the limit at most.
    #[default]
    Gcra,
    /// So many in each window, and windows follow each other by the clock: a time of the same length
    /// that lies across two of them may have twice the limit.
    FixedWindow,
    /// As many as are left when a part of the window before is added, as if its calls had come evenly.
    /// An approximation: they may have come late in it, so that a time of the same length has up to
    /// twice the limit.
    SlidingWindow,
}

/// What a limit says while Redis is away: when it cannot be reached, does not answer in time, or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenDown {
    /// What the same limit says in the memory of this process, where all of it is left at first. Each
    /// process counts for itself.
    #[default]
    Local,
    /// That it may be done.
    Allow,
    /// That it may not be done, and may be tried again in a second.
    Deny,
}

/// How often something may be done. One key has one algorithm, and windows of one length; how many are
/// allowed may change while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule(pub(crate) Method);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Of [`Algorithm::Gcra`].
    Gcra(Gcra),
    /// Of the others.
    Window(Window),
}

/// What is kept of a key that somebody has taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(pub(crate) Kept);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Gcra(Arrival),
    Window(Counts),
}

/// What is asked of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To do something that counts so many times. Nothing is always allowed, and says how it stands.
    Take(u32),
    /// So many were taken and not used. No more than was taken comes back.
    Refund(u32),
    /// Forget what was taken.
    Reset,
}

/// How a limit stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// What became of the step.
    pub verdict: Verdict,
    /// So many could be taken at once.
    pub remaining: u32,
    /// Until everything could be, if nobody takes any.
    pub reset_after: Duration,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Allowed,
    /// It was not.
    Denied {
        /// Until the same would be done, if nobody takes any. Not a microsecond earlier.
        retry_after: Duration,
    },
    /// It was not, and never would be.
    Never,
}

impl Rule {
    /// `limit` in each `per`. A burst has a meaning for [`Algorithm::Gcra`] alone: so many may come at
    /// once, and where it is not said as many as the limit.
    ///
    /// A `limit` or a `burst` of zero allows nothing. What is shorter than a microsecond takes one,
    /// and what is longer than 35 years takes these; a burst that would need longer to come back is
    /// smaller.
    #[must_use]
    pub fn new(algorithm: Algorithm, limit: u32, per: Duration, burst: Option<u32>) -> Self {
        let per = u64::try_from(per.as_nanos().div_ceil(1000)).unwrap_or(LONGEST).clamp(1, LONGEST);
        Self(match algorithm {
            Algorithm::Gcra => Method::Gcra(Gcra::new(limit, per, burst.unwrap_or(limit))),
            Algorithm::FixedWindow => Method::Window(Window::fixed(limit, per)),
            Algorithm::SlidingWindow => Method::Window(Window::sliding(limit, per)),
        })
    }

    /// What a step at that moment leaves of what stands there, and how the limit stands then. The
    /// moment is in microseconds, by any clock that goes on. What was left by another algorithm is
    /// nothing to this one.
    #[inline]
    #[must_use]
    pub fn decide(&self, stands: Option<State>, step: Step, now: u64) -> (Option<State>, Limited) {
        let stands = stands.map(|State(kept)| kept);
        match &self.0 {
            Method::Gcra(gcra) => {
                let stands = match stands {
                    Some(Kept::Gcra(arrival)) => Some(arrival),
                    Some(Kept::Window(_)) | None => None,
                };
                let (is_done, empty, left) = gcra.step(stands, step, now);
                (left.map(|left| State(Kept::Gcra(left))), gcra.stand(empty, is_done, step, now))
            }
            Method::Window(window) => {
                let stands = match stands {
                    Some(Kept::Window(counts)) => Some(counts),
                    Some(Kept::Gcra(_)) | None => None,
                };
                let (is_done, counts, left) = window.step(stands, step, now);
                (
                    left.map(|left| State(Kept::Window(left))),
                    window.stand(counts, is_done, step, now),
                )
            }
        }
    }

    /// How long it takes at least until so many are taken, from the moment when, after none was left, so
    /// many fit.
    fn at_best(&self, fits: u64, all: u64) -> Duration {
        Duration::from_micros(match &self.0 {
            Method::Gcra(gcra) => gcra.time_for(all.saturating_sub(fits)),
            Method::Window(window) => window.time_for(all),
        })
    }

    /// When nothing is left of it that counts, if nothing else is done: by then it may be forgotten.
    #[must_use]
    pub fn over_at(&self, stands: State) -> u64 {
        match (&self.0, stands.0) {
            (_, Kept::Gcra(arrival)) => arrival.over_at(),
            (Method::Window(window), Kept::Window(counts)) => window.over_at(counts),
            (Method::Gcra(_), Kept::Window(_)) => 0,
        }
    }
}

impl Step {
    /// What it takes.
    fn cost(self) -> u32 {
        match self {
            Self::Take(cost) => cost,
            Self::Refund(_) | Self::Reset => 0,
        }
    }
}

/// What became of a step that would be done after so many microseconds, if ever.
fn verdict(is_done: bool, wait: impl FnOnce() -> Option<u64>) -> Verdict {
    if is_done {
        return Verdict::Allowed;
    }
    match wait() {
        Some(wait) => Verdict::Denied { retry_after: Duration::from_micros(wait) },
        None => Verdict::Never,
    }
}

/// A number that is known to fit, or the largest.
fn small(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
