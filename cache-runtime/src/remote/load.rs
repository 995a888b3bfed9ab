//! A load from the remote tier: what the leader of a flight asks, and what it makes of the answers.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use hmac_sha256::Hash;
use tokio::time::{Instant, timeout_at};

use super::{Fill, Found, Got, Leased, Reason, Rejected, Remote, Seen, Tags, Token};
use crate::{
    cache::Cache,
    call::Call,
    clock::nanos,
    error::Error,
    key::{Instance, TagSet},
    local::{self, Flight, Header, Kept, Lead, Named, Outcome, Stamp, Tagged},
};

/// How long a load waits on after the lease has ended that it waited for.
const LAST_POLL: Duration = Duration::from_millis(50);

/// What the remote tier had for a load.
pub(crate) enum Fetched {
    /// A value; the flight has landed with it.
    Value(Kept),
    Run(Lead),
}

/// The remote tier, if it is one for this call.
pub(crate) fn of<'a>(cache: &'a Cache, call: &Call) -> Option<&'a Arc<dyn Remote>> {
    cache
        .remote
        .as_ref()
        .filter(|_| call.instance.site.remote && call.instance.codec.remote.is_some())
}

/// The same, if it may be read now.
fn readable<'a>(cache: &'a Cache, call: &Call) -> Option<&'a Arc<dyn Remote>> {
    of(cache, call).filter(|remote| remote.is_usable() && !cache.repairs.is_clear_pending())
}

/// What the remote tier has for a call that reads it by itself, in no flight, and keeps nothing.
pub(crate) enum Read {
    Value(Kept),
    Nothing(Asked),
}

/// What a call has asked before it leads a flight.
pub(crate) struct Asked {
    seen: Seen,
    /// What that took.
    spent: Duration,
}

/// Reads the remote tier, without asking for the lease and without keeping what it has.
pub(crate) fn read_alone(call: &Call) -> impl Future<Output = Read> + Send + use<> {
    let (cache, instance) = (call.cache().clone(), call.instance);
    let named = readable(&cache, call).and_then(|_| {
        let name = cache.flights.name(call.text());
        if cache.flights.has_pending() && is_pending(&cache, call, &name) {
            cache.repairs.attend(&cache);
            return None;
        }
        Some((cache.remote_key(&name), Tags::of_read(call)))
    });
    async move {
        let nothing = |seen, spent| Read::Nothing(Asked { seen, spent });
        let (Some((key, tags)), Some(remote)) = (named, &cache.remote) else {
            return nothing(Seen::Nothing, Duration::ZERO);
        };
        let since = Instant::now();
        let now = cache.time.now();
        let got = remote.get(&key, &tags, cache.settings.redis_budget).await;
        let seen = match got.map(|got| learned(&tags, got)) {
            Ok(Got::Found(found)) => match read(instance, Header::of_read(now, &found), &found) {
                Some(entry) => return Read::Value(entry),
                None => Seen::Rejected(found.seen()),
            },
            Ok(Got::Rejected(rejected)) => Seen::Rejected(rejected),
            // What LEASE says of a later format is the same.
            Ok(Got::Nothing | Got::Newer) => Seen::Nothing,
            // Whatever it was, this call has waited long enough for it.
            Err(_) => return nothing(Seen::Nothing, cache.settings.redis_budget),
        };
        nothing(seen, since.elapsed())
    }
}

/// What was answered, without the stamps that were read with it.
fn learned<T>(tags: &Tags, (answer, read): (T, super::ReadStamps)) -> T {
    tags.learn(read);
    answer
}

/// Whether somebody in this process is changing the key or one of its tags.
fn is_pending(cache: &Cache, call: &Call, name: &Named) -> bool {
    let tags = call.tags();
    let mut all = std::iter::once(name).chain(tags.iter().flat_map(local::Tags::iter));
    all.any(|name| cache.flights.is_pending(name))
}

/// What the remote tier has, for a call that runs nothing.
pub(crate) async fn peek(call: &Call) -> Option<Kept> {
    if !call.cache().is_enabled() {
        return None;
    }
    match read_alone(call).await {
        Read::Value(entry) => Some(entry),
        Read::Nothing(_) => None,
    }
}

