//! How often something may be done: the algorithms, without a clock and without a place to keep
//! anything. The time is a parameter, in microseconds, and what has to be kept of a key is a small
//! value. The scripts in `remote/redis/scripts` do the same in Redis, step by step.
//!
//! All of it is in whole numbers. Where a limit does not divide its time, a call takes a fraction of
//! a microsecond, and that is kept as a fraction: nothing is rounded away at 100,000 per second.

mod gcra;
mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use gcra::{Arrival, Gcra};
pub(crate) use window::{Counts, Window};

/// The longest time that a limit is about, in microseconds: 35 years. Twice that from now on is still
/// a number of Lua.
const LONGEST: u64 = 1 << 50;

/// By what it is decided who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Algorithm {
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

/// How often something may be done. One key has one algorithm, and windows of one length; how many are
/// allowed may change while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Of [`Algorithm::Gcra`].
    Gcra(Gcra),
    /// Of the others.
    Window(Window),
}

/// What is kept of a key that somebody has taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// By [`Rule::Gcra`].
    Gcra(Arrival),
    /// By [`Rule::Window`].
    Window(Counts),
}

/// What is asked of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// To do something that counts so many times. Nothing is always allowed, and says how it stands.
    Take(u32),
    /// So many were taken and not used. No more than was taken comes back.
    Refund(u32),
    /// Forget what was taken.
    Reset,
}

/// How a limit stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limited {
    /// What became of the step.
    pub(crate) verdict: Verdict,
    /// So many could be taken at once.
    pub(crate) remaining: u32,
    /// Until everything could be, if nobody takes any.
    pub(crate) reset_after: Duration,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
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
    pub(crate) fn new(algorithm: Algorithm, limit: u32, per: Duration, burst: Option<u32>) -> Self {
        let per = u64::try_from(per.as_nanos().div_ceil(1000)).unwrap_or(LONGEST).clamp(1, LONGEST);
        match algorithm {
            Algorithm::Gcra => Self::Gcra(Gcra::new(limit, per, burst.unwrap_or(limit))),
            Algorithm::FixedWindow => Self::Window(Window::fixed(limit, per)),
            Algorithm::SlidingWindow => Self::Window(Window::sliding(limit, per)),
        }
    }

    /// What a step at that moment leaves of what stands there, and how the limit stands then. What was
    /// left by the other kind of rule is nothing to this one.
    #[must_use]
    pub(crate) fn decide(
        &self,
        stands: Option<State>,
        step: Step,
        now: u64,
    ) -> (Option<State>, Limited) {
        match self {
            Self::Gcra(gcra) => {
                let stands = match stands {
                    Some(State::Gcra(arrival)) => Some(arrival),
                    Some(State::Window(_)) | None => None,
                };
                let (is_done, left) = gcra.step(stands, step, now);
                (left.map(State::Gcra), gcra.stand(left, is_done, step, now))
            }
            Self::Window(window) => {
                let stands = match stands {
                    Some(State::Window(counts)) => Some(counts),
                    Some(State::Gcra(_)) | None => None,
                };
                let (is_done, left) = window.step(stands, step, now);
                (left.map(State::Window), window.stand(left, is_done, step, now))
            }
        }
    }

    /// When nothing is left of it that counts: by then it may be forgotten.
    #[must_use]
    pub(crate) fn over_at(&self, stands: State) -> u64 {
        match (self, stands) {
            (_, State::Gcra(arrival)) => arrival.over_at(),
            (Self::Window(window), State::Window(counts)) => window.over_at(counts),
            (Self::Gcra(_), State::Window(_)) => 0,
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
fn verdict(is_done: bool, wait: Option<u64>) -> Verdict {
    match wait {
        _ if is_done => Verdict::Allowed,
        Some(wait) => Verdict::Denied { retry_after: Duration::from_micros(wait) },
        None => Verdict::Never,
    }
}

/// A number that is known to fit, or the largest.
fn small(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
