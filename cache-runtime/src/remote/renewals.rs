//! Leases and holds that are renewed while their functions run.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{Hold, Remote, Token};
use crate::{cache::Cache, local::Flight};

/// What a process renews. One task sees to all of it, and one that ends early costs it nothing but
/// a look.
#[derive(Debug, Default)]
pub(crate) struct Renewals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    terms: Mutex<Terms>,
    /// One came that may be due before the task looks again.
    added: Notify,
}

#[derive(Debug, Default)]
struct Terms {
    terms: Vec<Term>,
    /// Runs as long as there are any.
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Term {
    of: Of,
    key: String,
    token: Token,
    /// How long it lasts by itself.
    lasts: Duration,
    /// How long it has to last at least from any moment on.
    length: Duration,
    granted: Instant,
    renewed: Instant,
}

#[derive(Debug, Clone)]
enum Of {
    Lease(Weak<Flight>),
    Hold(Weak<Holding>),
}

/// Of a hold, as long as it is to be renewed.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// Locked by a renewal under way: one that came after the end would hold the key once more.
    has_ended: tokio::sync::Mutex<bool>,
}

impl Holding {
    /// From now on it is not renewed.
    pub(crate) async fn end(&self) {
        *self.has_ended.lock().await = true;
    }

    /// The same for one that cannot wait: a renewal that is on its way may come to pass.
    pub(crate) fn abandon(&self) {
        if let Ok(mut has_ended) = self.has_ended.try_lock() {
            *has_ended = true;
        }
    }
}

impl Renewals {
    /// Renews a lease at a third of its length, until the flight has landed, it is lost, or the
    /// run has taken `max_run`.
    pub(crate) fn add_lease(&self, cache: &Cache, flight: &Arc<Flight>, token: Token, key: &str) {
        let lease = cache.settings.lease;
        self.add(cache, Of::Lease(Arc::downgrade(flight)), token, key, (lease, lease));
    }

    /// Renews a hold at a third of its length, until it ends. It lasts longer than that by itself, so that
    /// whenever it is left alone there is all of its length to go.
    pub(crate) fn add_hold(
        &self,
        cache: &Cache,
        holding: &Arc<Holding>,
        hold: &Hold,
        (lasts, length): (Duration, Duration),
    ) {
        let of = Of::Hold(Arc::downgrade(holding));
        self.add(cache, of, hold.token, &hold.key, (lasts, length));
    }

    fn add(
        &self,
        cache: &Cache,
        of: Of,
        token: Token,
        key: &str,
        (lasts, length): (Duration, Duration),
    ) {
        let Some(remote) = &cache.remote else {
            return;
        };
        let now = Instant::now();
        let key = key.to_owned();
        let term = Term { of, key, token, lasts, length, granted: now, renewed: now };
        let mut terms = self.0.terms();
        terms.terms.push(term);
        // A runtime that has gone has taken its task along.
        if terms.task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let renewing = renew(Arc::clone(&self.0), Arc::clone(remote), cache.settings.max_run);
            terms.task = Some(runtime.spawn(renewing));
        } else {
            self.0.added.notify_one();
        }
    }
}

impl Shared {
    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terms {
    /// Those that are to be renewed now.
    fn due(&mut self, now: Instant, max_run: Duration) -> Vec<(Of, Hold, Duration)> {
        let mut due = Vec::new();
        self.terms.retain_mut(|term| {
            let stands = match &term.of {
                Of::Lease(flight) => {
                    flight.upgrade().is_some_and(|flight| flight.is_leased())
                        && now.duration_since(term.granted) < max_run
                }
                Of::Hold(holding) => holding.strong_count() > 0,
            };
            if stands && now.duration_since(term.renewed) >= term.length / 3 {
                term.renewed = now;
                let hold = Hold { key: term.key.clone(), token: term.token, tags: Vec::new() };
                due.push((term.of.clone(), hold, term.lasts));
            }
            stands
        });
        due
    }

    /// How long until the next look: twice in a third, so that one that began right after a look is
    /// renewed at half of its length at the latest.
    fn pause(&self) -> Option<Duration> {
        let pause = |term: &Term| (term.length / 6).max(Duration::from_millis(1));
        self.terms.iter().map(pause).min()
    }
}

async fn renew(shared: Arc<Shared>, remote: Arc<dyn Remote>, max_run: Duration) {
    loop {
        let pause = {
            let mut terms = shared.terms();
            let due = terms.due(Instant::now(), max_run);
            for (of, hold, lasts) in due {
                // Side by side: one that hangs keeps none of the others.
                tokio::spawn(renew_one(Arc::clone(&remote), of, hold, lasts));
            }
            let Some(pause) = terms.pause() else {
                // Under the lock: who comes now finds no task, or one that looks again.
                terms.task = None;
                return;
            };
            pause
        };
        // Early or not, it looks.
        let _ = timeout(pause, shared.added.notified()).await;
    }
}

async fn renew_one(remote: Arc<dyn Remote>, of: Of, hold: Hold, lasts: Duration) {
    match of {
        Of::Lease(_) => {
            // One that is lost is found out by its fill.
            let _ = remote.renew(&hold.key, hold.token).await;
        }
        Of::Hold(holding) => {
            let Some(holding) = holding.upgrade() else {
                return;
            };
            let has_ended = holding.has_ended.lock().await;
            if !*has_ended {
                let _ = remote.hold(&[hold], lasts, true).await;
            }
        }
    }
}