impl Header {
    /// Of a value that is not kept here: nothing but its life and age mean anything.
    fn of_read(now: u64, found: &Found) -> Self {
        let loaded = now.saturating_sub(nanos(found.age));
        let read =
            Self { expires: loaded, span: 0, generation: 0, weight: 0, slot: 0, function: 0 };
        read.living_until(now.saturating_add(nanos(found.life)))
    }
}

impl Asked {
    /// Nothing: it wants to run in any case.
    pub(crate) const REFRESH: Self = Self { seen: Seen::Refresh, spent: Duration::ZERO };
}

/// Asks on account of a flight, whose commands together have one budget: of it, `asked` gets what
/// is left.
async fn ask<T, F>(lead: &Lead, asked: impl FnOnce(Duration) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let left = left(lead)?;
    let since = Instant::now();
    let answered = asked(left).await;
    lead.spend(since.elapsed());
    answered
}

fn left(lead: &Lead) -> Result<Duration, Error> {
    let budget = lead.flight().cache().settings.redis_budget;
    let left = budget.saturating_sub(lead.spent());
    if left.is_zero() { Err(Error::Timeout { budget }) } else { Ok(left) }
}

/// Reads the remote tier for the leader of a flight, unless it has asked by itself, and gets the
/// lease if there is nothing.
pub(crate) async fn fetch(lead: Lead, call: Call, asked: Option<Asked>) -> Fetched {
    let cache = call.cache();
    if lead.token().is_some() {
        return Fetched::Run(lead);
    }
    let has_pending_tag = lead.flight().tags().is_some_and(Tagged::was_pending);
    if has_pending_tag || cache.flights.is_pending(lead.name()) {
        cache.repairs.attend(cache);
        return Fetched::Run(lead);
    }
    let key = cache.remote_key(lead.name());
    let looked = match asked {
        None => look(lead, &call, &key).await,
        Some(Asked { seen, spent }) => {
            lead.spend(spent);
            Looked::Lease(lead, seen)
        }
    };
    match looked {
        Looked::Fetched(fetched) => fetched,
        // In a place of its own, so that the state of a hit is small.
        looked => Box::pin(fetch_leased(looked, &call, &key)).await,
    }
}

/// What the load finds is as old as this at least, as far as its tags go.
fn goes_by(lead: &Lead, as_of: u64) {
    if let Some(tags) = lead.flight().tags() {
        tags.goes_by(as_of);
    }
}

/// Asks for the lease.
async fn lease(
    remote: &dyn Remote,
    lead: &Lead,
    call: &Call,
    key: &str,
    token: Token,
    seen: Seen,
) -> Result<Leased, Error> {
    let tags = Tags::of_run(call);
    let leased = ask(lead, |left| remote.lease(key, token, seen, &tags, left)).await?;
    Ok(learned(&tags, leased))
}

/// What a look came to.
enum Looked {
    Fetched(Fetched),
    /// There is something that this call cannot read.
    Unreadable(Lead, Rejected),
    /// There is nothing that anybody can.
    Lease(Lead, Seen),
}

/// Looks whether there is a value.
async fn look(lead: Lead, call: &Call, key: &str) -> Looked {
    let cache = call.cache();
    let (Some(remote), Ok(left)) = (readable(cache, call), left(&lead)) else {
        return Looked::Fetched(Fetched::Run(lead));
    };
    // Who joins after the mark may come later than what is known of the tags can vouch for.
    goes_by(&lead, 0);
    let mark = lead.mark();
    let tags = Tags::of_read(call);
    goes_by(&lead, tags.as_of());
    let since = Instant::now();
    let got = remote.get(key, &tags, left).await;
    if !matches!(got, Ok((Got::Found(_), None))) {
        goes_by(&lead, u64::MAX);
    }
    let looked = match got.map(|got| learned(&tags, got)) {
        Ok(Got::Found(found)) => match use_found(call, lead, &found, mark) {
            // It needs no more of its budget.
            Ok(fetched) => return Looked::Fetched(fetched),
            Err(back) => {
                goes_by(&back, u64::MAX);
                Looked::Unreadable(back, found.seen())
            }
        },
        Ok(Got::Rejected(rejected)) => Looked::Lease(lead, Seen::Rejected(rejected)),
        Ok(Got::Nothing) => Looked::Lease(lead, Seen::Nothing),
        Ok(Got::Newer) | Err(_) => return Looked::Fetched(Fetched::Run(lead)),
    };
    let (Looked::Unreadable(lead, _) | Looked::Lease(lead, _)) = &looked else {
        return looked;
    };
    lead.spend(since.elapsed());
    looked
}

