//! How a lease ends: with a value or without.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{
    super::{
        failure::Failure,
        scripts,
        stamps::{Grant, Standing, TagKeys},
        subscriber::Kind,
    },
    Inner, MOST, RETRY,
};
use crate::{
    blob::{self, EncodeError, Header},
    error::Error,
    remote::{Fill, Lease},
    sync::lock,
};

/// A value that is to be stored.
struct Filling {
    lease: Lease,
    grant: Grant,
    bytes: Vec<u8>,
    /// What is left until nobody is served it any more.
    life: Duration,
}

impl Inner {
    pub(super) async fn fill(
        self: &Arc<Self>,
        fills: Vec<(Lease, Fill)>,
        within: Duration,
    ) -> Vec<Result<bool, Error>> {
        let grants = self.take(fills.iter().map(|(lease, _)| lease));
        let (mut fillings, mut unfit) = (Vec::new(), Vec::new());
        // Of those that are not sent; the others have one when they are.
        let mut answers = Vec::with_capacity(fills.len());
        for ((lease, value), grant) in fills.into_iter().zip(grants) {
            let encoded = grant.and_then(|grant| Some((self.encoded(&grant, &value)?, grant)));
            let answer = match encoded {
                Some((Ok(bytes), grant)) => {
                    fillings.push(Filling { lease, grant, bytes, life: value.servable() });
                    None
                }
                // Whoever waits for it need not wait until the lease ends.
                Some((Err(error), _)) => {
                    unfit.push(lease);
                    Some(Err(error))
                }
                None => {
                    unfit.push(lease);
                    Some(Ok(false))
                }
            };
            answers.push(answer);
        }
        let mut filled = self.send_fills(&fillings, within).await.into_iter();
        self.release(unfit, Duration::ZERO, Kind::Wake).await;
        let answer = |answer: Option<_>| answer.or_else(|| filled.next());
        let lost = || Err(Error::Unavailable);
        answers.into_iter().map(answer).map(|answer| answer.unwrap_or_else(lost)).collect()
    }

    async fn send_fills(
        self: &Arc<Self>,
        fillings: &[Filling],
        within: Duration,
    ) -> Vec<Result<bool, Error>> {
        let wakes: Vec<_> = fillings.iter().map(|one| self.wake(&one.lease)).collect();
        let commands: Vec<_> = fillings
            .iter()
            .zip(&wakes)
            .map(|(Filling { lease, bytes, life, .. }, wake)| scripts::Fill {
                key: &lease.key,
                token: lease.token,
                value: bytes,
                life: *life,
                channel: &self.service_key,
                wake,
            })
            .collect();
        let keep = |Filling { grant, life, .. }: &Filling| {
            self.kept.keep(grant.tags.as_deref().unwrap_or_default(), *life)
        };
        let mut behind: Vec<_> = fillings.iter().flat_map(keep).collect();
        // A tag may have been bumped meanwhile, which takes no lease away.
        let tags = TagKeys::of(fillings.iter().flat_map(|one| one.grant.keys()));
        behind.extend(tags.mget());
        let (answers, behind) = self.run_all(&commands, behind, within).await;
        let standing = tags.read(behind.last());
        let (mut stored, mut owed) = (Vec::with_capacity(fillings.len()), Vec::new());
        for (answer, Filling { lease, grant, .. }) in answers.into_iter().zip(fillings) {
            if answer.is_err() {
                owed.push(lease.clone());
            }
            let is_stored = answer.map(|stood| stood && grant.is_still(&standing));
            stored.push(is_stored.map_err(Error::from));
        }
        self.owe(owed, Duration::ZERO);
        stored
    }

