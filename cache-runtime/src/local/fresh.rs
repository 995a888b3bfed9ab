//! How fresh an entry is, and what a caller does with one that is old or about to be.

use std::{fmt, sync::Arc, time::Duration};

use super::store::{AnyValue, Kept};
use crate::clock::nanos;

/// What a function does with values that are old, or about to be. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// How long past its life a value is served while somebody refreshes it.
    pub(crate) stale: u64,
    /// How long past its life a value is served if the function fails.
    pub(crate) stale_if_error: u64,
    /// Whether it is refreshed before its life ends.
    pub(crate) is_early: bool,
    /// How long a caller waits for a run before it takes the old value, if it is to.
    pub(crate) max_wait: Option<u64>,
}

/// What a value is to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Fresh,
    /// Fresh, and to be refreshed already.
    Early,
    /// Served while somebody refreshes it.
    Stale,
    /// Served if the function fails.
    IfError,
    Dead,
}

/// A value and how long it lives, at some moment. In nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aged {
    /// Since its load began.
    pub(crate) age: u64,
    /// What is left of its life.
    pub(crate) left: u64,
    /// Since its life ended.
    pub(crate) overdue: u64,
    /// What its run cost.
    pub(crate) cost: u64,
}

impl Freshness {
    pub(crate) const NONE: Self =
        Self { stale: 0, stale_if_error: 0, is_early: false, max_wait: None };

    /// Whether a value is of any use but as a fresh one.
    pub(crate) fn is_any(&self) -> bool {
        self.is_early || self.stale > 0 || self.stale_if_error > 0
    }

    /// `random` is drawn where it is about a refresh before its time.
    pub(crate) fn standing(&self, aged: Aged, random: impl FnOnce() -> u64) -> Standing {
        let Aged { left, overdue, .. } = aged;
        if left > 0 {
            if self.is_early && is_early(aged, random) { Standing::Early } else { Standing::Fresh }
        } else if overdue < self.stale {
            Standing::Stale
        } else if overdue < self.stale_if_error {
            Standing::IfError
        } else {
            Standing::Dead
        }
    }

    /// How long a caller waits for a run before it takes such a value; `None` until the run ends.
    pub(crate) fn wait(&self, standing: Standing) -> Option<Duration> {
        let most = self.max_wait.map(Duration::from_nanos);
        match standing {
            Standing::Fresh | Standing::Early => Some(Duration::ZERO),
            Standing::Stale => Some(most.unwrap_or_default()),
            Standing::IfError => most,
            Standing::Dead => None,
        }
    }
}

/// `XFetch`: Vattani, Chierichetti, Lowenstein, «Optimal Probabilistic Cache Stampede Prevention»,
/// VLDB 2015, with beta 1. The chance of a read is `exp(-left / cost)`. Not in the first half of a life:
/// a function that takes as long as its values live would be called all the time.
#[expect(clippy::cast_precision_loss, reason = "it is a chance")]
fn is_early(Aged { age, left, cost, .. }: Aged, random: impl FnOnce() -> u64) -> bool {
    cost > 0 && left <= age && left as f64 <= cost as f64 * -unit(random()).ln()
}

