use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::{
    Acquired, Answers, Ask, Claim, Fill, Got, Hold, Lease, Leased, Memory, ReadOf, ReadStamps,
    Reason, Remote, Reply, Settlement, Tags, Token, Turns, Wish,
};
use crate::{
    cache::Background,
    error::Error,
    sync::{Mutex, lock},
};

/// The remote tier as the calls of a batch see it: what they ask is gathered, and sent when none of them
/// gets any further without it.
///
/// The leases of a batch are taken in the order of their keys: it never waits for one while it has one
/// that is greater, or two batches could wait for each other. What it is granted out of that order it
/// gives back, and asks for when the smaller ones are no longer waited for. Where it asks for a smaller one
/// later, and that is leased to another, it runs without. While it waits for a flight of its own process it
/// asks for none: who leads that may wait for any.
pub(crate) struct Gather {
    inner: Arc<dyn Remote>,
    background: Background,
    asked: Mutex<Asked>,
}

/// What was asked, and who waits for the answer.
type Queue<A, T> = Vec<(A, oneshot::Sender<Result<T, Error>>)>;

#[derive(Default)]
struct Asked {
    reads: Queue<ReadOf, (Got, ReadStamps)>,
    leases: Queue<Ask, (Leased, ReadStamps)>,
    fills: Queue<(Lease, Fill), bool>,
    releases: Queue<Lease, bool>,
    /// What the commands may take.
    within: Option<Duration>,
    /// How long what is released is not to be refreshed.
    pause: Duration,
    /// The keys that are leased to this batch.
    leased: BTreeSet<String>,
    /// Those that are leased to others.
    busy: BTreeSet<String>,
    /// Those that are to be asked for again, and who waits to do that.
    put_off: BTreeSet<String>,
    waiting: Vec<(String, oneshot::Sender<()>)>,
}

