//! The seam to the tier that a fleet shares. No such tier is in this version: the trait is what
//! a load asks of one, and tests put a scripted one behind it.
//!
//! A key in a remote tier is absent, leased to the one caller that runs the function, a value, or
//! held by a writer that is in the middle of a change. A fill is stored only if its lease still
//! stands, so that a run which began before an invalidation stores nothing.

#[cfg(feature = "redis")]
mod redis;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::{
    blob::Codec,
    cache::Cache,
    call::Call,
    clock::nanos,
    error::Error,
    local::{Flight, Header, Kept, Lead, Outcome, Stamp},
};

/// What a remote tier answers with.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A tier that several processes share. Keys come with the service: `shop:user:42`.
pub trait Remote: Send + Sync + 'static {
    /// What stands there.
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Got>;

    /// Asks to be the one that runs the function.
    fn lease<'a>(&'a self, key: &'a str, token: Token, seen: Seen) -> Reply<'a, Leased>;

    /// Makes a lease last as long as a new one, and says whether the token still stands.
    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool>;

    /// Stores a value if the token still stands, and says whether it did.
    fn fill<'a>(&'a self, key: &'a str, token: Token, value: Fill) -> Reply<'a, bool>;

    /// Gives a lease back without a value, and says whether the token was found.
    fn release<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool>;

    /// Removes value and lease, for good by the time of the answer.
    fn invalidate<'a>(&'a self, key: &'a str) -> Reply<'a, ()>;

    /// Returns when the key may have changed since `lease` said [`Leased::Busy`].
    fn changed<'a>(&'a self, key: &'a str) -> Reply<'a, Change>;

    /// Removes everything of the service.
    fn clear(&self) -> Reply<'_, ()>;

    /// False when nothing need be asked: it would fail at once.
    fn is_usable(&self) -> bool {
        true
    }
}

/// The answer to `get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// Nothing that can be served.
    Nothing,
    /// A value.
    Found(Found),
    /// Something that nobody can use any more: to be replaced by a lease.
    Rejected(Rejected),
    /// A value of a later format, to be left alone.
    Newer,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Empty for a `None`.
    pub payload: Vec<u8>,
    /// How it is encoded.
    pub codec: Codec,
    /// It stands for a `None`.
    pub negative: bool,
    /// Of the value's type and the function's version: others cannot read it.
    pub fingerprint: u64,
    /// Since the load began that it comes from.
    pub age: Duration,
    /// What is left of its life.
    pub life: Duration,
    /// For a reader that cannot use it.
    pub seen: Rejected,
}

/// A value to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Empty for a `None`.
    pub payload: Vec<u8>,
    /// How it is encoded.
    pub codec: Codec,
    /// It stands for a `None`.
    pub negative: bool,
    /// Of the value's type and the function's version: others cannot read it.
    pub fingerprint: u64,
    /// Since the load began that it comes from.
    pub age: Duration,
    /// What is left of its life.
    pub life: Duration,
    /// What the run cost.
    pub cost: Duration,
}

/// The first bytes of what a caller has read and cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected(pub Vec<u8>);

/// Names one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

/// What the asker of a lease has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, or a lease.
    Nothing,
    /// What it cannot use: to be replaced by the lease, if it still stands there.
    Rejected(Rejected),
    /// It wants to run in any case: `refresh()`.
    Refresh,
}

/// The answer to `lease`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// Run the function, then fill or release.
    Granted,
    /// A value is there by now.
    Found(Found),
    /// Another caller runs the function.
    Busy,
    /// A writer is in the middle of a change: run the function and store nothing.
    Held,
    /// A value of a later format stands there: run the function, there is no lease.
    Newer,
}

/// Why a caller that waits should look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The run that it waits for has ended, with a value or without.
    Woken,
    /// The key was invalidated.
    Invalidated,
    /// Nothing is known: it is time, a message may have been missed, or the tier is gone.
    Poll,
}

/// What the remote tier had for a load.
pub(crate) enum Fetched {
    /// A value; the flight has landed with it.
    Value(Kept),
    Run(Lead),
}

