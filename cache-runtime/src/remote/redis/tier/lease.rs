//! Leases: who runs a function, and which stamps stood before it did.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::Value;
use tokio::{runtime::Handle, time::Instant};

use super::{
    super::{
        failure::Failure,
        scripts::{self, Answer},
        stamps::{self, Grant, Stamp, Standing, TagKeys},
        subscriber::Kind,
        wire::Request,
    },
    Inner, MOST, Parked, Several,
    judge::{Current, Judged, Judgement, judge},
    left, several,
};
use crate::{
    error::Error,
    remote::{Ask, Lease, Leased, ReadStamps, Rejected, Seen, Token},
    sync::lock,
};

/// One that asks for a lease, and how far it has got.
struct Asking {
    ask: Ask,
    kind: scripts::Ask,
    /// What it cannot use.
    seen: Rejected,
    /// Whether LEASE has, whatever came of it.
    is_granted: bool,
    answer: Option<Result<(Leased, ReadStamps), Error>>,
}

impl Asking {
    fn new(mut ask: Ask) -> Self {
        let (kind, seen) = match mem::replace(&mut ask.seen, Seen::Nothing) {
            Seen::Nothing => (scripts::Ask::Load, Rejected::default()),
            Seen::Early => (scripts::Ask::Early, Rejected::default()),
            Seen::Rejected(rejected) => (scripts::Ask::Load, rejected),
            Seen::Refresh => (scripts::Ask::Refresh, Rejected::default()),
        };
        Self { ask, kind, seen, is_granted: false, answer: None }
    }

    fn command(&self, term: Duration, not_after: Option<u64>) -> scripts::Lease<'_> {
        let Lease { key, token } = &self.ask.lease;
        scripts::Lease { key, token: *token, term, not_after, ask: self.kind, seen: &self.seen.0 }
    }

    /// What LEASE has answered, by the stamps that stand then; `None` if that is a value which nobody can
    /// use, and it has to ask again.
    fn leased(
        &mut self,
        answer: Answer<scripts::Leased>,
        current: Current<'_>,
        budget: Duration,
    ) -> Option<Result<Leased, Failure>> {
        let Answer { now, outcome } = answer;
        let (bytes, is_stale) = match outcome {
            scripts::Leased::Found(bytes) => (bytes, false),
            scripts::Leased::Stale(bytes) => (bytes, true),
            scripts::Leased::Granted(grant) => {
                let is_refresh = grant == scripts::Grant::Refresh;
                return Some(Ok(Leased::Granted { is_refresh }));
            }
            scripts::Leased::Busy(_) => return Some(Ok(Leased::Busy)),
            scripts::Leased::Held => return Some(Ok(Leased::Held)),
            scripts::Leased::Newer => return Some(Ok(Leased::Newer)),
            scripts::Leased::Late | scripts::Leased::Lost => {
                return Some(Err(Failure::Timeout(budget)));
            }
        };
        match judge(bytes, Some(now)) {
            Judged::Value(value) if value.is_of(current) => {
                let Judgement { found, pause, is_refreshed, .. } = value;
                return Some(Ok(if is_stale {
                    Leased::Stale { found, pause, is_refreshed }
                } else {
                    Leased::Found(found)
                }));
            }
            Judged::Value(value) => self.seen = value.found.seen(),
            Judged::Foreign(seen) => self.seen = seen,
            Judged::Newer => return Some(Ok(Leased::Newer)),
            Judged::Nothing => {}
        }
        None
    }
}

