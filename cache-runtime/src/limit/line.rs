//! Who waits for a limit: one after the other, in the order in which they came. Only the first of them
//! asks, so that a grant costs the same however many wait for the next.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{RateLimited, claim::Claim, name::Name};
use crate::{
    hash::RandomState,
    sync::{Mutex, lock},
};

/// The lines of all names that somebody waits for.
#[derive(Default)]
pub(super) struct Lines {
    /// So many: most limits are never waited for, and need not look.
    count: AtomicUsize,
    all: Mutex<HashMap<Name, Line, RandomState>>,
}

struct Line {
    /// Whoever has it is the first.
    turn: Arc<Semaphore>,
    /// Something came back, and the first may ask again.
    change: Arc<Notify>,
    waiters: usize,
    /// What they take together.
    waiting: u64,
    known: Option<Known>,
}

/// What was last heard of the limit.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// By then so many may be taken, and no more.
    ready: Instant,
    fits: u64,
    /// Were taken by this line since that was heard.
    granted: u64,
    resets: Instant,
}

/// The place of one that waits. It is given up when it is dropped.
pub(super) struct Place<'a> {
    lines: &'a Lines,
    name: Name,
    cost: u32,
    turn: Arc<Semaphore>,
    change: Arc<Notify>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lines {
    /// Whether one who comes now has somebody before him.
    #[inline]
    pub(super) fn is_waited_for(&self, name: &Name) -> bool {
        self.count.load(Relaxed) > 0 && lock(&self.all).contains_key(name)
    }

    /// The last place, for one who was denied like this, if he has asked.
    ///
    /// # Errors
    ///
    /// Who has it cannot be admitted by the deadline.
    pub(super) fn join(
        &self,
        claim: &Claim<'_>,
        cost: u32,
        denied: Option<&RateLimited>,
        deadline: Instant,
    ) -> Result<Place<'_>, RateLimited> {
        let now = Instant::now();
        let mut all = lock(&self.all);
        if let Some(line) = all.get(&claim.name)
            && let Some(known) = &line.known
            && let at_best = known.at_best(claim, line.waiting + u64::from(cost))
            && at_best > deadline
        {
            return Err(known.denial(claim, at_best, now));
        }
        let line = all.entry(claim.name).or_insert_with(|| {
            self.count.fetch_add(1, Relaxed);
            Line::new()
        });
        line.waiters += 1;
        line.waiting += u64::from(cost);
        if line.known.is_none()
            && let Some(denied) = denied
        {
            line.known = Some(Known::new(denied, cost, now));
        }
        Ok(Place {
            lines: self,
            name: claim.name,
            cost,
            turn: Arc::clone(&line.turn),
            change: Arc::clone(&line.change),
            permit: None,
        })
    }

    /// Something came back of what was taken.
    pub(super) fn changed(&self, name: &Name) {
        if self.count.load(Relaxed) > 0
            && let Some(line) = lock(&self.all).get_mut(name)
        {
            line.known = None;
            // It may not be waiting for this yet.
            line.change.notify_one();
        }
    }
}

impl Line {
    fn new() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            change: Arc::default(),
            waiters: 0,
            waiting: 0,
            known: None,
        }
    }
}

impl Known {
    fn new(denied: &RateLimited, cost: u32, now: Instant) -> Self {
        let at = |time: Duration| now.checked_add(time).unwrap_or(now);
        let (ready, resets) = (at(denied.retry_after), at(denied.reset_after));
        Self { ready, fits: u64::from(cost), granted: 0, resets }
    }

    /// When so many more may have been taken by this line, if nobody else takes any.
    fn at_best(&self, claim: &Claim<'_>, more: u64) -> Instant {
        let time = claim.rule.at_best(self.fits, self.granted.saturating_add(more));
        self.ready.checked_add(time).unwrap_or(self.ready)
    }

    /// For one who cannot be admitted before.
    fn denial(&self, claim: &Claim<'_>, at: Instant, now: Instant) -> RateLimited {
        let retry_after = at.saturating_duration_since(now);
        let reset_after = self.resets.saturating_duration_since(now).max(retry_after);
        claim.quota.denied(0, retry_after, reset_after)
    }
}

impl Place<'_> {
    /// Until all who came before have gone.
    pub(super) async fn turn(&mut self) {
        // Nobody closes it.
        self.permit = Arc::clone(&self.turn).acquire_owned().await.ok();
    }

    /// Until it may be granted, of the first of the line.
    ///
    /// # Errors
    ///
    /// That is later than the deadline.
    pub(super) async fn ready(
        &self,
        claim: &Claim<'_>,
        deadline: Instant,
    ) -> Result<(), RateLimited> {
        let Some(known) = self.line(|line| line.known).flatten() else {
            return Ok(());
        };
        let at = known.at_best(claim, u64::from(self.cost));
        if at > deadline {
            return Err(known.denial(claim, at, Instant::now()));
        }
        // It may be sooner.
        let _ = timeout_at(at, self.change.notified()).await;
        Ok(())
    }

    /// The first of the line was denied.
    pub(super) fn denied(&self, denied: &RateLimited) {
        let known = Known::new(denied, self.cost, Instant::now());
        self.line(|line| line.known = Some(known));
    }

    /// The first of the line was admitted.
    pub(super) fn granted(self) {
        self.line(|line| {
            if let Some(known) = &mut line.known {
                known.granted += u64::from(self.cost);
            }
        });
    }

    /// For one whose time is over: if he comes again, he is the last.
    pub(super) fn denial(&self, claim: &Claim<'_>) -> RateLimited {
        let denial = self.line(|line| {
            let known = line.known?;
            Some(known.denial(claim, known.at_best(claim, line.waiting), Instant::now()))
        });
        denial.flatten().unwrap_or_else(|| claim.quota.denied(0, Duration::ZERO, Duration::ZERO))
    }

    fn line<R>(&self, see: impl FnOnce(&mut Line) -> R) -> Option<R> {
        lock(&self.lines.all).get_mut(&self.name).map(see)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.lines.all);
        if let Some(line) = all.get_mut(&self.name) {
            line.waiters -= 1;
            line.waiting = line.waiting.saturating_sub(u64::from(self.cost));
            if line.waiters == 0 {
                all.remove(&self.name);
                self.lines.count.fetch_sub(1, Relaxed);
            }
        }
    }
}