/// Whether the remote tier is asked for this call at all.
pub(crate) fn of<'a>(cache: &'a Cache, call: &Call) -> Option<&'a Arc<dyn Remote>> {
    cache
        .remote
        .as_ref()
        .filter(|_| call.instance.site.remote && call.instance.codec.remote.is_some())
}

/// What the remote tier has, without asking for the lease and without keeping it here.
pub(crate) async fn peek(call: &Call) -> Option<Kept> {
    let remote = of(call.cache(), call).filter(|_| call.cache().is_enabled())?;
    let name = call.cache().flights.name(call.text());
    if call.cache().flights.is_pending(&name) {
        return None;
    }
    let Got::Found(found) = remote.get(&call.cache().remote_key(&name)).await.ok()? else {
        return None;
    };
    let (slot, loaded) = (name.slot(), call.cache().time.now());
    let generation = call.cache().generations.at(slot);
    let header = header(call, Stamp { slot, generation, loaded, now: loaded }, &found);
    // Nothing is kept here, so what bounds a life in memory says nothing.
    let expires = loaded.saturating_add(nanos(found.life));
    read(call, Header { expires, ..header }, &found)
}

/// Reads the remote tier for the leader of a flight, and gets the lease if there is nothing.
pub(crate) async fn fetch(lead: Lead, call: Call, seen: Seen) -> Fetched {
    let Some(remote) = of(call.cache(), &call).map(Arc::clone) else {
        return Fetched::Run(lead);
    };
    if lead.token().is_some() || call.cache().flights.is_pending(lead.name()) {
        return Fetched::Run(lead);
    }
    let key = call.cache().remote_key(lead.name());
    let token = Token(u128::from(call.cache().random()) << 64 | u128::from(call.cache().random()));
    let deadline = tokio::time::Instant::now() + call.cache().settings.lease;
    let mut seen = seen;
    loop {
        if seen == Seen::Nothing {
            match remote.get(&key).await {
                Ok(Got::Found(found)) => {
                    match read(&call, header(&call, lead.stamp(), &found), &found) {
                        Some(entry) => return landed(&call, lead, entry),
                        None => seen = Seen::Rejected(found.seen),
                    }
                }
                Ok(Got::Rejected(rejected)) => seen = Seen::Rejected(rejected),
                Ok(Got::Nothing) => {}
                Ok(Got::Newer) | Err(_) => return Fetched::Run(lead),
            }
        }
        let asked = Asked { cache: call.cache(), remote: &remote, key: &key, token };
        match remote.lease(&key, token, seen.clone()).await {
            Ok(Leased::Granted) => {
                asked.answered();
                lead.granted(token);
                return Fetched::Run(lead);
            }
            Ok(Leased::Found(found)) => {
                asked.answered();
                return match read(&call, header(&call, lead.stamp(), &found), &found) {
                    Some(entry) => landed(&call, lead, entry),
                    None => Fetched::Run(lead),
                };
            }
            Ok(Leased::Busy) => {
                asked.answered();
                seen = Seen::Nothing;
                if !lead.is_patient() {
                    return Fetched::Run(lead);
                }
                // One that was woken again and again has waited long enough, too.
                let is_over = tokio::time::Instant::now() >= deadline;
                let changed = tokio::time::timeout_at(deadline, remote.changed(&key));
                if is_over || !matches!(changed.await, Ok(Ok(_))) {
                    return Fetched::Run(lead);
                }
            }
            Ok(Leased::Held) => {
                asked.answered();
                lead.keep_nothing();
                return Fetched::Run(lead);
            }
            Ok(Leased::Newer) => {
                asked.answered();
                return Fetched::Run(lead);
            }
            Err(_) => return Fetched::Run(lead),
        }
    }
}

/// A lease that was asked for. Dropped before there is an answer, it may have been granted to
/// somebody who never learns of it, and is given back.
struct Asked<'a> {
    cache: &'a Cache,
    remote: &'a Arc<dyn Remote>,
    key: &'a str,
    token: Token,
}