impl Inner {
    pub(super) async fn lease(
        self: &Arc<Self>,
        asks: Vec<Ask>,
        within: Duration,
    ) -> Vec<Result<(Leased, ReadStamps), Error>> {
        let since = Instant::now();
        for ask in &asks {
            self.park(&ask.lease.key);
        }
        let mut all: Vec<_> = asks.into_iter().map(Asking::new).collect();
        let mut unclaimed = Unclaimed { inner: self, leases: Vec::new() };
        // A value that comes in between and cannot be used is replaced in a second attempt.
        for _ in 0..2 {
            let mut open: Vec<_> = all.iter_mut().filter(|one| one.answer.is_none()).collect();
            if let Err(failure) = self.ask(&mut open, &mut unclaimed, left(within, since)).await {
                for one in open {
                    one.answer = Some(Err(failure.into()));
                }
            }
        }
        // Those who do not wait any more are dropped without the lock.
        let (mut lost, mut idle) = (Vec::new(), Vec::new());
        let mut answers = Vec::with_capacity(all.len());
        for Asking { ask, is_granted, answer, .. } in all {
            // It changes faster than it can be asked for.
            let answer = answer.unwrap_or(Ok((Leased::Busy, None)));
            if !matches!(answer, Ok((Leased::Busy, _))) {
                idle.push(lock(&self.parked).remove(&ask.lease.key));
            }
            if is_granted && !matches!(answer, Ok((Leased::Granted { .. }, _))) {
                lost.push(ask.lease);
            }
            answers.push(answer);
        }
        unclaimed.leases = lost;
        answers
    }

    /// LEASE for each of these, and the stamps that stand then.
    async fn ask(
        self: &Arc<Self>,
        open: &mut [&mut Asking],
        unclaimed: &mut Unclaimed<'_>,
        within: Duration,
    ) -> Result<(), Failure> {
        let sent = Instant::now();
        let not_after = self.not_after(sent, within);
        let keys: Vec<_> = open.iter().map(|one| one.ask.tags.keys()).collect();
        let tags = TagKeys::of(keys.iter().flatten());
        let commands: Vec<_> = open.iter().map(|one| one.command(self.lease, not_after)).collect();
        let Some(request) = Request::all(&commands, self.read_stamps(&tags)) else {
            return Ok(());
        };
        let asked: Vec<_> = open.iter().map(|one| one.ask.lease.clone()).collect();
        let late = Arc::downgrade(self);
        let on_late = move |answered| come_late(&late, asked, answered);
        let answered = self.connection.run_or_late(request, within, on_late).await;
        let at = Instant::now();
        let Several { answers, behind } = several::<scripts::Lease<'_>>(answered?, open.len())?;
        for (one, answer) in open.iter_mut().zip(&answers) {
            one.is_granted = matches!(answer, Ok(answer) if answer.is_grant());
            if one.is_granted {
                unclaimed.leases.push(one.ask.lease.clone());
            }
        }
        let service = self.noted_service(behind.first(), sent)?;
        let mut standing = tags.read(behind.get(1));
        let granted = open.iter().zip(&keys).filter(|(one, _)| one.is_granted);
        let granted = TagKeys::of(granted.flat_map(|(_, keys)| keys));
        self.seed(&granted, &mut standing, left(within, sent)).await;
        for ((one, answer), keys) in open.iter_mut().zip(answers).zip(&keys) {
            let answered = answer.and_then(|answer| Ok((answer, standing.of_all(keys)?)));
            let (answer, read) = match answered {
                Ok(answered) => answered,
                Err(failure) => {
                    one.answer = Some(Err(failure.into()));
                    continue;
                }
            };
            if one.is_granted {
                let Some(read) = &read else {
                    // As if the entry were: what is made now could not be told from what is older.
                    one.answer = Some(Ok((Leased::Held, None)));
                    continue;
                };
                let tags = keys.iter().cloned().zip(read.iter().copied()).collect();
                let (stamp, tags, server) = (service, Some(tags), answer.now);
                self.grant(one.ask.lease.token, Grant { stamp, tags, server, at });
            }
            let current = Current { service, tags: read.as_deref() };
            let answer = one.leased(answer, current, self.budget);
            one.answer = answer.map(|leased| Ok((leased?, read)));
        }
        Ok(())
    }

