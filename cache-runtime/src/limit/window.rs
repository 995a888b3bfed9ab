//! Calls counted by windows that follow each other by the clock: the first one began with its epoch.
//! A fixed window looks at the one that runs, a sliding one also at the one before.
//!
//! Windows of another length are other windows, and belong under another key: what is kept does not
//! say how long they are.

use std::time::Duration;

use super::{Limited, Step, verdict};

/// So many in each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    limit: u32,
    /// How long one is, in microseconds.
    per: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was taken in this window counts.
    Fixed,
    /// Of what was taken in the window before, so much counts as is not a window's length ago, if it
    /// came evenly.
    Sliding,
}

/// What was taken in a window and in the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// When the window is over, in microseconds.
    pub(crate) ends: u64,
    pub(crate) previous: u32,
    pub(crate) current: u32,
}

impl Window {
    pub(super) fn fixed(limit: u32, per: u64) -> Self {
        Self { limit, per, kind: Kind::Fixed }
    }

    pub(super) fn sliding(limit: u32, per: u64) -> Self {
        Self { limit, per, kind: Kind::Sliding }
    }

    /// Whether a step is done at that moment, what was taken then, and what of that is to be kept:
    /// nothing if none was.
    pub(crate) fn step(
        &self,
        stands: Option<Counts>,
        step: Step,
        now: u64,
    ) -> (bool, Counts, Option<Counts>) {
        let before = self.read(stands, now);
        let mut counts = before;
        let is_done = match step {
            Step::Take(cost) => {
                let fits = self.fits_at(counts, cost).is_some_and(|at| at <= now);
                // What fits is the limit at most, together.
                counts.current += if fits { cost } else { 0 };
                fits
            }
            Step::Refund(cost) => {
                // Of those before only what cannot be of this one.
                counts.previous =
                    counts.previous.saturating_sub(cost.saturating_sub(counts.current));
                counts.current = counts.current.saturating_sub(cost);
                true
            }
            Step::Reset => {
                (counts.previous, counts.current) = (0, 0);
                true
            }
        };
        // What has not changed stays as it was, if that is not of a time that is far ahead.
        let is_same = |stands: &Counts| counts == before && !self.is_far(*stands, now);
        let left = match stands.filter(is_same) {
            _ if counts.previous == 0 && counts.current == 0 => None,
            Some(stands) => Some(stands),
            None => Some(counts),
        };
        (is_done, counts, left)
    }

    /// How it stands after a step that leaves this.
    pub(crate) fn stand(&self, counts: Counts, is_done: bool, step: Step, now: u64) -> Limited {
        let wait = || self.fits_at(counts, step.cost()).map(|at| at.saturating_sub(now));
        Limited {
            verdict: verdict(is_done, wait),
            remaining: self
                .limit
                .saturating_sub(counts.current)
                .saturating_sub(self.weight(counts, now)),
            reset_after: Duration::from_micros(self.over_at(counts).saturating_sub(now)),
        }
    }

    /// How long it takes at least until so many were taken, from when the first of them was.
    pub(super) fn time_for(&self, calls: u64) -> u64 {
        // In a time of the length of one: more where it lies across two.
        let most = u64::from(self.limit.max(1)) * if self.kind == Kind::Fixed { 1 } else { 2 };
        (calls.saturating_sub(1) / most).saturating_mul(self.per)
    }

    /// When nothing counts any more.
    pub(super) fn over_at(&self, counts: Counts) -> u64 {
        match (self.kind, counts) {
            (_, Counts { previous: 0, current: 0, .. }) => 0,
            // It is the one before for as long as another window runs.
            (Kind::Sliding, Counts { current: 1.., .. }) => counts.ends.saturating_add(self.per),
            _ => counts.ends,
        }
    }

    /// What stands there, as of that moment.
    fn read(&self, stands: Option<Counts>, now: u64) -> Counts {
        let start = now - now % self.per;
        let ends = start.saturating_add(self.per);
        let none = Counts { ends, previous: 0, current: 0 };
        let counts = match stands {
            // It runs. Or the clock was put back: by a little, and the next one has begun already; or by
            // more, and what was taken counts in the one of now.
            Some(counts) if self.is_far(counts, now) => Counts { ends, ..counts },
            Some(counts) if counts.ends > now => counts,
            Some(Counts { ends: ended, current, .. }) if ended > start.saturating_sub(self.per) => {
                Counts { previous: current, ..none }
            }
            Some(_) | None => none,
        };
        match self.kind {
            Kind::Fixed => Counts { previous: 0, ..counts },
            Kind::Sliding => counts,
        }
    }

    /// Whether it ends later than any window that has begun, but for a clock that was put back a little.
    fn is_far(&self, counts: Counts, now: u64) -> bool {
        counts.ends > now.saturating_add(self.per.saturating_mul(2))
    }

    /// From when on so many fit, if nobody takes any; zero if there is room for them.
    fn fits_at(&self, counts: Counts, cost: u32) -> Option<u64> {
        let Counts { ends, previous, current } = counts;
        let room = self.limit.checked_sub(cost)?;
        if cost == 0 {
            return Some(0);
        }
        match room.checked_sub(current) {
            Some(room) if room >= previous => Some(0),
            Some(room) => Some(ends.saturating_sub(self.share(room, previous))),
            // In the next one.
            None if self.kind == Kind::Fixed || room >= current => Some(ends),
            None => Some(ends.saturating_add(self.per - self.share(room, current))),
        }
    }

    /// How much of a window may be left for so many `of` the window before to count as `room` at most.
    fn share(&self, room: u32, of: u32) -> u64 {
        // A part of a window is not more than a window.
        (u128::from(room) * u128::from(self.per) / u128::from(of)) as u64
    }

    /// As how many those of the window before count, rounded up.
    fn weight(&self, counts: Counts, now: u64) -> u32 {
        let rest = u128::from(counts.ends.saturating_sub(now).min(self.per));
        // Not more than they were.
        (u128::from(counts.previous) * rest).div_ceil(u128::from(self.per)) as u32
    }
}

/// What a name says of it, and what the script is told.
impl Window {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn per(&self) -> u64 {
        self.per
    }

    #[cfg(feature = "redis")]
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }
}
