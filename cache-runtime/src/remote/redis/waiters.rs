//! Those who wait for the run of another process: woken by a message, and by the clock behind it.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    backoff,
    race::{Either, race},
    subscriber::{Kind, Message},
};
use crate::{
    remote::Reason,
    sync::{Mutex, lock},
};

/// The waiters of a process, by key.
pub(crate) struct Waiters {
    keys: Mutex<HashMap<Box<str>, watch::Sender<Reason>>>,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The first pause between two looks, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(50));

impl Waiters {
    pub(crate) fn new(random: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { keys: Mutex::default(), random: Box::new(random) })
    }

    /// To be called before the caller looks at the key once more: what comes after that look is
    /// heard.
    pub(crate) fn wait(self: &Arc<Self>, key: &str) -> Waiter {
        let mut keys = lock(&self.keys);
        let changes = if let Some(changes) = keys.get(key) {
            changes.subscribe()
        } else {
            let (sender, changes) = watch::channel(Reason::Poll);
            keys.insert(key.into(), sender);
            changes
        };
        drop(keys);
        Waiter { waiters: Arc::clone(self), key: key.into(), changes: Some(changes), polls: 0 }
    }

    fn tell(&self, key: &str, change: Reason) {
        if let Some(changes) = lock(&self.keys).get(key) {
            changes.send_replace(change);
        }
    }

    fn tell_all(&self, change: Reason) {
        for changes in lock(&self.keys).values() {
            changes.send_replace(change);
        }
    }

    /// How many keys are waited for.
    pub(crate) fn len(&self) -> usize {
        lock(&self.keys).len()
    }
}

impl Waiters {
    pub(crate) fn message(&self, message: Message<'_>) {
        match message.kind {
            Kind::Wake => self.tell(message.text, Reason::Woken),
            Kind::Invalidated => self.tell(message.text, Reason::Invalidated),
            Kind::Free => self.tell(message.text, Reason::Poll),
            Kind::Clear => self.tell_all(Reason::Invalidated),
            Kind::Tag => {}
        }
    }

    /// What they wait for may have gone unheard.
    pub(crate) fn look_again(&self) {
        self.tell_all(Reason::Poll);
    }
}

/// One that waits for a key.
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    key: Box<str>,
    /// `None` only while it is dropped.
    changes: Option<watch::Receiver<Reason>>,
    polls: u32,
}

impl Waiter {
    /// Returns when the key may have changed since the last call, or since it began to wait;
    /// at once when `gone` does: Redis is, and there is nothing to wait for.
    pub(crate) async fn changed(&mut self, gone: impl Future<Output = ()>) -> Reason {
        let pause = backoff::pause(PAUSES, self.polls, (self.waiters.random)());
        self.changed_within(pause, gone).await.unwrap_or_else(|| {
            self.polls += 1;
            Reason::Poll
        })
    }

    /// The same by a clock of the caller's: `None` when its time is over.
    pub(crate) async fn changed_within(
        &mut self,
        time: Duration,
        gone: impl Future<Output = ()>,
    ) -> Option<Reason> {
        let Some(changes) = &mut self.changes else {
            return Some(Reason::Poll);
        };
        match timeout(time, race(changes.changed(), gone)).await {
            // The sender is in the table as long as somebody waits.
            Ok(Either::First(_)) => Some(*changes.borrow_and_update()),
            Ok(Either::Second(())) => Some(Reason::Poll),
            Err(_) => None,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut keys = lock(&self.waiters.keys);
        self.changes = None;
        if keys.get(&*self.key).is_some_and(|changes| changes.receiver_count() == 0) {
            keys.remove(&*self.key);
        }
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiters({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    fn message(kind: Kind, text: &str) -> Message<'_> {
        Message { kind, sender: [0; 8], text }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_after_the_registration_is_not_missed() {
        let waiters = Waiters::new(|| 7);
        let mut waiter = waiters.wait("a");
        waiters.message(message(Kind::Wake, "a"));
        let began = Instant::now();
        assert_eq!(waiter.changed(pending()).await, Reason::Woken);
        waiters.message(message(Kind::Invalidated, "a"));
        assert_eq!(waiter.changed(pending()).await, Reason::Invalidated);
        waiters.message(message(Kind::Clear, ""));
        assert_eq!(waiter.changed(pending()).await, Reason::Invalidated);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn another_key_and_an_earlier_message_wake_nobody() {
        let waiters = Waiters::new(|| 7);
        let other = waiters.wait("a");
        waiters.message(message(Kind::Wake, "a"));
        let mut waiter = waiters.wait("a");
        waiters.message(message(Kind::Wake, "b"));
        waiters.message(message(Kind::Tag, "a"));
        assert_eq!(waiter.changed(pending()).await, Reason::Poll);
        drop(other);
    }

    #[tokio::test(start_paused = true)]
    async fn polls_come_after_10_to_50_ms_and_grow_apart() {
        for random in [0, 3_000, u64::MAX] {
            let waiters = Waiters::new(move || random);
            let mut waiter = waiters.wait("a");
            let mut last = Duration::ZERO;
            for _ in 0..10 {
                let began = Instant::now();
                assert_eq!(waiter.changed(pending()).await, Reason::Poll);
                let pause = began.elapsed();
                // Tokio's clock has milliseconds.
                assert!(pause >= PAUSES.0 && pause <= PAUSES.1 + Duration::from_millis(1));
                assert!(pause >= last || random == u64::MAX, "{pause:?} after {last:?}");
                last = pause;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_redis_is_gone_or_the_link_was_broken() {
        let waiters = Waiters::new(|| 7);
        let mut waiter = waiters.wait("a");
        let began = Instant::now();
        assert_eq!(waiter.changed(async {}).await, Reason::Poll);
        waiters.look_again();
        assert_eq!(waiter.changed(pending()).await, Reason::Poll);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_key_that_nobody_waits_for_is_forgotten() {
        let waiters = Waiters::new(|| 7);
        let (one, two) = (waiters.wait("a"), waiters.wait("a"));
        drop(one);
        assert_eq!(waiters.len(), 1);
        drop(two);
        assert_eq!(waiters.len(), 0);
    }
}