/// Above zero, and one at most: 53 bits are all that a float has.
#[expect(clippy::cast_precision_loss, reason = "as many bits as there is room for")]
fn unit(random: u64) -> f64 {
    ((random >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// The part of a life, at its end, in which a read may find that the value is to be refreshed: before
/// it, an entry in memory is one like others, and a hit does not ask. Also what the run cost.
///
/// In two bytes, for each more is eight in an entry: how many times the cost it is, and the cost in
/// microseconds with seven bits behind a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window(u16);

/// From so many times the cost on, the chance of a read is less than one in nine million.
const TIMES: u64 = 16;
const MANTISSA: u32 = 7;
const EXPONENT: u32 = 5;
const MICRO: u64 = 1000;

impl Window {
    pub(crate) const NONE: Self = Self(0);

    /// What memory has ends before the life of the value: of what comes then nothing is known here.
    pub(crate) const UNKNOWN: Self = Self(u16::MAX);

    /// Of a value that costs so much, and half of whose life is so long.
    pub(crate) fn of(cost: u64, half: u64) -> Self {
        let (cost, half) = (cost / MICRO, half / MICRO);
        let (bits, cost) = short(cost.min(half), MANTISSA);
        let Some(times) = half.checked_div(cost).filter(|_| bits < 1 << (MANTISSA + EXPONENT))
        else {
            return Self::NONE;
        };
        Self((times.clamp(1, TIMES) as u16 - 1) << (MANTISSA + EXPONENT) | bits)
    }

    pub(crate) fn cost(self) -> u64 {
        let bits = self.0 & ((1 << (MANTISSA + EXPONENT)) - 1);
        if self == Self::UNKNOWN { 0 } else { long(bits, MANTISSA) * MICRO }
    }

    pub(crate) fn length(self) -> u64 {
        self.cost() * (u64::from(self.0 >> (MANTISSA + EXPONENT)) + 1)
    }
}

/// A number in 16 bits, with so many behind a power of two: never more than it is, and what it has
/// become.
fn short(number: u64, mantissa: u32) -> (u16, u64) {
    let exponent = (u64::BITS - number.leading_zeros()).saturating_sub(mantissa);
    let bits = (u64::from(exponent) << mantissa | number >> exponent) as u16;
    (bits, number >> exponent << exponent)
}

fn long(bits: u16, mantissa: u32) -> u64 {
    let exponent = bits >> mantissa;
    u64::from(bits & ((1 << mantissa) - 1)) << exponent
}

/// A weight in 16 bits: at most a thousandth more than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight(u16);

const WEIGHT: u32 = 11;

impl Weight {
    pub(crate) const ONE: Self = Self(1);

    pub(crate) fn of(weight: u64) -> Self {
        let weight = weight.min(u64::from(u32::MAX));
        let (bits, less) = short(weight, WEIGHT);
        if less == weight {
            return Self(bits);
        }
        let more = 1 << (bits >> WEIGHT);
        Self(short(less + more, WEIGHT).0)
    }

    pub(crate) fn get(self) -> u64 {
        long(self.0, WEIGHT)
    }
}

/// In the store, the place of a value that nobody is to refresh until the entry expires: somebody
/// does it, or has failed to. A hit finds a value of another type, and looks closer.
struct Paused {
    value: AnyValue,
    /// The end of the value's life.
    fresh_until: u64,
    since: u64,
}

/// An entry of memory, as old as it may be.
pub(crate) struct Remembered {
    /// It expires when its life as a fresh one ends.
    pub(crate) entry: Kept,
    pub(crate) cost: u64,
    /// Until then nobody is to refresh it.
    pub(crate) paused_until: u64,
    /// It is in memory since then at most.
    pub(crate) since: u64,
}

impl Kept {
    /// In the store from now until then, while nobody is to refresh it.
    pub(crate) fn paused(self, since: u64, until: u64) -> Self {
        let Self { header, value } = self;
        let paused = Paused { value, fresh_until: header.expires, since };
        Self { header: header.living_until(until), value: Arc::new(paused) }
    }

    /// As it was put into the store.
    pub(super) fn remembered(self) -> Remembered {
        let Self { header, value } = self;
        let (expires, cost) = (header.expires, header.window.cost());
        if let Some(Paused { value, fresh_until, since }) = value.downcast_ref() {
            let header = header.living_until(*fresh_until);
            let entry = Self { header, value: Arc::clone(value) };
            return Remembered { entry, cost, paused_until: expires, since: *since };
        }
        let header = header.living_until(header.fresh_until());
        // Of what comes when it is over, memory may know nothing.
        let since = if header.window == Window::UNKNOWN { 0 } else { header.loaded() };
        Remembered { entry: Self { header, value }, cost, paused_until: 0, since }
    }

    /// How old it is: one that expires when its life as a fresh one ends.
    pub(crate) fn aged(&self, cost: u64, now: u64) -> Aged {
        let fresh_until = self.header.expires;
        Aged {
            age: now.saturating_sub(self.header.loaded()),
            left: fresh_until.saturating_sub(now),
            overdue: now.saturating_sub(fresh_until),
            cost,
        }
    }
}

impl Aged {
    /// The same of a value that was read.
    pub(crate) fn of(found: &crate::remote::Found) -> Self {
        Self {
            age: nanos(found.age),
            left: nanos(found.life),
            overdue: nanos(found.overdue),
            cost: nanos(found.cost),
        }
    }
}

/// A value that a caller takes in place of the result of a run.
#[derive(Clone)]
pub(crate) struct Old {
    /// It expires when its life as a fresh one ends.
    pub(crate) entry: Kept,
    /// How long the caller waits for the run before; `None` until it has failed.
    pub(crate) wait: Option<Duration>,
    /// Nobody is to run the function for now.
    pub(crate) is_paused: bool,
}

impl fmt::Debug for Old {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Old").field("wait", &self.wait).finish_non_exhaustive()
    }
}