/// Something that was sent, until it is answered.
pub(crate) type Sent = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Gather {
    pub(crate) fn new(inner: Arc<dyn Remote>, background: Background) -> Arc<Self> {
        Arc::new(Self { inner, background, asked: Mutex::default() })
    }

    /// Sends what was asked since the last time. What is leased to another is waited for by those alone of
    /// whom `waiting` says so; also whether the batch `follows` other flights of its process.
    pub(crate) fn send<'a>(
        self: &Arc<Self>,
        waiting: impl FnOnce() -> BTreeSet<&'a str>,
        follows: impl FnOnce() -> bool,
    ) -> Vec<Sent> {
        let mut asked = lock(&self.asked);
        if !asked.busy.is_empty() || !asked.put_off.is_empty() {
            let waiting = waiting();
            asked.busy.retain(|key| waiting.contains(key.as_str()));
            asked.put_off.retain(|key| waiting.contains(key.as_str()));
        }
        let wants_leases = !asked.leases.is_empty() || !asked.waiting.is_empty();
        if wants_leases && follows() {
            asked.put_off();
        } else {
            asked.wake_next();
        }
        let within = asked.within.take().unwrap_or_default();
        let pause = std::mem::take(&mut asked.pause);
        let (reads, leases) = (std::mem::take(&mut asked.reads), std::mem::take(&mut asked.leases));
        let fills = std::mem::take(&mut asked.fills);
        let releases = std::mem::take(&mut asked.releases);
        drop(asked);
        let mut sent: Vec<Sent> = Vec::new();
        if !reads.is_empty() {
            let (reads, answers): (_, Vec<_>) = reads.into_iter().unzip();
            let this = Arc::clone(self);
            sent.push(Box::pin(async move {
                answer(answers, this.inner.get_all(reads, within).await);
            }));
        }
        if !leases.is_empty() {
            sent.push(Box::pin(Arc::clone(self).lease_all(leases, within)));
        }
        if !fills.is_empty() {
            let (fills, answers): (_, Vec<_>) = fills.into_iter().unzip();
            let this = Arc::clone(self);
            sent.push(Box::pin(async move {
                answer(answers, this.inner.fill(fills, within).await);
            }));
        }
        if !releases.is_empty() {
            let (releases, answers): (_, Vec<_>) = releases.into_iter().unzip();
            let this = Arc::clone(self);
            sent.push(Box::pin(async move {
                answer(answers, this.inner.release(releases, pause).await);
            }));
        }
        sent
    }

    async fn lease_all(
        self: Arc<Self>,
        mut leases: Queue<Ask, (Leased, ReadStamps)>,
        within: Duration,
    ) {
        // The server takes them in this order.
        leases.sort_by(|(one, _), (other, _)| one.lease.key.cmp(&other.lease.key));
        let (asks, senders): (Vec<_>, Vec<_>) = leases.into_iter().unzip();
        let keys: Vec<Lease> = asks.iter().map(|ask| ask.lease.clone()).collect();
        let answers = self.inner.lease(asks, within).await;
        let first = self.note(&keys, &answers);
        let (mut given_back, mut waiting) = (Vec::new(), Vec::new());
        for ((lease, sender), answer) in keys.into_iter().zip(senders).zip(answers) {
            let is_granted = matches!(answer, Ok((Leased::Granted { .. }, _)));
            if is_granted && first.as_ref().is_some_and(|first| lease.key > *first) {
                given_back.push(lease);
                waiting.push(sender);
            } else {
                // Who is gone needs no answer.
                let _ = sender.send(answer);
            }
        }
        if given_back.is_empty() {
            return;
        }
        let inner = Arc::clone(&self.inner);
        // Also if the batch is gone by then.
        self.background.spawn(async move {
            // What is not given back ends with its lease.
            let _ = timeout(within, inner.give_back(given_back)).await;
            for sender in waiting {
                let _ = sender.send(Ok((Leased::Busy, None)));
            }
        });
    }

    /// Notes what is leased to whom. What was granted behind the first that this batch has no lease of is to
    /// be given back.
    fn note(
        &self,
        keys: &[Lease],
        answers: &[Result<(Leased, ReadStamps), Error>],
    ) -> Option<String> {
        let mut asked = lock(&self.asked);
        for (Lease { key, .. }, answer) in keys.iter().zip(answers) {
            asked.put_off.remove(key);
            if matches!(answer, Ok((Leased::Busy, _))) {
                asked.busy.insert(key.clone());
            } else {
                asked.busy.remove(key);
            }
        }
        let first = asked.busy.first().into_iter().chain(asked.put_off.first()).min().cloned();
        for (Lease { key, .. }, answer) in keys.iter().zip(answers) {
            if !matches!(answer, Ok((Leased::Granted { .. }, _))) {
                continue;
            }
            if first.as_ref().is_some_and(|first| key > first) {
                asked.put_off.insert(key.clone());
            } else {
                asked.leased.insert(key.clone());
            }
        }
        first
    }

    fn ask<'a, A, T: Send + 'a>(
        &'a self,
        asks: Vec<A>,
        queue: impl Fn(&mut Asked) -> &mut Queue<A, T>,
        note: impl FnOnce(&mut Asked),
    ) -> Answers<'a, T> {
        let mut asked = lock(&self.asked);
        note(&mut asked);
        let answers: Vec<_> = asks
            .into_iter()
            .map(|ask| {
                let (sender, answer) = oneshot::channel();
                queue(&mut asked).push((ask, sender));
                answer
            })
            .collect();
        drop(asked);
        Box::pin(async move {
            let mut all = Vec::with_capacity(answers.len());
            for answer in answers {
                all.push(answer.await.unwrap_or(Err(Error::Unavailable)));
            }
            all
        })
    }
}

impl Asked {
    fn bound(&mut self, within: Duration) {
        self.within = Some(self.within.map_or(within, |before| before.min(within)));
    }

    /// Leases are not asked for yet, as if they were leased to others.
    fn put_off(&mut self) {
        for (ask, asking) in std::mem::take(&mut self.leases) {
            self.put_off.insert(ask.lease.key);
            let _ = asking.send(Ok((Leased::Busy, None)));
        }
    }

    /// Who waits to ask for a lease does so, up to the first that is leased to another.
    fn wake_next(&mut self) {
        let first = self.busy.first();
        for (key, waiting) in std::mem::take(&mut self.waiting) {
            if first.is_none_or(|first| key <= *first) {
                // Who is gone does not wait.
                let _ = waiting.send(());
            } else {
                self.waiting.push((key, waiting));
            }
        }
    }

