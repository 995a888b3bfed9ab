//! Leases that are renewed while their functions run.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{Remote, Token};
use crate::{cache::Cache, local::Flight};

/// The leases of a process. One task renews them all, and a lease that ends early costs it nothing
/// but a look.
#[derive(Debug, Default)]
pub(crate) struct Renewals(Arc<Mutex<Leases>>);

#[derive(Debug, Default)]
struct Leases {
    leases: Vec<Lease>,
    /// Runs as long as there are leases.
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Lease {
    flight: Weak<Flight>,
    token: Token,
    key: String,
    granted: Instant,
    renewed: Instant,
}

impl Renewals {
    /// Renews the lease at a third of its length, until the flight has landed, it is lost, or the
    /// run has taken `max_run`.
    pub(crate) fn add(&self, cache: &Cache, flight: &Arc<Flight>, token: Token, key: &str) {
        let Some(remote) = &cache.remote else {
            return;
        };
        let now = Instant::now();
        let lease = Lease {
            flight: Arc::downgrade(flight),
            token,
            key: key.to_owned(),
            granted: now,
            renewed: now,
        };
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.leases.push(lease);
        // A runtime that has gone has taken its task along.
        if leases.task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (term, max_run) = (cache.settings.lease, cache.settings.max_run);
            let renewing = renew(Arc::clone(&self.0), Arc::clone(remote), term, max_run);
            leases.task = Some(runtime.spawn(renewing));
        }
    }
}

async fn renew(
    leases: Arc<Mutex<Leases>>,
    remote: Arc<dyn Remote>,
    term: Duration,
    max_run: Duration,
) {
    loop {
        // Twice a third, so that one that began right after a look is not late for its own.
        sleep(term / 6).await;
        let now = Instant::now();
        let mut due = Vec::new();
        {
            let mut leases = leases.lock().unwrap_or_else(PoisonError::into_inner);
            leases.leases.retain_mut(|lease| {
                let stands = lease.flight.upgrade().is_some_and(|flight| flight.is_leased());
                if !stands || now.duration_since(lease.granted) >= max_run {
                    return false;
                }
                if now.duration_since(lease.renewed) >= term / 3 {
                    lease.renewed = now;
                    due.push((lease.key.clone(), lease.token));
                }
                true
            });
            if leases.leases.is_empty() {
                // Under the lock: who comes now finds no task, or one that looks again.
                leases.task = None;
                return;
            }
        }
        for (key, token) in due {
            let remote = Arc::clone(&remote);
            // Side by side: one that hangs keeps none of the others.
            tokio::spawn(async move {
                // One that is lost is found out by its fill.
                let _ = remote.renew(&key, token).await;
            });
        }
    }
}
