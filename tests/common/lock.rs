//! A lock as it stands in Redis, and what its scripts do to it: step by step, with the time as a parameter.

// Each of those who use it uses a part of it.
#![allow(dead_code)]

/// What stands at the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Standing {
    /// Who has it; zero if nobody has.
    pub(crate) holder: u128,
    pub(crate) fence: u64,
    /// The millisecond until which it is held.
    pub(crate) ends: u64,
    /// When this was written, in milliseconds.
    pub(crate) written: u64,
    /// Who waits, and the millisecond until which that counts.
    pub(crate) places: Vec<(u128, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Now,
    Wait,
    Renew,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Held(u64),
    /// For how many milliseconds at most, and how many come first.
    Busy(u64, Option<u64>),
    Lost,
}

/// A place counts for so many milliseconds.
pub(crate) const COUNTS: u64 = 1000;

pub(crate) const PLACES: usize = 128;

impl Standing {
    /// What of it counts at that millisecond.
    pub(crate) fn at(&self, now: u64) -> Self {
        let back = self.written.saturating_sub(now);
        let is_held = self.holder != 0 && self.ends.saturating_sub(back) > now;
        let place = |(token, ends): &(u128, u64)| Some((*token, ends.checked_sub(back)?));
        let counts = |(_, ends): &(u128, u64)| *ends > now && *ends <= now + COUNTS;
        Self {
            holder: if is_held { self.holder } else { 0 },
            fence: self.fence,
            ends: if is_held { self.ends - back } else { 0 },
            written: now,
            places: self.places.iter().filter_map(place).filter(counts).collect(),
        }
    }

    /// What ACQUIRE answers at that microsecond, and what it leaves, if it writes.
    pub(crate) fn acquire(
        &self,
        token: u128,
        lease: u64,
        ask: Ask,
        now: u64,
    ) -> (Answer, Option<Self>) {
        let micros = now;
        let now = micros / 1000;
        let mut lock = self.at(now);
        let at = lock.places.iter().position(|(of, _)| *of == token);
        let others: Vec<_> = lock.places.iter().filter(|(of, _)| *of != token).copied().collect();
        if lock.holder != token {
            if ask == Ask::Renew {
                return (Answer::Lost, None);
            }
            let is_first = lock.places.is_empty() || at == Some(0);
            if lock.holder != 0 || !is_first {
                let ends = if lock.holder == 0 { lock.places[0].1 } else { lock.ends };
                if ask == Ask::Now {
                    lock.places = others;
                    return (Answer::Busy(ends - now, None), at.map(|_| lock));
                }
                let at = match at {
                    Some(at) => {
                        lock.places[at].1 = now + COUNTS;
                        at
                    }
                    None if lock.places.len() == PLACES => {
                        return (Answer::Busy(ends - now, None), None);
                    }
                    None => {
                        lock.places.push((token, now + COUNTS));
                        lock.places.len() - 1
                    }
                };
                return (Answer::Busy(ends - now, Some(at as u64)), Some(lock));
            }
            lock.holder = token;
            lock.fence = micros.max(lock.fence + 1);
        }
        lock.ends = now + lease;
        lock.places = others;
        (Answer::Held(lock.fence), Some(lock))
    }

    /// Whether the token had it that gives it back, what is left, if anything changed, and whose turn it is
    /// then.
    pub(crate) fn unlock(&self, token: u128, now: u64) -> (bool, Option<Self>, Option<u128>) {
        let mut lock = self.at(now / 1000);
        let had = lock.holder == token;
        let at = lock.places.iter().position(|(of, _)| *of == token);
        if !had && at.is_none() {
            return (false, None, None);
        }
        if had {
            (lock.holder, lock.ends) = (0, 0);
        }
        lock.places.retain(|(of, _)| *of != token);
        let next = lock.places.first().map(|(of, _)| *of);
        let next = next.filter(|_| lock.holder == 0 && (had || at == Some(0)));
        (had, Some(lock), next)
    }
}
