//! A load from the remote tier: what the leader of a flight asks, and what it makes of the answers.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use hmac_sha256::Hash;
use tokio::time::{Instant, timeout_at};

use super::{
    Answers, Ask, Fill, Found, Got, Lease, Leased, Reason, Rejected, Remote, Seen, Tags, Token,
};
use crate::{
    cache::Cache,
    call::Call,
    clock::nanos,
    error::Error,
    key::{Instance, TagSet},
    local::{
        self, Aged, Flight, Freshness, Header, Kept, Lead, Named, Old, Outcome, Stamp, Standing,
        Tagged, Window,
    },
};

/// How long a load waits on after the lease has ended that it waited for.
const LAST_POLL: Duration = Duration::from_millis(50);

/// What the remote tier had for a load.
pub(crate) enum Fetched {
    /// A value; the flight has landed with it.
    Value(Kept),
    /// An old value, or one that is to be refreshed before its time: the lead has it. What was asked so
    /// far is not asked again.
    Old(Lead, Asked),
    Run(Lead),
}

/// The remote tier, if it is one for this call.
pub(crate) fn of(call: &Call) -> Option<&Arc<dyn Remote>> {
    call.remote().filter(|_| call.instance.site.remote && call.instance.codec.remote.is_some())
}

/// The same, if it may be read now.
fn readable(call: &Call) -> Option<&Arc<dyn Remote>> {
    let is_clear_pending = || call.cache().repairs.is_clear_pending();
    of(call).filter(|remote| remote.is_usable() && !is_clear_pending())
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
    /// What it has read, if that is old.
    pub(crate) old: Option<Old>,
}