/// Gets the lease, or waits for who has it.
async fn fetch_leased(mut looked: Looked, call: &Call, key: &str) -> Fetched {
    let cache = call.cache();
    let token = cache.token();
    let mut deadline = Instant::now() + cache.settings.lease;
    let mut is_last = false;
    let mut is_patient = true;
    loop {
        let (lead, seen) = match looked {
            Looked::Fetched(fetched) => return fetched,
            Looked::Unreadable(lead, seen) => {
                return fetch_rejected(lead, call, key, token, seen).await;
            }
            Looked::Lease(lead, seen) => (lead, seen),
        };
        // Asked again with each step: it may have gone meanwhile.
        let Some(remote) = readable(cache, call) else {
            return Fetched::Run(lead);
        };
        let mark = lead.mark();
        match lease(&**remote, &lead, call, key, token, seen).await {
            Ok(Leased::Granted) => {
                granted(&lead, token, key);
                return Fetched::Run(lead);
            }
            Ok(Leased::Found(found)) => {
                return match use_found(call, lead, &found, mark) {
                    Ok(fetched) => fetched,
                    Err(back) => fetch_rejected(back, call, key, token, found.seen()).await,
                };
            }
            Ok(Leased::Busy) if is_patient && lead.is_patient() => {
                match timeout_at(deadline, remote.changed(key)).await {
                    // A run that stored nothing: whoever else asks is not waited for once more.
                    Ok(Ok(Reason::Woken)) => is_patient = false,
                    // One that was woken again and again has waited long enough, too.
                    Ok(Ok(_)) | Err(_) if Instant::now() < deadline => {}
                    // The lease that the wait began with has ended, and all who waited for it look
                    // at once: one of them gets the next, and the others give it a moment.
                    Ok(Ok(_)) | Err(_) if !is_last => {
                        is_last = true;
                        deadline += LAST_POLL;
                    }
                    Ok(Ok(_)) | Err(_) => is_patient = false,
                    Ok(Err(_)) => return Fetched::Run(lead),
                }
                // The looks of a wait are bounded by the wait; the budget is for what comes after.
                lead.forget_spent();
                lead.look_anew();
                looked = look(lead, call, key).await;
            }
            Ok(Leased::Held) => {
                lead.keep_nothing();
                return Fetched::Run(lead);
            }
            Ok(Leased::Busy | Leased::Newer) | Err(_) => return Fetched::Run(lead),
        }
    }
}

/// A value stands there that this call cannot read: asks once to replace it.
async fn fetch_rejected(
    lead: Lead,
    call: &Call,
    key: &str,
    token: Token,
    seen: Rejected,
) -> Fetched {
    let cache = call.cache();
    if let Some(remote) = readable(cache, call) {
        let seen = Seen::Rejected(seen);
        match lease(&**remote, &lead, call, key, token, seen).await {
            Ok(Leased::Granted) => granted(&lead, token, key),
            Ok(Leased::Held) => lead.keep_nothing(),
            _ => {}
        }
    }
    Fetched::Run(lead)
}

fn granted(lead: &Lead, token: Token, key: &str) {
    lead.granted(token);
    let cache = lead.flight().cache();
    cache.renewals.add_lease(cache, lead.flight(), token, key);
}

/// Lands with a value, if this call can read it.
fn use_found(call: &Call, lead: Lead, found: &Found, mark: u32) -> Result<Fetched, Lead> {
    let Some(entry) = read(call.instance, header(call, lead.stamp(), found), found) else {
        return Err(lead);
    };
    // Current when it was asked for, whatever came since.
    lead.confirm(mark);
    call.land(lead, entry.clone());
    Ok(Fetched::Value(entry))
}