    /// These are not leased to this batch any more.
    fn end(&mut self, keys: &[String]) {
        for key in keys {
            self.leased.remove(key);
        }
    }
}

fn answer<T>(senders: Vec<oneshot::Sender<T>>, answers: Vec<T>) {
    for (sender, answer) in senders.into_iter().zip(answers) {
        // Who is gone needs no answer.
        let _ = sender.send(answer);
    }
}

impl Remote for Gather {
    fn get<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        within: Duration,
    ) -> Reply<'a, (Got, ReadStamps)> {
        let read = ReadOf { key: key.to_owned(), tags: tags.clone() };
        let answers = self.get_all(vec![read], within);
        Box::pin(async move { answers.await.pop().unwrap_or(Err(Error::Unavailable)) })
    }

    fn get_all(&self, reads: Vec<ReadOf>, within: Duration) -> Answers<'_, (Got, ReadStamps)> {
        self.ask(reads, |asked| &mut asked.reads, |asked| asked.bound(within))
    }

    fn lease(&self, asks: Vec<Ask>, within: Duration) -> Answers<'_, (Leased, ReadStamps)> {
        self.ask(asks, |asked| &mut asked.leases, |asked| asked.bound(within))
    }

    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        self.inner.renew(key, token)
    }

    fn fill(&self, fills: Vec<(Lease, Fill)>, within: Duration) -> Answers<'_, bool> {
        let ended: Vec<_> = fills.iter().map(|(lease, _)| lease.key.clone()).collect();
        let note = |asked: &mut Asked| {
            asked.bound(within);
            asked.end(&ended);
        };
        self.ask(fills, |asked| &mut asked.fills, note)
    }

    fn release(&self, leases: Vec<Lease>, pause: Duration) -> Answers<'_, bool> {
        let ended: Vec<_> = leases.iter().map(|lease| lease.key.clone()).collect();
        let note = |asked: &mut Asked| {
            asked.pause = asked.pause.max(pause);
            asked.end(&ended);
        };
        self.ask(leases, |asked| &mut asked.releases, note)
    }

    fn give_back(&self, leases: Vec<Lease>) -> Answers<'_, bool> {
        self.inner.give_back(leases)
    }

    fn invalidate<'a>(&'a self, keys: &'a [String]) -> Answers<'a, ()> {
        self.inner.invalidate(keys)
    }

    fn hold<'a>(&'a self, holds: &'a [Hold], term: Duration, still: bool) -> Answers<'a, ()> {
        self.inner.hold(holds, term, still)
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Answers<'_, bool> {
        self.inner.settle(settlements)
    }

    fn changed<'a>(&'a self, key: &'a str) -> Reply<'a, Reason> {
        let mut asked = lock(&self.asked);
        if !asked.put_off.contains(key) {
            let is_last = asked.leased.last().is_none_or(|last| last.as_str() < key);
            drop(asked);
            if !is_last {
                return Box::pin(async { Err(Error::Unavailable) });
            }
            return self.inner.changed(key);
        }
        let (sender, next) = oneshot::channel();
        asked.waiting.push((key.to_owned(), sender));
        Box::pin(async move {
            // Whatever it was, it is time to look.
            let _ = next.await;
            Ok(Reason::Poll)
        })
    }

    #[cfg(feature = "limit")]
    fn limit<'a>(&'a self, ask: super::Limiting<'a>) -> Reply<'a, crate::limit::Limited> {
        self.inner.limit(ask)
    }

    fn acquire<'a>(&'a self, claim: &'a Claim, wish: Wish) -> Reply<'a, Acquired> {
        self.inner.acquire(claim, wish)
    }

    fn unlock<'a>(&'a self, claim: &'a Claim) -> Reply<'a, bool> {
        self.inner.unlock(claim)
    }

    fn turns(&self, claim: &Claim) -> Box<dyn Turns> {
        self.inner.turns(claim)
    }

    fn clear(&self) -> Reply<'_, ()> {
        self.inner.clear()
    }

    fn tell(&self, memory: Weak<dyn Memory>) {
        self.inner.tell(memory);
    }

    fn attend(&self) {
        self.inner.attend();
    }

    fn is_usable(&self) -> bool {
        self.inner.is_usable()
    }
}