/// Reads the remote tier, without asking for the lease and without keeping what it has.
pub(crate) fn read_alone(call: &Call) -> impl Future<Output = Read> + Send + use<> {
    let (cache, call) = (call.cache().clone(), call.clone());
    let named = readable(&call).and_then(|_| {
        let name = cache.flights.name(call.text());
        if cache.flights.has_pending() && is_pending(&cache, &call, &name) {
            cache.repairs.attend(&cache);
            return None;
        }
        Some((cache.remote_key(&name), Tags::of_read(&call), Before::of(&cache, &call, &name)))
    });
    async move {
        let nothing = |seen, spent| Read::Nothing(Asked { seen, spent, old: None });
        let (Some((key, tags, before)), Some(remote)) = (named, call.remote()) else {
            return nothing(Seen::Nothing, Duration::ZERO);
        };
        let since = Instant::now();
        let got = remote.get(&key, &tags, cache.settings.redis_budget).await;
        let seen = match got.map(|got| learned(&tags, got)) {
            Ok(Got::Found(found)) => match judge(&call, before.stamp, &found) {
                Judged::Fresh(entry) => return Read::Value(entry),
                Judged::Old(old) => {
                    old.entry.label(&call, before.tags.as_ref());
                    return Read::Nothing(Asked {
                        seen: seen_of(&old.entry, cache.time.now()),
                        spent: since.elapsed(),
                        old: Some(old),
                    });
                }
                Judged::Dead => Seen::Nothing,
                Judged::Unreadable => Seen::Rejected(found.seen()),
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

/// What is known of a key before it is read: what is old is kept by it, or served later.
struct Before {
    stamp: Stamp,
    tags: Option<Tagged>,
}

impl Before {
    fn of(cache: &Cache, call: &Call, name: &Named) -> Self {
        let now = cache.time.now();
        let (slot, generation) = (name.slot(), cache.generations.at(name.slot()));
        let is_needed = call.freshness().is_any();
        let tags = call.tags().filter(|_| is_needed);
        Self {
            stamp: Stamp { slot, generation, loaded: now, now },
            tags: tags.map(|tags| Tagged::begin(cache, tags)),
        }
    }
}

/// What a value that was read is to a call.
enum Judged {
    Fresh(Kept),
    /// To be refreshed, or replaced.
    Old(Old),
    /// Too old.
    Dead,
    /// The call cannot read it.
    Unreadable,
}

fn judge(call: &Call, stamp: Stamp, found: &Found) -> Judged {
    judge_as(call, stamp, found, Aged::of(found))
}

/// What it is without being refreshed before its time.
fn judge_late(call: &Call, stamp: Stamp, found: &Found) -> Judged {
    judge_as(call, stamp, found, Aged { cost: 0, ..Aged::of(found) })
}

fn judge_as(call: &Call, stamp: Stamp, found: &Found, aged: Aged) -> Judged {
    if found.fingerprint != call.instance.fingerprint {
        return Judged::Unreadable;
    }
    let standing = call.standing(aged);
    if standing == Standing::Dead {
        return Judged::Dead;
    }
    match read(call.instance, header(call, stamp, found), found) {
        None => Judged::Unreadable,
        Some(entry) if standing == Standing::Fresh => Judged::Fresh(entry),
        Some(entry) => {
            let wait = call.freshness().wait(standing);
            Judged::Old(Old { entry: fresh_until(entry), wait, is_paused: false })
        }
    }
}

/// With the end of its life as the time when it expires.
fn fresh_until(entry: Kept) -> Kept {
    let Kept { header, value } = entry;
    Kept { header: header.living_until(header.fresh_until()), value }
}

/// What the asker of a lease says of an old value.
fn seen_of(old: &Kept, now: u64) -> Seen {
    if now < old.header.expires { Seen::Early } else { Seen::Nothing }
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
        // What a call would be served without a run that it waits for.
        Read::Nothing(asked) => asked.old.filter(|old| old.wait.is_some()).map(|old| old.entry),
    }
}

impl Asked {
    /// Nothing: it wants to run in any case.
    pub(crate) const REFRESH: Self = Self { seen: Seen::Refresh, spent: Duration::ZERO, old: None };

    /// Nothing, for memory has this.
    pub(crate) fn of_old(old: &Kept, now: u64) -> Self {
        Self { seen: seen_of(old, now), spent: Duration::ZERO, old: None }
    }
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
    if let Some(remote) = of(&call)
        && call.freshness().is_any()
        && !cache.trust.lasts(cache.time.now())
    {
        // Of a process that hears nothing, no old value is ever taken.
        remote.attend();
    }
    let key = cache.remote_key(lead.name());
    let looked = match asked {
        None => match look(lead, &call, &key).await {
            // Before it is asked for the lease, for its caller may not wait for that.
            Looked::Lease(lead, seen) if call.old_of(&lead).is_some() => {
                let spent = lead.spent();
                lead.forget_spent();
                return Fetched::Old(lead, Asked { seen, spent, old: None });
            }
            looked => looked,
        },
        Some(Asked { seen, spent, .. }) => {
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
    let lease = Lease { key: key.to_owned(), token };
    let asked = Ask { lease, seen, tags: tags.clone() };
    let leased = ask(lead, |left| one(remote.lease(vec![asked], left))).await?;
    Ok(learned(&tags, leased))
}

/// The answer for the only key.
async fn one<T>(answers: Answers<'_, T>) -> Result<T, Error> {
    answers.await.pop().unwrap_or(Err(Error::Unavailable))
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
    let (Some(remote), Ok(left)) = (readable(call), left(&lead)) else {
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
        Ok(Got::Found(found)) => match use_found(call, lead, &found, mark, judge) {
            // It needs no more of its budget.
            Used::Landed(entry) => return Looked::Fetched(Fetched::Value(entry)),
            Used::Old(back, seen) => Looked::Lease(back, seen),
            Used::Unreadable(back) => {
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
        let Some(remote) = readable(call) else {
            return Fetched::Run(lead);
        };
        let mark = lead.mark();
        match lease(&**remote, &lead, call, key, token, seen).await {
            Ok(Leased::Granted { is_refresh }) => {
                granted(&lead, token, key, is_refresh);
                return Fetched::Run(lead);
            }
            Ok(Leased::Found(found)) => {
                return match use_found(call, lead, &found, mark, judge_late) {
                    Used::Landed(entry) => Fetched::Value(entry),
                    Used::Old(back, _) => Fetched::Run(back),
                    Used::Unreadable(back) => {
                        fetch_rejected(back, call, key, token, found.seen()).await
                    }
                };
            }
            Ok(Leased::Stale { found, pause, is_refreshed: false }) => {
                return use_paused(call, lead, &found, pause, mark);
            }
            Ok(Leased::Stale { found, pause, .. })
                if is_at_once(call, &found) && !(is_patient && call.waits_for_new()) =>
            {
                // Whoever refreshes it may be done before.
                return use_paused(call, lead, &found, pause.min(LAST_POLL), mark);
            }
            Ok(Leased::Busy | Leased::Stale { .. }) if is_patient && lead.is_patient() => {
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
            Ok(Leased::Busy | Leased::Stale { .. } | Leased::Newer) | Err(_) => {
                return Fetched::Run(lead);
            }
        }
    }
}

/// Whether such a value is served while somebody refreshes it.
fn is_at_once(call: &Call, found: &Found) -> bool {
    let aged = Aged { cost: 0, ..Aged::of(found) };
    matches!(call.standing(aged), Standing::Fresh | Standing::Stale)
}

/// Lands with a value that nobody is to refresh for now, if it is of use to this call.
fn use_paused(call: &Call, lead: Lead, found: &Found, pause: Duration, mark: u32) -> Fetched {
    let stamp = lead.stamp();
    let is_of_use = call.standing(Aged { cost: 0, ..Aged::of(found) }) != Standing::Dead;
    let entry = read(call.instance, header(call, stamp, found), found).map(fresh_until);
    let Some(entry) = entry.filter(|_| is_of_use) else {
        return Fetched::Run(lead);
    };
    lead.confirm(mark);
    let other = if stamp.now < entry.header.expires {
        Outcome::Value(entry.clone())
    } else {
        // Whoever takes no old value runs for himself.
        Outcome::Old(entry.clone(), Box::new(Outcome::Unshared))
    };
    lead.land_paused(call, entry.clone(), stamp.now.saturating_add(nanos(pause)), other);
    Fetched::Value(entry)
}

/// A value stands there that this call cannot read: asks once to replace it.
async fn fetch_rejected(
    lead: Lead,
    call: &Call,
    key: &str,
    token: Token,
    seen: Rejected,
) -> Fetched {
    if let Some(remote) = readable(call) {
        let seen = Seen::Rejected(seen);
        match lease(&**remote, &lead, call, key, token, seen).await {
            Ok(Leased::Granted { .. }) => granted(&lead, token, key, false),
            Ok(Leased::Held) => lead.keep_nothing(),
            _ => {}
        }
    }
    Fetched::Run(lead)
}

fn granted(lead: &Lead, token: Token, key: &str, is_refresh: bool) {
    if !is_refresh {
        // What is remembered here of a value, nobody else vouches for.
        lead.forget_old();
    }
    lead.granted(token);
    let cache = lead.flight().cache();
    cache.renewals.add_lease(cache, lead.flight(), token, key);
}

/// What became of a value that was read for a load.
enum Used {
    /// The flight has landed with it.
    Landed(Kept),
    /// It is to be refreshed or replaced, and the lease to be asked for with this. The lead has the value
    /// if it is of use.
    Old(Lead, Seen),
    /// The call cannot read it.
    Unreadable(Lead),
}

fn use_found(
    call: &Call,
    lead: Lead,
    found: &Found,
    mark: u32,
    judge: impl FnOnce(&Call, Stamp, &Found) -> Judged,
) -> Used {
    match judge(call, lead.stamp(), found) {
        Judged::Fresh(entry) => {
            // Current when it was asked for, whatever came since.
            lead.confirm(mark);
            call.land(lead, entry.clone());
            Used::Landed(entry)
        }
        Judged::Old(old) => {
            let seen = seen_of(&old.entry, lead.stamp().now);
            lead.offer(call, old.entry, mark);
            Used::Old(lead, seen)
        }
        Judged::Dead => Used::Old(lead, Seen::Nothing),
        Judged::Unreadable => Used::Unreadable(lead),
    }
}

/// Whether the value that a failed run should have replaced may be in the place of its result.
pub(crate) enum Confirmed {
    /// Nobody has changed it until now, and this process would have heard of it.
    Yes(Kept),
    /// Somebody has.
    No,
    /// Nobody can tell.
    Unknown,
}

pub(crate) async fn confirm_old(call: &Call, lead: &Lead, old: Kept) -> Confirmed {
    let cache = call.cache();
    let if_heard = |old| {
        if cache.trust.lasts(cache.time.now()) { Confirmed::Yes(old) } else { Confirmed::Unknown }
    };
    if of(call).is_none() {
        return if_heard(old);
    }
    let (Some(remote), Some(token)) = (readable(call), lead.token()) else {
        return Confirmed::Unknown;
    };
    let mark = lead.mark();
    let key = cache.remote_key(lead.name());
    let lease = vec![Lease { key: key.clone(), token }];
    match ask(lead, |_| one(remote.release(lease, call.throttle()))).await {
        Ok(true) => {}
        Ok(false) => return Confirmed::No,
        Err(_) => return Confirmed::Unknown,
    }
    lead.used_up();
    lead.confirm(mark);
    // What was read before LEASE, or was in memory, need not be what stands there, or good by its tags.
    reread(&**remote, call, lead, &key).await.map_or(Confirmed::Unknown, if_heard)
}

/// What stands there, if it is of use to the call, also as an old value.
async fn reread(remote: &dyn Remote, call: &Call, lead: &Lead, key: &str) -> Option<Kept> {
    let tags = Tags::of_run(call);
    let got = ask(lead, |left| remote.get(key, &tags, left)).await.ok()?;
    let Got::Found(found) = learned(&tags, got) else {
        return None;
    };
    let now = call.cache().time.now();
    let entry = match judge_late(call, Stamp { now, ..lead.stamp() }, &found) {
        Judged::Fresh(entry) => fresh_until(entry),
        Judged::Old(old) => old.entry,
        Judged::Dead | Judged::Unreadable => return None,
    };
    entry.label(call, lead.flight().tags());
    Some(entry)
}

/// The entry of a value that came from the remote tier, if this call can read it.
fn read(instance: &Instance, header: Header, found: &Found) -> Option<Kept> {
    if found.fingerprint != instance.fingerprint {
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
    let measure = || found.payload.len() as u64;
    let header = call.header(Stamp { loaded, ..stamp }, life, nanos(found.cost), measure);
    if life > 0 {
        header
    } else {
        // The part of its life in which a read may refresh it is over too.
        let ended = stamp.now.saturating_sub(nanos(found.overdue));
        Header { window: Window::NONE, ..header.living_until(ended) }
    }
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
    let Some(remote) = readable(call) else {
        return Err(Error::Unavailable);
    };
    let key = cache.remote_key(lead.name());
    if lead.is_superseded() {
        // An invalidation of this process came between; the lease is of no use to anybody.
        let lease = Lease { key, token };
        let released = ask(lead, |_| one(remote.release(vec![lease], Duration::ZERO))).await?;
        return Ok(Stored::No { was_current: released });
    }
    let value = encoded(call, entry, life, lead.cost())?;
    let fill = (Lease { key, token }, value);
    let is_stored = ask(lead, |left| one(remote.fill(vec![fill], left))).await?;
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
    let Freshness { stale, stale_if_error, .. } = *call.freshness();
    Ok(Fill {
        payload,
        codec,
        negative,
        fingerprint: call.instance.fingerprint,
        age: Duration::from_nanos(age),
        life: Duration::from_nanos(life),
        stale: Duration::from_nanos(stale),
        stale_if_error: Duration::from_nanos(stale_if_error),
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
        let _ = remote.release(vec![Lease { key, token }], Duration::ZERO).await;
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
