//! Who asks, and how he is answered: what the attribute and a `Limiter` both do.
//!
//! With a remote tier it decides, and what it has denied is remembered until it may be granted. While
//! it is away it is as [`WhenDown`] says; without one, the memory of this process decides.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    Allowed, Limited, RateLimited, Rule, State, Step, Verdict, WhenDown,
    denial::Quota,
    line::{Lines, Place},
    name::{self, Name, Title},
    table::{Table, Until},
};
use crate::{
    cache::{Cache, Inner},
    error::Error,
    key::KeyBytes,
    remote::{Limiting, Remote},
    tally::{Decision, LimitCounts},
    watch::Since,
};

/// What is known of limits in the memory of one cache.
pub(crate) struct Limits {
    /// What was taken here, where no remote tier counts.
    states: Table<State>,
    /// What the remote tier has denied.
    denials: Table<Denial>,
    pub(super) lines: Lines,
}

/// Of so many names it is known what was taken, and of as many what was denied: 10 MB each, as measured.
pub(super) const NAMES: usize = 65_536;

/// Nothing of it counts when it is over, and it may be forgotten earlier.
#[derive(Debug, Clone, Copy)]
struct Denial {
    /// Under this one, and for so many.
    rule: Rule,
    cost: u32,
    remaining: u32,
    resets: u64,
}

/// The question whether something may be done, all but for how many times.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) cache: &'a Cache,
    pub(super) rule: Rule,
    pub(super) quota: Quota,
    pub(super) when_down: WhenDown,
    pub(super) title: Title<'a>,
    pub(super) key: &'a KeyBytes,
    pub(super) name: Name,
    pub(super) counts: &'a LimitCounts,
    /// Whether the last answer was Redis's.
    pub(super) is_of_redis: AtomicBool,
}

/// When to try again where a limit says no while Redis is away.
const SECOND: Duration = Duration::from_secs(1);

/// A moment that is later than any, and one that a timer can have: in a year.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Limits {
    fn new() -> Self {
        Self { states: Table::new(NAMES), denials: Table::new(NAMES), lines: Lines::default() }
    }
}

impl Inner {
    #[inline]
    fn limits(&self) -> &Limits {
        self.limits.get_or_init(|| Box::new(Limits::new()))
    }
}