    /// What leases or holds have brought along. From now on nothing is stored with it.
    pub(super) fn take<'a>(
        &self,
        leases: impl IntoIterator<Item = &'a Lease>,
    ) -> Vec<Option<Grant>> {
        let mut grants = lock(&self.grants);
        leases.into_iter().map(|lease| grants.remove(&lease.token)).collect()
    }

    /// A value with its header; `None` without a stamp, for nobody could tell whether it is still good.
    pub(super) fn encoded(&self, grant: &Grant, value: &Fill) -> Option<Result<Vec<u8>, Error>> {
        let stamps = grant.stamps()?;
        let now = grant.server.saturating_add(millis(grant.at.elapsed()));
        let until = now.saturating_add(millis(value.life));
        let past = |time| until.saturating_add(millis(time));
        let header = Header {
            created: now.saturating_sub(millis(value.age)),
            fresh_until: until,
            stale_until: past(value.stale),
            servable_until: past(value.stale.max(value.stale_if_error)),
            refresh_until: 0,
            token: None,
            cost: u64::try_from(value.cost.as_micros()).unwrap_or(u64::MAX),
            fingerprint: value.fingerprint,
            stamps,
            codec: value.codec,
            compression: self.compression,
            negative: value.negative,
            tagged: stamps.len() > 1,
        };
        Some(blob::encode(&header, &value.payload).map_err(|error| match error {
            EncodeError::TooLarge { bytes, limit } => Error::TooLarge { bytes, limit },
            EncodeError::Value(_) | EncodeError::Feature(_) => Error::Refused,
        }))
    }

    pub(super) async fn release(
        self: &Arc<Self>,
        leases: Vec<Lease>,
        pause: Duration,
        kind: Kind,
    ) -> Vec<Result<bool, Error>> {
        let grants = self.take(&leases);
        let tags = TagKeys::of(grants.iter().flatten().flat_map(Grant::keys));
        let (answers, standing) = self.try_release(&leases, pause, kind, &tags).await;
        let mut owed = Vec::new();
        let mut released = Vec::with_capacity(leases.len());
        for ((answer, lease), grant) in answers.into_iter().zip(leases).zip(&grants) {
            let is_current = grant.as_ref().is_none_or(|grant| grant.is_still(&standing));
            if answer.is_err() {
                owed.push(lease);
            }
            released.push(answer.map(|stood| stood && is_current).map_err(Error::from));
        }
        self.owe(owed, pause);
        released
    }

    /// An answer for each, and the stamps of these tags behind them.
    async fn try_release<'a>(
        &self,
        leases: &[Lease],
        pause: Duration,
        kind: Kind,
        tags: &TagKeys<'a>,
    ) -> (Vec<Result<bool, Failure>>, Standing<'a>) {
        let wakes: Vec<_> = leases.iter().map(|lease| self.message(kind, &lease.key)).collect();
        let commands: Vec<_> = leases
            .iter()
            .zip(&wakes)
            .map(|(Lease { key, token }, wake)| scripts::Release {
                key,
                token: *token,
                pause,
                channel: &self.service_key,
                wake,
            })
            .collect();
        let mget = tags.mget().into_iter().collect();
        let (answers, behind) = self.run_all(&commands, mget, self.budget).await;
        (answers, tags.read(behind.first()))
    }

    /// Releases what may stand there as soon as there is a connection again, or nobody would run
    /// the function until the lease ends. After a fill that was stored it finds nothing.
    fn owe(self: &Arc<Self>, mut leases: Vec<Lease>, pause: Duration) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        leases.truncate(MOST.saturating_sub(Arc::strong_count(&self.owed) - 1));
        if leases.is_empty() {
            return;
        }
        let owed = vec![Arc::clone(&self.owed); leases.len()];
        let release = pay(Arc::downgrade(self), self.connection.back(), leases, pause);
        let release = timeout(self.lease, release);
        runtime.spawn(async move {
            // By then they have ended.
            let _ = release.await;
            drop(owed);
        });
    }

    /// For those who wait for what a lease stands for.
    fn wake(&self, lease: &Lease) -> Vec<u8> {
        self.message(Kind::Wake, &lease.key)
    }
}

/// Releases on the next connection, and on others until one takes it.
async fn pay(
    inner: Weak<Inner>,
    first: impl Future<Output = bool> + Send,
    mut leases: Vec<Lease>,
    pause: Duration,
) {
    let mut is_back = first.await;
    while let Some(inner) = inner.upgrade().filter(|_| is_back) {
        let none = TagKeys::of([]);
        let (answers, _) = inner.try_release(&leases, pause, Kind::Wake, &none).await;
        let mut answers = answers.into_iter();
        leases.retain(|_| match answers.next() {
            Some(Ok(_) | Err(Failure::Refused(_))) | None => false,
            Some(Err(_)) => true,
        });
        if leases.is_empty() {
            return;
        }
        // Whatever was lost may not be known to be lost yet.
        sleep(RETRY).await;
        let back = inner.connection.back();
        drop(inner);
        is_back = back.await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
