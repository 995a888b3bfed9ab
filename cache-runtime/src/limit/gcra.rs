//! The generic cell rate algorithm: a bucket of `burst` calls that drains evenly, `limit` in each
//! `per`. What is kept is the moment when it will be empty.
//!
//! A call takes `per / limit` microseconds, which need not be a whole number. With both reduced to
//! the lowest terms, `per / parts`, all sums are of parts, of which `parts` are a microsecond: whole
//! numbers, so that no call is ever rounded. The moment is kept as microseconds and parts beyond.

use std::time::Duration;

use super::{LONGEST, Limited, Step, small, verdict};

/// The bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// What fits.
    burst: u32,
    /// What one call takes, in parts.
    call: u64,
    /// So many are a microsecond.
    parts: u32,
    /// As it was said.
    per: u64,
}

/// When the bucket will be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Span,
    /// So many parts are a microsecond.
    pub(crate) parts: u32,
    /// When this was written, in microseconds. Where that is later than now, the clock was put back.
    pub(crate) written: u64,
}

/// A time, to the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) micros: u64,
    /// What is beyond these; less than one.
    pub(crate) part: u32,
}

impl Gcra {
    pub(super) fn new(limit: u32, per: u64, burst: u32) -> Self {
        // One that allows nothing counts as if it allowed one and had no burst.
        let (burst, limit) = if limit == 0 { (0, 1) } else { (burst, limit) };
        let divisor = common_divisor(per, u64::from(limit));
        let (call, parts) = (per / divisor, (u64::from(limit) / divisor) as u32);
        let most = u128::from(LONGEST) * u128::from(parts) / u128::from(call);
        Self { burst: u32::try_from(most).unwrap_or(u32::MAX).min(burst), call, parts, per }
    }

    /// In microseconds.
    pub(crate) fn per(&self) -> u64 {
        self.per
    }

    /// Whether a step is done at that moment, when the bucket will be empty then, and what of that is
    /// to be kept: nothing if it is.
    #[inline]
    pub(crate) fn step(
        &self,
        stands: Option<Arrival>,
        step: Step,
        now: u64,
    ) -> (bool, Span, Option<Arrival>) {
        let empty = self.scaled(now);
        let before = stands.map_or(empty, |arrival| self.read(arrival, now));
        let (is_done, after) = match step {
            Step::Take(0) => (true, before),
            Step::Take(cost) => {
                let after = before + self.time_of(cost);
                let fits = after <= empty + self.full();
                (fits, if fits { after } else { before })
            }
            Step::Refund(cost) => (true, before.saturating_sub(self.time_of(cost)).max(empty)),
            Step::Reset => (true, empty),
        };
        let at = self.span(after);
        // What has not changed stays as it was written, if it was not written later than now.
        let is_same = |arrival: &Arrival| after == before && arrival.written <= now;
        let left = match stands.filter(is_same) {
            _ if after == empty => None,
            Some(arrival) => Some(arrival),
            None => Some(Arrival { at, parts: self.parts, written: now }),
        };
        (is_done, at, left)
    }

    /// How it stands after a step that lets it be empty then.
    #[inline]
    pub(crate) fn stand(&self, empty: Span, is_done: bool, step: Step, now: u64) -> Limited {
        let used = self.of(empty).saturating_sub(self.scaled(now));
        let room = self.full().saturating_sub(used);
        let verdict = verdict(is_done, || {
            (step.cost() <= self.burst).then(|| {
                let too_much = (used + self.time_of(step.cost())).saturating_sub(self.full());
                self.micros(too_much)
            })
        });
        Limited {
            verdict,
            // No more than the burst, which is one.
            remaining: divided(room, self.call).0 as u32,
            reset_after: Duration::from_micros(self.micros(used)),
        }
    }

    /// How long a bucket takes to have room for so many more, in whole microseconds.
    pub(super) fn time_for(&self, calls: u64) -> u64 {
        small(divided(u128::from(calls) * u128::from(self.call), u64::from(self.parts)).0)
    }

    /// When what stands there will be empty. What was taken before the limit has changed comes back when
    /// it would have; and none comes back while a clock goes back.
    fn read(&self, arrival: Arrival, now: u64) -> u128 {
        let at = if arrival.parts == self.parts {
            self.of(arrival.at)
        } else {
            self.scaled(arrival.over_at())
        };
        let later = self.scaled(arrival.written.saturating_sub(now));
        at.saturating_sub(later).max(self.scaled(now))
    }

    fn of(&self, Span { micros, part }: Span) -> u128 {
        self.scaled(micros) + u128::from(part)
    }

    /// Microseconds in parts.
    fn scaled(&self, micros: u64) -> u128 {
        u128::from(micros) * u128::from(self.parts)
    }

    /// Parts in microseconds, rounded up.
    fn micros(&self, parts: u128) -> u64 {
        let Span { micros, part } = self.span(parts);
        micros.saturating_add(u64::from(part > 0))
    }

    fn span(&self, parts: u128) -> Span {
        let (micros, part) = divided(parts, u64::from(self.parts));
        // What is left of one is less than one.
        Span { micros: small(micros), part: part as u32 }
    }

    fn time_of(&self, cost: u32) -> u128 {
        u128::from(cost) * u128::from(self.call)
    }

    fn full(&self) -> u128 {
        self.time_of(self.burst)
    }
}

/// What the script is told.
#[cfg(feature = "redis")]
impl Gcra {
    /// What so many calls take. What does not fit into any bucket is a little more than that.
    pub(crate) fn span_of(&self, cost: u32) -> Span {
        self.span(self.time_of(cost).min(self.scaled(LONGEST + 1)))
    }

    /// How long a full one drains.
    pub(crate) fn span_of_burst(&self) -> Span {
        self.span(self.full())
    }

    /// So many are a microsecond.
    pub(crate) fn parts(&self) -> u32 {
        self.parts
    }
}

impl Arrival {
    /// The microsecond by which it is empty.
    pub(super) fn over_at(self) -> u64 {
        self.at.micros.saturating_add(u64::from(self.at.part > 0))
    }
}

/// How often it goes into that, and what is left. Most limits are about whole microseconds, and most numbers
/// are not as long as they may be: a division of long ones takes as long as all the rest of a step.
#[inline]
fn divided(number: u128, by: u64) -> (u128, u64) {
    match u64::try_from(number) {
        _ if by == 1 => (number, 0),
        Ok(number) => (u128::from(number / by), number % by),
        // What is left is less than that.
        Err(_) => (number / u128::from(by), (number % u128::from(by)) as u64),
    }
}

/// The largest number that divides both.
fn common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}