    /// Makes the stamps of these tags that are lost.
    pub(super) async fn seed(
        &self,
        keys: &TagKeys<'_>,
        standing: &mut Standing<'_>,
        within: Duration,
    ) {
        // Whether a hold still stands is for the script to say: one whose writers are dead does not.
        let lost: Vec<_> = keys.iter().filter(|key| standing.of(key).is_missing()).collect();
        let seeds: Vec<_> =
            lost.iter().map(|key| scripts::Seed { key, keep: stamps::KEPT }).collect();
        let (made, _) = self.run_all(&seeds, Vec::new(), within).await;
        for (key, made) in lost.into_iter().zip(made) {
            standing.set(
                key,
                match made {
                    Ok(scripts::Seeded::Stamp(stamp)) => Stamp::Is(stamp),
                    Ok(scripts::Seeded::Held) => Stamp::Held,
                    Err(failure) => Stamp::Unknown(failure),
                },
            );
        }
    }

    pub(super) fn grant(&self, token: Token, grant: Grant) {
        let mut grants = lock(&self.grants);
        if grants.len() >= MOST {
            // None of these stands any more, unless somebody goes on to renew it.
            let most = self.lease.saturating_mul(10);
            grants.retain(|_, old| grant.at.duration_since(old.at) < most);
        }
        grants.insert(token, grant);
    }

    /// Registers a waiter for what comes after the command that is sent next.
    fn park(&self, key: &str) {
        let now = Instant::now();
        // One that was left behind by a wait which has ended: what it has heard since is of another run.
        let most = self.budget.saturating_mul(2);
        let mut parked = lock(&self.parked);
        if parked.get(key).is_some_and(|parked| now.duration_since(parked.since) <= most) {
            return;
        }
        // They lose what they would have heard, and look again by themselves.
        let forgotten = if parked.len() >= MOST { mem::take(&mut *parked) } else { HashMap::new() };
        let waiter = self.ears.waiters.wait(key);
        let old = parked.insert(key.to_owned(), Parked { waiter, since: now });
        drop(parked);
        drop((old, forgotten));
    }
}

impl Answer<scripts::Leased> {
    fn is_grant(&self) -> bool {
        matches!(self.outcome, scripts::Leased::Granted(_))
    }
}

/// Leases that were granted, and whose caller does not know of it yet: given back if it never does.
struct Unclaimed<'a> {
    inner: &'a Arc<Inner>,
    leases: Vec<Lease>,
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        if !self.leases.is_empty() && Handle::try_current().is_ok() {
            give_back(Arc::clone(self.inner), mem::take(&mut self.leases));
        }
    }
}

/// One that is not released expires.
fn give_back(inner: Arc<Inner>, leases: Vec<Lease>) {
    tokio::spawn(async move {
        let _ = inner.release(leases, Duration::ZERO, Kind::Wake).await;
    });
}

/// An answer to LEASE that nobody waits for any more.
fn come_late(inner: &Weak<Inner>, leases: Vec<Lease>, answered: Result<Value, Failure>) {
    let count = leases.len();
    let granted: Vec<_> = match answered.and_then(|answer| several(answer, count)) {
        Ok(Several::<scripts::Lease<'_>> { answers, .. }) => {
            let may_be = |answer: &Result<Answer<_>, Failure>| match answer {
                Ok(answer) => answer.is_grant(),
                Err(failure) => failure.is_broken(),
            };
            let granted = leases.into_iter().zip(&answers).filter(|(_, answer)| may_be(answer));
            granted.map(|(lease, _)| lease).collect()
        }
        // They may have been.
        Err(failure) if failure.is_broken() => leases,
        Err(_) => return,
    };
    let Some(inner) = inner.upgrade().filter(|_| !granted.is_empty()) else {
        return;
    };
    inner.late_grants.fetch_add(granted.len() as u64, Relaxed);
    give_back(inner, granted);
}