impl Claim<'_> {
    /// Whether it may be done so many times, now.
    pub(super) async fn take(&self, cost: u32) -> Result<Allowed, RateLimited> {
        let Some(remote) = &self.cache.remote else {
            return self.quota.answer(self.here(Step::Take(cost)));
        };
        match self.remembered(cost) {
            Some(denied) => Err(denied),
            None => self.take_there(remote, cost).await,
        }
    }

    /// Counts how a call has ended.
    pub(super) fn count(
        &self,
        answer: Result<Allowed, RateLimited>,
    ) -> Result<Allowed, RateLimited> {
        self.counts.add(match (&answer, self.is_of_redis.load(Relaxed)) {
            (Ok(_), true) => Decision::AllowedByRedis,
            (Ok(_), false) => Decision::AllowedByMemory,
            (Err(_), true) => Decision::DeniedByRedis,
            (Err(_), false) => Decision::DeniedByMemory,
        });
        self.cache.watched();
        answer
    }

    /// As `take`, or as soon as it may be. It gives up when that is too late.
    pub(super) async fn wait(&self, cost: u32, at_most: Duration) -> Result<Allowed, RateLimited> {
        let lines = &self.cache.limits().lines;
        let deadline = after(Instant::now(), at_most);
        let mut denied = None;
        if !lines.is_waited_for(&self.name) || self.is_never_allowed(cost) {
            match self.take(cost).await {
                Err(by) if by.retry_after <= left(deadline) => denied = Some(by),
                answer => return answer,
            }
        }
        let place = lines.join(self, cost, denied.as_ref(), deadline)?;
        let since = Since::now();
        let answer = self.stand(place, cost, deadline).await;
        since.record(&self.counts.waits);
        answer
    }

    /// Stands in line.
    async fn stand(
        &self,
        mut place: Place<'_>,
        cost: u32,
        deadline: Instant,
    ) -> Result<Allowed, RateLimited> {
        if timeout_at(deadline, place.turn()).await.is_err() {
            return Err(place.denial(self));
        }
        loop {
            place.ready(self, deadline).await?;
            match self.ask_again(cost).await {
                Err(denied) if denied.retry_after <= left(deadline) => place.denied(&denied),
                Err(denied) => return Err(denied),
                Ok(allowed) => {
                    place.granted();
                    return Ok(allowed);
                }
            }
        }
    }

    /// How the limit stands.
    pub(super) async fn peek(&self) -> Allowed {
        let limited = match &self.cache.remote {
            None => self.here(Step::Take(0)),
            Some(remote) => match self.ask(remote, Step::Take(0)).await {
                Ok(limited) => limited,
                Err(_) => self.alone(Step::Take(0)),
            },
        };
        self.quota.allowed(limited.remaining, limited.reset_after)
    }

    /// So many that were taken come back.
    pub(super) async fn refund(&self, cost: u32) {
        let _changed = Changed(self);
        let Some(remote) = &self.cache.remote else {
            self.here(Step::Refund(cost));
            return;
        };
        if self.ask(remote, Step::Refund(cost)).await.is_err() && self.when_down == WhenDown::Local
        {
            self.here(Step::Refund(cost));
        }
    }

    /// Nothing was taken.
    pub(super) async fn reset(&self) {
        let _changed = Changed(self);
        self.here(Step::Reset);
        if let Some(remote) = &self.cache.remote {
            // What it does not learn of ends by itself.
            let _ = self.ask(remote, Step::Reset).await;
        }
    }

    /// Whether so many are more than there ever are.
    fn is_never_allowed(&self, cost: u32) -> bool {
        self.rule.decide(None, Step::Take(cost), 0).1.verdict == Verdict::Never
    }

    /// As the memory of this process has it.
    fn here(&self, step: Step) -> Limited {
        let rule = self.rule;
        let now = self.cache.time.precise();
        self.cache.limits().states.change(&self.name, now, |state, now| {
            let (left, limited) = rule.decide(state, step, now);
            (left.map(|state| Until { value: state, over: rule.over_at(state) }), limited)
        })
    }

    /// As it is said while the remote tier is away.
    fn alone(&self, step: Step) -> Limited {
        match self.when_down {
            WhenDown::Local => self.here(step),
            WhenDown::Allow => self.rule.decide(None, Step::Take(0), 0).1,
            WhenDown::Deny => Limited {
                verdict: Verdict::Denied { retry_after: SECOND },
                remaining: 0,
                reset_after: SECOND,
            },
        }
    }

    /// What the remote tier has denied, as long as it would again.
    fn remembered(&self, cost: u32) -> Option<RateLimited> {
        let now = self.cache.time.precise();
        let Until { value: denial, over } = self.cache.limits().denials.find(&self.name)?;
        let is_same = denial.rule == self.rule && denial.cost == cost;
        (is_same && now < over).then(|| {
            let until = |at: u64| Duration::from_micros(at.saturating_sub(now));
            self.quota.denied(denial.remaining, until(over), until(denial.resets))
        })
    }

    async fn ask_again(&self, cost: u32) -> Result<Allowed, RateLimited> {
        match &self.cache.remote {
            None => self.quota.answer(self.here(Step::Take(cost))),
            Some(remote) => self.take_there(remote, cost).await,
        }
    }

    async fn take_there(
        &self,
        remote: &Arc<dyn Remote>,
        cost: u32,
    ) -> Result<Allowed, RateLimited> {
        let denials = &self.cache.limits().denials;
        self.is_of_redis.store(false, Relaxed);
        let (sent, forgets) = (self.cache.time.precise(), denials.forgets(&self.name));
        let Ok(limited) = self.ask(remote, Step::Take(cost)).await else {
            return self.quota.answer(self.alone(Step::Take(cost)));
        };
        self.is_of_redis.store(true, Relaxed);
        if let Limited { verdict: Verdict::Denied { retry_after }, remaining, reset_after } =
            limited
        {
            // It was decided later than this, so nobody is denied who may.
            let at = |after: Duration| sent.saturating_add(after.as_micros() as u64);
            let denial = Denial { rule: self.rule, cost, remaining, resets: at(reset_after) };
            denials.keep(&self.name, Until { value: denial, over: at(retry_after) }, sent, forgets);
        }
        self.quota.answer(limited)
    }

    async fn ask(&self, remote: &Arc<dyn Remote>, step: Step) -> Result<Limited, Error> {
        if !remote.is_usable() {
            return Err(Error::Unavailable);
        }
        let key = name::key(self.cache.service(), self.title, self.rule, self.key);
        remote.limit(Limiting { key: &key, rule: self.rule, step }).await
    }
}

/// When it is dropped, something came back, or may have: nobody is denied any more for what was known.
struct Changed<'a>(&'a Claim<'a>);

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let Self(Claim { cache, name, .. }) = self;
        let limits = cache.limits();
        limits.denials.forget(name);
        limits.lines.changed(name);
    }
}

/// What is left until then.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A moment that a timer can have.
fn after(moment: Instant, time: Duration) -> Instant {
    moment.checked_add(time).unwrap_or_else(|| moment + LONGEST_WAIT)
}
