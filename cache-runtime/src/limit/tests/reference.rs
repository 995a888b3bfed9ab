//! The algorithms by their definitions, from a log of everything that was done.

use super::super::Step;

/// A log of what was done.
pub(super) trait Log {
    /// Whether so many would fit at that moment, which is not before the last one.
    fn fits(&self, now: u64, cost: u64) -> bool;

    fn note(&mut self, now: u64, step: Step);
}

/// From each moment on, no more than a burst and what drains since.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: i128,
    per: i128,
    burst: i128,
    log: Vec<(u64, Step)>,
}

impl Bucket {
    pub(super) fn new(limit: u32, per: u64, burst: u32) -> Self {
        Self { limit: limit.into(), per: per.into(), burst: burst.into(), log: Vec::new() }
    }
}

impl Log for Bucket {
    fn fits(&self, now: u64, cost: u64) -> bool {
        let cost = i128::from(cost);
        if cost > self.burst {
            return false;
        }
        // What was taken since then, the later first.
        let mut taken = 0;
        for (time, step) in self.log.iter().rev() {
            let since = i128::from(now - time);
            if let Step::Take(cost) = step {
                taken += i128::from(*cost);
            }
            if cost > 0 && (taken + cost - self.burst) * self.per > since * self.limit {
                return false;
            }
            // What comes back is not more than there is.
            match step {
                Step::Take(_) => {}
                Step::Refund(cost) => taken -= i128::from(*cost),
                Step::Reset => return true,
            }
        }
        true
    }

    fn note(&mut self, now: u64, step: Step) {
        self.log.push((now, step));
    }
}

/// What was taken in each window.
#[derive(Debug)]
pub(super) struct Windows {
    limit: u64,
    per: u64,
    slides: bool,
    counts: Vec<(u64, u64)>,
}

impl Windows {
    pub(super) fn fixed(limit: u32, per: u64) -> Self {
        Self { limit: limit.into(), per, slides: false, counts: Vec::new() }
    }

    pub(super) fn sliding(limit: u32, per: u64) -> Self {
        Self { slides: true, ..Self::fixed(limit, per) }
    }

    fn of(&self, window: u64) -> u64 {
        self.counts.iter().find(|(of, _)| *of == window).map_or(0, |(_, count)| *count)
    }

    fn at(&mut self, window: u64) -> &mut u64 {
        if self.of(window) == 0 {
            self.counts.retain(|(of, _)| *of != window);
            self.counts.push((window, 0));
        }
        &mut self.counts.iter_mut().find(|(of, _)| *of == window).unwrap().1
    }
}

impl Log for Windows {
    fn fits(&self, now: u64, cost: u64) -> bool {
        let (window, into) = (now / self.per, now % self.per);
        let before = if self.slides { self.of(window - 1) } else { 0 };
        let weighted = u128::from(before) * u128::from(self.per - into);
        let taken = u128::from(self.of(window) + cost) * u128::from(self.per);
        cost == 0 || weighted + taken <= u128::from(self.limit) * u128::from(self.per)
    }

    fn note(&mut self, now: u64, step: Step) {
        let window = now / self.per;
        match step {
            Step::Take(cost) => *self.at(window) += u64::from(cost),
            Step::Refund(cost) => {
                let of_this = self.of(window).min(cost.into());
                *self.at(window) -= of_this;
                let before = self.at(window - 1);
                *before = before.saturating_sub(u64::from(cost) - of_this);
            }
            Step::Reset => self.counts.clear(),
        }
    }
}