impl Asked<'_> {
    fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        release(self.cache, Arc::clone(self.remote), self.key.to_owned(), self.token);
    }
}

fn landed(call: &Call, lead: Lead, entry: Kept) -> Fetched {
    if call.is_kept_here() {
        lead.land_stored(call.lookup(), entry.clone());
    } else {
        lead.land(Outcome::Value(entry.clone()));
    }
    Fetched::Value(entry)
}

/// The entry of a value that came from the remote tier, if this call can read it.
fn read(call: &Call, header: Header, found: &Found) -> Option<Kept> {
    let is_ours = found.codec == Codec::Json && found.fingerprint == fingerprint(call);
    if found.life.is_zero() || !is_ours {
        return None;
    }
    let codec = call.instance.codec.remote.as_ref()?;
    if !found.negative {
        (codec.decode)(&found.payload).map(|value| Kept { header, value })
    } else if call.instance.reads_none {
        Some(Kept::negative(header))
    } else {
        None
    }
}

/// What an entry of such a value carries that is kept here.
fn header(call: &Call, stamp: Stamp, found: &Found) -> Header {
    let loaded = stamp.loaded.saturating_sub(nanos(found.age));
    let life = nanos(found.life);
    call.header(Stamp { loaded, ..stamp }, life, || found.payload.len() as u64)
}

/// The value of a run on its way: it lands in memory only if it landed in the remote tier.
pub(crate) fn fill(
    call: &Call,
    lead: Lead,
    token: Token,
    life: u64,
    entry: Kept,
) -> Pin<Box<dyn Future<Output = Kept> + Send>> {
    let call = call.clone();
    Box::pin(async move {
        let stored = store(&call, &lead, token, life, &entry).await;
        if stored.is_ok() {
            lead.used_up();
        }
        if matches!(stored, Ok(true)) && call.is_kept_here() {
            lead.land_stored(call.lookup(), entry.clone());
        } else {
            if !matches!(stored, Ok(true)) {
                lead.refused();
            }
            lead.land(Outcome::Value(entry.clone()));
        }
        entry
    })
}

async fn store(
    call: &Call,
    lead: &Lead,
    token: Token,
    life: u64,
    entry: &Kept,
) -> Result<bool, Error> {
    let Some(remote) = of(call.cache(), call) else {
        return Ok(false);
    };
    let key = call.cache().remote_key(lead.name());
    if !lead.may_store() {
        // An invalidation of this process came between; the lease is of no use to anybody.
        return remote.release(&key, token).await.map(|_| false);
    }
    let negative = entry.is_negative();
    let payload = match &call.instance.codec.remote {
        Some(codec) if !negative => (codec.encode)(&entry.value).map_err(|source| {
            Error::Encode { function: call.instance.site.function(), source: source.into() }
        })?,
        _ => Vec::new(),
    };
    let age = call.cache().time.now().saturating_sub(entry.header.loaded());
    let value = Fill {
        payload,
        codec: Codec::Json,
        negative,
        fingerprint: fingerprint(call),
        age: Duration::from_nanos(age),
        life: Duration::from_nanos(life),
        cost: Duration::ZERO,
    };
    remote.fill(&key, token, value).await
}

/// Releases the lease of a load that ended without a value, in the background.
pub(crate) fn give_back(flight: &Flight) {
    let (Some(token), Some(remote)) = (flight.unused_token(), flight.cache().remote.clone()) else {
        return;
    };
    let key = flight.cache().remote_key(flight.name());
    release(flight.cache(), remote, key, token);
}

/// Releases a lease in the background.
fn release(cache: &Cache, remote: Arc<dyn Remote>, key: String, token: Token) {
    cache.background.spawn(async move {
        // A lease that is not released expires.
        let _ = remote.release(&key, token).await;
    });
}

/// Of the value's type and the function's version: what a reader compares before it decodes.
fn fingerprint(call: &Call) -> u64 {
    let mut hash = Sha256::new();
    hash.update(call.instance.entity.version.to_le_bytes());
    hash.update(call.instance.codec.type_name());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_le_bytes(first)
}

impl fmt::Debug for dyn Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