/// The entry of a value that came from the remote tier, if this call can read it.
fn read(instance: &Instance, header: Header, found: &Found) -> Option<Kept> {
    if found.life.is_zero() || found.fingerprint != instance.fingerprint {
        return None;
    }
    let codec = instance.codec.remote.as_ref()?;
    if !found.negative {
        let value = (codec.decode)(found.codec, &found.payload)?;
        Some(Kept { header, value })
    } else if instance.reads_none {
        Some(Kept::negative(header, instance.entity.is_tagged()))
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

/// The value of a run on its way: it lands in memory too, unless the remote tier refused it.
pub(crate) fn fill(
    call: &Call,
    lead: Lead,
    token: Token,
    life: u64,
    entry: Kept,
) -> Pin<Box<dyn Future<Output = Kept> + Send>> {
    let call = call.clone();
    Box::pin(async move {
        let mark = lead.mark();
        let stored = store(&call, &lead, token, life, &entry).await;
        match stored {
            Ok(Stored::Yes) => {
                lead.used_up();
                // Nothing has invalidated it until it was stored, its tags neither.
                lead.confirm(mark);
                call.land(lead, entry.clone());
            }
            Ok(Stored::No { was_current }) => {
                lead.used_up();
                lead.refused();
                if was_current {
                    lead.confirm(mark);
                }
                lead.land(Outcome::Value(entry.clone()));
            }
            // It may have been stored or not, and here it is as good as it was when the run began.
            Err(Error::Timeout { .. } | Error::Unavailable) => call.land(lead, entry.clone()),
            // It has no stored form, or is not taken.
            Err(_) => {
                lead.refused();
                call.land(lead, entry.clone());
            }
        }
        entry
    })
}

/// What became of a value on its way to the remote tier.
enum Stored {
    Yes,
    No {
        /// The lease stood until it was given back: nothing has invalidated the value by then.
        was_current: bool,
    },
}

async fn store(
    call: &Call,
    lead: &Lead,
    token: Token,
    life: u64,
    entry: &Kept,
) -> Result<Stored, Error> {
    let cache = call.cache();
    let Some(remote) = readable(cache, call) else {
        return Err(Error::Unavailable);
    };
    let key = cache.remote_key(lead.name());
    if lead.is_superseded() {
        // An invalidation of this process came between; the lease is of no use to anybody.
        let released = ask(lead, |_| remote.release(&key, token)).await?;
        // That it stood says nothing of the tags.
        return Ok(Stored::No { was_current: released && !call.is_tagged() });
    }
    let value = encoded(call, entry, life, lead.cost())?;
    let is_stored = ask(lead, |left| remote.fill(&key, token, value, left)).await?;
    Ok(if is_stored { Stored::Yes } else { Stored::No { was_current: false } })
}

/// An entry as the remote tier keeps it for so long.
pub(crate) fn encoded(call: &Call, entry: &Kept, life: u64, cost: Duration) -> Result<Fill, Error> {
    let cache = call.cache();
    let negative = entry.is_negative();
    let codec = cache.settings.codec;
    let payload = match &call.instance.codec.remote {
        Some(functions) if !negative => (functions.encode)(codec, &entry.value)
            .map_err(|error| error.of(call.instance.site.function()))?,
        _ => Vec::new(),
    };
    let age = cache.time.now().saturating_sub(entry.header.loaded());
    Ok(Fill {
        payload,
        codec,
        negative,
        fingerprint: call.instance.fingerprint,
        age: Duration::from_nanos(age),
        life: Duration::from_nanos(life),
        cost,
    })
}

/// Releases the lease of a load that ended without a value, in the background.
pub(crate) fn give_back(flight: &Flight) {
    let (Some(token), Some(remote)) = (flight.unused_token(), flight.cache().remote.clone()) else {
        return;
    };
    let key = flight.cache().remote_key(flight.name());
    flight.cache().background.spawn(async move {
        // A lease that is not released expires.
        let _ = remote.release(&key, token).await;
    });
}

/// Of a value's type and a function's version and tags: what a reader compares before it decodes.
pub(crate) fn fingerprint(type_name: &str, version: u32, tags: TagSet) -> u64 {
    let mut hash = Hash::new();
    hash.update(version.to_le_bytes());
    hash.update(type_name);
    for tag in tags.all {
        // No type and no template has such a byte, and the next one has an end.
        hash.update([u8::MAX]);
        hash.update(tag.template);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_le_bytes(first)
}
