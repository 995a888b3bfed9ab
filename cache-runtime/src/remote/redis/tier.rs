//! What a load asks of a remote tier, as commands to Redis.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Cmd, Pipeline, Value};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    connection::{Connection, Fresh, Greet, Greeting, Settings, after},
    ears::Ears,
    failure::Failure,
    race::{Either, race},
    scripts::{self, Answer, Ask, Command, Policy},
    stamps::{self, Grant, Kept, Stamp},
    subscriber::{Kind, Message},
    url::Address,
    waiters::{Waiter, Waiters},
    wire::{self, Request, number, text},
};
use crate::{
    blob::{self, Compression, Decoded, EncodeError, Header, Stamps},
    error::Error,
    remote::{
        Answers, Fill, Found, Got, Hold, Leased, Memory, Payload, ReadStamps, Reason, Rejected,
        Remote, Reply, Seen, Settlement, TAGS, Tags, Token,
    },
    stats::RedisStats,
    sync::{Mutex, lock},
};

/// What the tier in Redis is made with.
pub(crate) struct TierSettings {
    pub(crate) address: Address,
    pub(crate) service: String,
    /// For one command.
    pub(crate) budget: Duration,
    /// How long a lease lasts that is not renewed.
    pub(crate) lease: Duration,
    /// How old what this process knows of the service's stamp may be.
    pub(crate) max_staleness: Duration,
    pub(crate) compression: Compression,
    pub(crate) on_restart: Policy,
    pub(crate) random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The tier in Redis. Connects with the first command.
pub(crate) struct RedisTier {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    ears: Arc<Ears>,
    /// Those who asked for a lease and may have to wait: they hear what comes after LEASE.
    parked: Mutex<HashMap<String, Waiter>>,
    grants: Mutex<HashMap<Token, Grant>>,
    /// The stamps of tags that need not be kept any longer than they are.
    kept: Kept,
    /// Also the channel of its messages.
    service_key: String,
    budget: Duration,
    lease: Duration,
    max_staleness: Duration,
    compression: Compression,
    late_grants: AtomicU64,
    /// Counted by those who hold it: leases that are to be released on another connection.
    owed: Arc<()>,
}

/// So many of a kind at most; they are given back by those who took them, or were forgotten.
const MOST: usize = 4096;

/// Between two attempts to release what is owed.
const RETRY: Duration = Duration::from_millis(50);

impl RedisTier {
    pub(crate) fn new(settings: TierSettings) -> Self {
        let service_key = [TAGS, &settings.service].concat();
        let random = Arc::clone(&settings.random);
        let waiters = Waiters::new(move || random());
        let ears = Ears::new(waiters, (settings.random)().to_be_bytes());
        let random = Arc::clone(&settings.random);
        let connection = Connection::new(
            Settings {
                address: settings.address,
                service_key: service_key.clone(),
                budget: settings.budget,
                max_staleness: settings.max_staleness,
                random: Box::new(move || random()),
            },
            Greeter { service_key: service_key.clone(), on_restart: settings.on_restart },
            Arc::clone(&ears) as _,
        );
        let inner = Inner {
            connection,
            ears,
            parked: Mutex::default(),
            grants: Mutex::default(),
            kept: Kept::default(),
            service_key,
            budget: settings.budget,
            lease: settings.lease,
            max_staleness: settings.max_staleness,
            compression: settings.compression,
            late_grants: AtomicU64::new(0),
            owed: Arc::new(()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What has happened on the connection.
    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.inner.connection
    }

    /// Leases that were granted after their callers had gone, and given back.
    pub(crate) fn late_grants(&self) -> u64 {
        self.inner.late_grants.load(Relaxed)
    }
}

impl Remote for RedisTier {
    fn get<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        within: Duration,
    ) -> Reply<'a, (Got, ReadStamps)> {
        Box::pin(self.inner.get(key, tags, within))
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        token: Token,
        seen: Seen,
        tags: &'a Tags,
        within: Duration,
    ) -> Reply<'a, (Leased, ReadStamps)> {
        Box::pin(async move {
            let inner = &self.inner;
            inner.park(key);
            let leased = inner.lease(key, token, seen, tags, within).await;
            if !matches!(leased, Ok((Leased::Busy, _))) {
                let waiter = lock(&inner.parked).remove(key);
                drop(waiter);
            }
            leased
        })
    }

    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        Box::pin(async move {
            let command = scripts::Lease {
                key,
                token,
                term: self.inner.lease,
                not_after: None,
                ask: Ask::Renew,
                seen: &[],
            };
            let answer = self.inner.run(&command).await?;
            Ok(matches!(answer.outcome, scripts::Leased::Granted(_)))
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: Token,
        value: Fill,
        within: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(self.inner.fill(key, token, value, within))
    }

    fn release<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        Box::pin(self.inner.release(key, token))
    }

    fn invalidate<'a>(&'a self, keys: &'a [String]) -> Answers<'a, ()> {
        Box::pin(async move {
            let inner = &self.inner;
            let messages: Vec<_> = keys.iter().map(|key| inner.changed(key)).collect();
            let channel = inner.service_key.as_str();
            let commands: Vec<_> = keys
                .iter()
                .zip(&messages)
                .map(|(key, message)| scripts::Invalidate { key, channel, message })
                .collect();
            let answers = inner.run_all(&commands, Vec::new()).await;
            answers.into_iter().map(|answer| answer.map(drop)).collect()
        })
    }

    fn hold<'a>(&'a self, holds: &'a [Hold], term: Duration, still: bool) -> Answers<'a, ()> {
        Box::pin(self.inner.hold(holds, term, still))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Answers<'_, bool> {
        Box::pin(self.inner.settle(settlements))
    }

    fn changed<'a>(&'a self, key: &'a str) -> Reply<'a, Reason> {
        Box::pin(async move {
            let inner = &self.inner;
            let parked = lock(&inner.parked).remove(key);
            let mut waiter = parked.unwrap_or_else(|| inner.ears.waiters.wait(key));
            let change = waiter.changed(inner.connection.broken()).await;
            // It goes on to hear, and to wait longer between two looks.
            let old = lock(&inner.parked).insert(key.to_owned(), waiter);
            drop(old);
            Ok(change)
        })
    }

    fn clear(&self) -> Reply<'_, ()> {
        Box::pin(async move {
            let message = self.inner.message(Kind::Clear, "");
            let key = &self.inner.service_key;
            let sent = Instant::now();
            let clear = scripts::Clear { key, channel: key, message: &message };
            let answer = self.inner.run(&clear).await?;
            self.inner.connection.note(Some(answer.outcome), sent);
            Ok(())
        })
    }

    fn tell(&self, memory: Weak<dyn Memory>) {
        self.inner.ears.tell(memory);
    }

    fn attend(&self) {
        self.inner.connection.attend();
    }

    fn is_usable(&self) -> bool {
        self.inner.connection.is_usable()
    }

    fn stats(&self) -> RedisStats {
        let counts = self.inner.connection.counts();
        RedisStats {
            commands: counts.sent,
            timeouts: counts.timeouts,
            connections: counts.connects,
            breaker_openings: counts.openings,
            rejected: counts.capped,
            late_grants: self.inner.late_grants.load(Relaxed),
            pending_repairs: 0,
            unheld: 0,
        }
    }
}

impl Inner {
    async fn get(
        &self,
        key: &str,
        tags: &Tags,
        within: Duration,
    ) -> Result<(Got, ReadStamps), Error> {
        let sent = Instant::now();
        let mut get = Cmd::with_capacity(2, 3 + key.len());
        get.arg("GET").arg(key);
        let known = self.connection.up().and_then(|live| {
            let reading = live.reading();
            let age = sent.saturating_duration_since(reading.sent);
            let now = reading.server_millis(sent);
            let tags = tags.known().filter(|_| age <= self.max_staleness)?;
            Some((live, Current { service: reading.stamp, tags: Some(tags) }, now))
        });
        let Some((live, current, now)) = known else {
            return Box::pin(self.get_with_stamps(get, tags, sent, within)).await;
        };
        let permit = self.connection.begin()?;
        let mut wire = live.wire.clone();
        let answered = {
            let sending = pin!(wire.send_packed_command(&get));
            match race(sending, sleep_until(after(sent, within))).await {
                Either::First(answered) => Some(wire::answer(answered)),
                Either::Second(()) => None,
            }
        };
        let value = self.connection.end(&live, within, answered);
        drop(permit);
        let Some(bytes) = bytes(value)? else {
            return Ok((Got::Nothing, None));
        };
        match judge(bytes, Some(now)) {
            // What is known here may be older than the value.
            Judged::Value(value) if !value.is_of(current) => {
                let within = left(within, sent);
                let (service, read) = Box::pin(self.current_stamps(tags, within)).await?;
                let current = Current { service, tags: read.as_deref() };
                Ok((Judged::Value(value).got(current), read))
            }
            judged => Ok((judged.got(current), None)),
        }
    }

    /// The value and the stamps on the same way.
    async fn get_with_stamps(
        &self,
        get: Cmd,
        tags: &Tags,
        sent: Instant,
        within: Duration,
    ) -> Result<(Got, ReadStamps), Error> {
        let mut all = Pipeline::new();
        // In this order: of a value that is newer than its stamps nobody could tell that it is.
        all.add_command(get);
        let keys = tags.keys();
        for command in self.read_stamps(&keys) {
            all.add_command(command);
        }
        let answer = self.connection.run(Request::Pipeline(all), within).await?;
        let (value, stamps) = first(answer)?;
        let (service, read) = self.noted(&stamps, keys.len(), sent)?;
        let value = match value {
            Value::ServerError(error) => Err(Failure::of_server(&error)),
            value => Ok(value),
        };
        let Some(bytes) = bytes(value)? else {
            return Ok((Got::Nothing, read));
        };
        // Without one before, there is a connection by now.
        let judged = judge(bytes, self.server_millis(sent));
        let current = Current { service, tags: read.as_deref() };
        Ok((judged.got(current), read))
    }

    async fn lease(
        self: &Arc<Self>,
        key: &str,
        token: Token,
        seen: Seen,
        tags: &Tags,
        within: Duration,
    ) -> Result<(Leased, ReadStamps), Error> {
        let since = Instant::now();
        let (ask, mut seen) = match seen {
            Seen::Nothing => (Ask::Load, Rejected::default()),
            Seen::Rejected(rejected) => (Ask::Load, rejected),
            Seen::Refresh => (Ask::Refresh, Rejected::default()),
        };
        // A value that comes in between and cannot be used is replaced in a second attempt.
        for _ in 0..2 {
            let within = left(within, since);
            let (leased, service, read) = self.ask(key, token, ask, &seen.0, tags, within).await?;
            let (bytes, is_stale) = match leased {
                scripts::Leased::Granted(_) => return Ok((Leased::Granted, read)),
                scripts::Leased::Busy(_) => return Ok((Leased::Busy, read)),
                scripts::Leased::Held => return Ok((Leased::Held, read)),
                scripts::Leased::Newer => return Ok((Leased::Newer, read)),
                scripts::Leased::Late | scripts::Leased::Lost => {
                    return Err(Error::Timeout { budget: self.budget });
                }
                scripts::Leased::Found(bytes) => (bytes, false),
                scripts::Leased::Stale(bytes) => (bytes, true),
            };
            let current = Current { service, tags: read.as_deref() };
            match judge(bytes, self.server_millis(Instant::now())) {
                Judged::Value(value) if value.is_of(current) => {
                    let life = if is_stale { value.stale } else { value.found.life };
                    let leased = if life.is_zero() {
                        Leased::Busy
                    } else {
                        Leased::Found(Found { life, ..value.found })
                    };
                    return Ok((leased, read));
                }
                Judged::Value(value) => seen = value.found.seen(),
                Judged::Foreign(bytes) => seen = bytes,
                Judged::Nothing => {}
                Judged::Newer => return Ok((Leased::Newer, read)),
            }
        }
        // It changes faster than it can be asked for.
        Ok((Leased::Busy, None))
    }

    /// LEASE, and the stamps that stand then.
    async fn ask(
        self: &Arc<Self>,
        key: &str,
        token: Token,
        ask: Ask,
        seen: &[u8],
        tags: &Tags,
        within: Duration,
    ) -> Result<(scripts::Leased, Option<u64>, ReadStamps), Error> {
        let sent = Instant::now();
        let not_after = self.not_after(sent, within);
        let command = scripts::Lease { key, token, term: self.lease, not_after, ask, seen };
        let keys = tags.keys();
        let request = Request::all(&[command], self.read_stamps(&keys)).ok_or(Error::Refused)?;
        let (late, late_key) = (Arc::downgrade(self), key.to_owned());
        let on_late = move |answered| come_late(&late, late_key, token, answered);
        let answer = self.connection.run_or_late(request, within, on_late).await?;
        let at = Instant::now();
        let (leased, stamps) = first(answer)?;
        let Some(Answer { now, outcome }) = scripts::Lease::answer(leased) else {
            return Err(Failure::Garbage.into());
        };
        let scripts::Leased::Granted(_) = outcome else {
            let (service, read) = self.noted(&stamps, keys.len(), sent)?;
            return Ok((outcome, service, read));
        };
        let mut unclaimed = Unclaimed { inner: self, key, token, is_claimed: false };
        let service = self.noted_service(stamps.first(), sent)?;
        let read = stamps::read(stamps.get(1), keys.len())?;
        let Some(seeded) = self.seeded(keys, &read, left(within, sent)).await? else {
            // As if the entry were: what is made now could not be told from what is older.
            return Ok((scripts::Leased::Held, service, None));
        };
        unclaimed.is_claimed = true;
        let read = seeded.iter().map(|(_, stamp)| *stamp).collect();
        self.grant(token, Grant { stamp: service, tags: Some(seeded), server: now, at });
        Ok((outcome, service, Some(read)))
    }

    /// The stamps of these tags, of which so much was read: those that are lost are made. `None` if one of
    /// them is held.
    async fn seeded(
        &self,
        keys: Vec<String>,
        read: &[Stamp],
        within: Duration,
    ) -> Result<Option<Vec<(String, u64)>>, Error> {
        // Whether a hold still stands is for the script to say: one whose writers are dead does not.
        let lost = keys.iter().zip(read).filter(|(_, stamp)| stamp.number().is_none());
        let seeds: Vec<_> =
            lost.map(|(key, _)| scripts::Seed { key, keep: stamps::KEPT }).collect();
        let mut made = self.run_all_within(&seeds, Vec::new(), within).await.into_iter();
        let mut all = Vec::with_capacity(keys.len());
        for stamp in read {
            all.push(match stamp {
                Stamp::Is(stamp) => *stamp,
                Stamp::Lost | Stamp::Held => match made.next().ok_or(Failure::Garbage)?? {
                    scripts::Seeded::Stamp(stamp) => stamp,
                    scripts::Seeded::Held => return Ok(None),
                },
            });
        }
        Ok(Some(keys.into_iter().zip(all).collect()))
    }

    fn grant(&self, token: Token, grant: Grant) {
        let mut grants = lock(&self.grants);
        if grants.len() >= MOST {
            // None of these stands any more, unless somebody goes on to renew it.
            let most = self.lease.saturating_mul(10);
            grants.retain(|_, old| grant.at.duration_since(old.at) < most);
        }
        grants.insert(token, grant);
    }

    /// The server's time by which a command has to be executed that was sent then.
    fn not_after(&self, sent: Instant, within: Duration) -> Option<u64> {
        let reading = self.connection.reading()?;
        // Later by as much as the server's clock may be ahead of what is known of it.
        Some(reading.server_millis(after(sent, within.saturating_add(reading.error))) + 1)
    }

    async fn hold(&self, holds: &[Hold], term: Duration, still: bool) -> Vec<Result<(), Error>> {
        let sent = Instant::now();
        let not_after = self.not_after(sent, self.budget);
        let messages: Vec<_> = holds.iter().map(|hold| self.changed(&hold.key)).collect();
        let commands: Vec<_> = holds
            .iter()
            .zip(&messages)
            .map(|(Hold { key, token, .. }, message)| scripts::Hold {
                key,
                token: *token,
                term,
                not_after,
                is_renewal: still,
                channel: &self.service_key,
                message,
            })
            .collect();
        let keys: Vec<_> = holds.iter().flat_map(|hold| &hold.tags).cloned().collect();
        let mut first = None;
        let (mut answers, stamp, mut tags, at) = loop {
            // Before it, what a value is to carry: what is bumped once the hold has begun outdates it.
            let before = self.read_stamps(&keys);
            let count = before.len();
            let Some(request) = Request::after(before, &commands) else {
                return Vec::new();
            };
            let answered = self.connection.run(request, left(self.budget, sent)).await;
            let at = Instant::now();
            let (stamps, answers) = match answered {
                Ok(Value::Array(mut stamps)) if stamps.len() == count + holds.len() => {
                    let answers = stamps.split_off(count);
                    (stamps, answers)
                }
                answered => {
                    // They are held, but what they store nobody could tell from what is older.
                    if let Some((answers, stamp, at)) = first {
                        break (answers, stamp, None, at);
                    }
                    let failure = answered.err().unwrap_or(Failure::Garbage);
                    return holds.iter().map(|_| Err(failure.into())).collect();
                }
            };
            // What cannot be read keeps a value from being stored, and no hold from being one.
            let stamp = self.noted_service(stamps.first(), sent).ok().flatten();
            let read = stamps::read(stamps.get(1), keys.len()).unwrap_or_default();
            if first.is_none() && read.iter().any(|stamp| stamp.number().is_none()) {
                // Held once more when they are made: from then on a bump is seen.
                let _ = self.seeded(keys.clone(), &read, left(self.budget, sent)).await;
                first = Some((answers, stamp, at));
                continue;
            }
            let tags: Option<Vec<_>> = read.into_iter().map(Stamp::number).collect();
            let tags = tags.filter(|tags| tags.len() == keys.len());
            break (answers, stamp, tags.map(|tags| keys.into_iter().zip(tags)), at);
        };
        let held = |(hold, answer): (&Hold, Value)| {
            let tags = tags.as_mut().map(|tags| tags.take(hold.tags.len()).collect());
            let Answer { now, outcome } = answer_of::<scripts::Hold<'_>>(answer)?;
            match outcome {
                scripts::Held::Late => Err(Error::Timeout { budget: self.budget }),
                // What it began with is what its value is to be stored with.
                scripts::Held::Alone | scripts::Held::Contended if still => Ok(()),
                scripts::Held::Alone | scripts::Held::Contended => {
                    self.grant(hold.token, Grant { stamp, tags, server: now, at });
                    Ok(())
                }
            }
        };
        holds.iter().zip(answers.drain(..)).map(held).collect()
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Result<bool, Error>> {
        let mut kept = Vec::new();
        let encoded = |settlement: &Settlement| {
            // Without what its hold has read it is an invalidation.
            let grant = lock(&self.grants).remove(&settlement.hold.token)?;
            let value = settlement.value.as_ref()?;
            let encoded = self.encoded(&grant, value)?;
            kept.extend(self.kept.keep(&grant.tags?, value.life));
            Some((encoded, value.life))
        };
        let values: Vec<_> = settlements.iter().map(encoded).collect();
        let messages: Vec<_> =
            settlements.iter().map(|settlement| self.changed(&settlement.hold.key)).collect();
        let commands: Vec<_> = settlements
            .iter()
            .zip(&values)
            .zip(&messages)
            .map(|((Settlement { hold, .. }, value), message)| scripts::Settle {
                key: &hold.key,
                token: hold.token,
                value: match value {
                    Some((Ok(bytes), life)) => Some((bytes, *life)),
                    Some((Err(_), _)) | None => None,
                },
                channel: &self.service_key,
                message,
            })
            .collect();
        let answers = self.run_all(&commands, kept).await;
        let settled = |((answer, value), settlement): ((_, _), &Settlement)| match (answer, value) {
            // It was not stored, and whoever put it learns why.
            (Ok(_), Some((Err(error), _))) => Err(error),
            // Nor was this, though its writer may have been alone.
            (Ok(_), None) if settlement.value.is_some() => Ok(false),
            (answer, _) => answer,
        };
        answers.into_iter().zip(values).zip(&settlements).map(settled).collect()
    }

    /// An answer to each of these, which are one and the same script, and other commands behind them
    /// whose answers do not matter.
    async fn run_all<C: Command>(
        &self,
        commands: &[C],
        and: Vec<Cmd>,
    ) -> Vec<Result<C::Outcome, Error>> {
        self.run_all_within(commands, and, self.budget).await
    }

    async fn run_all_within<C: Command>(
        &self,
        commands: &[C],
        and: Vec<Cmd>,
        within: Duration,
    ) -> Vec<Result<C::Outcome, Error>> {
        let Some(request) = Request::all(commands, and) else {
            return Vec::new();
        };
        let failure = match self.connection.run(request, within).await {
            Ok(Value::Array(answers)) if answers.len() >= commands.len() => {
                let outcome = |answer| Ok(answer_of::<C>(answer)?.outcome);
                return answers.into_iter().take(commands.len()).map(outcome).collect();
            }
            answered => answered.err().unwrap_or(Failure::Garbage),
        };
        commands.iter().map(|_| Err(failure.into())).collect()
    }

    /// A value with its header; `None` without a stamp, for nobody could tell whether it is still good.
    fn encoded(&self, grant: &Grant, value: &Fill) -> Option<Result<Vec<u8>, Error>> {
        let stamps = grant.stamps()?;
        let now = grant.server.saturating_add(millis(grant.at.elapsed()));
        let until = now.saturating_add(millis(value.life));
        let header = Header {
            created: now.saturating_sub(millis(value.age)),
            fresh_until: until,
            stale_until: until,
            servable_until: until,
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

    async fn fill(
        self: &Arc<Self>,
        key: &str,
        token: Token,
        value: Fill,
        within: Duration,
    ) -> Result<bool, Error> {
        let grant = lock(&self.grants).remove(&token);
        let encoded = |grant: Grant| Some((self.encoded(&grant, &value)?, grant));
        let (bytes, grant) = match grant.and_then(encoded) {
            Some((Ok(bytes), grant)) => (bytes, grant),
            None => return self.release(key, token).await.map(|_| false),
            Some((Err(error), _)) => {
                // Whoever waits for it need not wait until the lease ends.
                let _ = self.release(key, token).await;
                return Err(error);
            }
        };
        let wake = self.message(Kind::Wake, key);
        let fill = scripts::Fill {
            key,
            token,
            value: &bytes,
            life: value.life,
            channel: &self.service_key,
            wake: &wake,
        };
        let mut and = self.kept.keep(grant.tags.as_deref().unwrap_or_default(), value.life);
        // A tag may have been bumped meanwhile, which takes no lease away.
        let again = grant.again();
        let is_compared = again.is_some();
        and.extend(again);
        let answered = match Request::all(&[fill], and) {
            Some(request) => self.connection.run(request, within).await,
            None => Err(Failure::Garbage),
        };
        let stored = answered.and_then(|answer| {
            let (stored, behind) = first(answer)?;
            let is_stored = answer_of::<scripts::Fill<'_>>(stored)?.outcome;
            Ok(is_stored && (!is_compared || grant.are_still(behind.last())))
        });
        stored.map_err(|failure| {
            self.owe(key, token);
            failure.into()
        })
    }

    async fn release(self: &Arc<Self>, key: &str, token: Token) -> Result<bool, Error> {
        lock(&self.grants).remove(&token);
        let released = self.try_release(key, token).await;
        if released.is_err() {
            self.owe(key, token);
        }
        released
    }

    /// Releases what may stand there as soon as there is a connection again, or nobody would run
    /// the function until the lease ends. After a fill that was stored it finds nothing.
    fn owe(self: &Arc<Self>, key: &str, token: Token) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if Arc::strong_count(&self.owed) > MOST {
            return;
        }
        let owed = Arc::clone(&self.owed);
        let release = pay(Arc::downgrade(self), self.connection.back(), key.to_owned(), token);
        let release = timeout(self.lease, release);
        runtime.spawn(async move {
            // By then it has ended.
            let _ = release.await;
            drop(owed);
        });
    }

    async fn try_release(&self, key: &str, token: Token) -> Result<bool, Error> {
        let wake = self.message(Kind::Wake, key);
        let release = scripts::Release {
            key,
            token,
            pause: Duration::ZERO,
            channel: &self.service_key,
            wake: &wake,
        };
        Ok(self.run(&release).await?.outcome)
    }

    /// Registers a waiter for what comes after the command that is sent next.
    fn park(&self, key: &str) {
        let mut parked = lock(&self.parked);
        if parked.contains_key(key) {
            return;
        }
        // They lose what they would have heard, and look again by themselves.
        let forgotten =
            if parked.len() >= MOST { std::mem::take(&mut *parked) } else { HashMap::new() };
        parked.insert(key.to_owned(), self.ears.waiters.wait(key));
        drop(parked);
        drop(forgotten);
    }

    async fn run<C: Command>(&self, command: &C) -> Result<Answer<C::Outcome>, Error> {
        self.run_within(command, self.budget).await
    }

    async fn run_within<C: Command>(
        &self,
        command: &C,
        within: Duration,
    ) -> Result<Answer<C::Outcome>, Error> {
        let answer = self.connection.run(Request::of(command), within).await?;
        C::answer(answer).ok_or_else(|| Failure::Garbage.into())
    }

    fn message(&self, kind: Kind, text: &str) -> Vec<u8> {
        Message { kind, sender: self.ears.sender, text }.bytes()
    }

    /// Tells the others that a key or a tag was changed.
    fn changed(&self, key: &str) -> Vec<u8> {
        let kind = if key.starts_with(TAGS) { Kind::Tag } else { Kind::Invalidated };
        self.message(kind, key)
    }

    fn server_millis(&self, at: Instant) -> Option<u64> {
        self.connection.reading().map(|reading| reading.server_millis(at))
    }

    fn read_stamp(&self) -> Cmd {
        Cmd::new().arg("HGET").arg(&self.service_key).arg("stamp").take()
    }

    /// The service's, and those of tags that are kept there.
    fn read_stamps(&self, tags: &[String]) -> Vec<Cmd> {
        let mut read = vec![self.read_stamp()];
        if !tags.is_empty() {
            read.push(stamps::mget(tags));
        }
        read
    }

    async fn current_stamps(
        &self,
        tags: &Tags,
        within: Duration,
    ) -> Result<(Option<u64>, ReadStamps), Error> {
        let sent = Instant::now();
        let mut all = Pipeline::new();
        let keys = tags.keys();
        for command in self.read_stamps(&keys) {
            all.add_command(command);
        }
        match self.connection.run(Request::Pipeline(all), within).await? {
            Value::Array(answers) => self.noted(&answers, keys.len(), sent),
            _ => Err(Failure::Garbage.into()),
        }
    }

    /// The stamps that were answered: the service's, and those of so many tags.
    fn noted(
        &self,
        answers: &[Value],
        tags: usize,
        sent: Instant,
    ) -> Result<(Option<u64>, ReadStamps), Error> {
        let service = self.noted_service(answers.first(), sent)?;
        let read = stamps::read(answers.get(1), tags)?;
        Ok((service, read.into_iter().map(Stamp::number).collect()))
    }

    fn noted_service(&self, answer: Option<&Value>, sent: Instant) -> Result<Option<u64>, Error> {
        let stamp = match answer {
            None => return Err(Failure::Garbage.into()),
            Some(Value::ServerError(error)) => return Err(Failure::of_server(error).into()),
            Some(answer) => number(answer),
        };
        self.connection.note(stamp, sent);
        Ok(stamp)
    }
}

/// The stamps that stand.
#[derive(Debug, Clone, Copy)]
struct Current<'a> {
    service: Option<u64>,
    /// `None` if one is lost or held: then no value is good.
    tags: Option<&'a [u64]>,
}

/// A lease that was granted, and whose caller does not know of it yet: given back if it never does.
struct Unclaimed<'a> {
    inner: &'a Arc<Inner>,
    key: &'a str,
    token: Token,
    is_claimed: bool,
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        if !self.is_claimed && Handle::try_current().is_ok() {
            give_back(Arc::clone(self.inner), self.key.to_owned(), self.token);
        }
    }
}

/// A lease that is not released expires.
fn give_back(inner: Arc<Inner>, key: String, token: Token) {
    tokio::spawn(async move {
        let _ = inner.release(&key, token).await;
    });
}

/// What a script of several answered, or the error that the server made of it.
fn answer_of<C: Command>(answer: Value) -> Result<Answer<C::Outcome>, Failure> {
    match answer {
        Value::ServerError(error) => Err(Failure::of_server(&error)),
        answer => C::answer(answer).ok_or(Failure::Garbage),
    }
}

/// Releases on the next connection, and on others until one takes it.
async fn pay(
    inner: Weak<Inner>,
    first: impl Future<Output = bool> + Send,
    key: String,
    token: Token,
) {
    let mut is_back = first.await;
    while let Some(inner) = inner.upgrade().filter(|_| is_back) {
        match inner.try_release(&key, token).await {
            Err(Error::Unavailable | Error::Timeout { .. }) => {}
            Ok(_) | Err(_) => return,
        }
        // Whatever was lost may not be known to be lost yet.
        sleep(RETRY).await;
        let back = inner.connection.back();
        drop(inner);
        is_back = back.await;
    }
}

/// The bytes of a key, none for a list of another program; `None` for no key.
fn bytes(answered: Result<Value, Failure>) -> Result<Option<Vec<u8>>, Failure> {
    match answered {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::BulkString(bytes)) => Ok(Some(bytes)),
        Err(Failure::Refused("WRONGTYPE")) => Ok(Some(Vec::new())),
        Ok(_) => Err(Failure::Garbage),
        Err(failure) => Err(failure),
    }
}

/// What the bytes of a key were when they were asked for, which was `now` by the server's clock:
/// whether or not a value among them is of the current stamp.
fn judge(bytes: Vec<u8>, now: Option<u64>) -> Judged {
    let seen = |bytes: &[u8]| Rejected(bytes.get(..scripts::SEEN).unwrap_or(bytes).to_vec());
    let (header, unpacked) = match blob::decode(&bytes, blob::MAX_DECOMPRESSED) {
        Decoded::Lease | Decoded::Hold => return Judged::Nothing,
        Decoded::Newer => return Judged::Newer,
        Decoded::Foreign => return Judged::Foreign(seen(&bytes)),
        Decoded::Value { header, payload: Cow::Borrowed(_) } => (header, None),
        Decoded::Value { header, payload: Cow::Owned(payload) } => (header, Some(payload)),
    };
    // While the server's time is not known, LEASE decides.
    let Some(now) = now else {
        return Judged::Nothing;
    };
    let payload = match unpacked {
        None => Payload::behind(header.len(), bytes),
        Some(payload) => Payload::unpacked(payload, seen(&bytes)),
    };
    let is_servable = now < header.servable_until;
    let left = |until: u64| {
        let left = if is_servable { until.saturating_sub(now) } else { 0 };
        Duration::from_millis(left)
    };
    Judged::Value(Judgement {
        stamps: header.stamps,
        stale: left(header.stale_until),
        found: Found {
            payload,
            codec: header.codec,
            negative: header.negative,
            fingerprint: header.fingerprint,
            age: Duration::from_millis(now.saturating_sub(header.created)),
            life: left(header.fresh_until),
        },
    })
}

/// What the bytes of a key are to a reader.
enum Judged {
    /// Also a lease or a hold.
    Nothing,
    Value(Judgement),
    Newer,
    Foreign(Rejected),
}

struct Judgement {
    stamps: Stamps,
    /// What is left of its life as a stale one.
    stale: Duration,
    /// With what is left of its life as a fresh one.
    found: Found,
}

impl Judgement {
    /// Whether these are its stamps: as many, and each the same.
    fn is_of(&self, current: Current<'_>) -> bool {
        match (current, &*self.stamps) {
            (Current { service: Some(service), tags: Some(tags) }, [first, others @ ..]) => {
                service == *first && tags == others
            }
            _ => false,
        }
    }
}

impl Judged {
    /// What a reader gets, by the stamps that stand.
    fn got(self, current: Current<'_>) -> Got {
        match self {
            Self::Value(value) if !value.is_of(current) => Got::Rejected(value.found.seen()),
            Self::Value(value) if value.found.life.is_zero() => Got::Nothing,
            Self::Value(value) => Got::Found(value.found),
            Self::Foreign(seen) => Got::Rejected(seen),
            Self::Nothing => Got::Nothing,
            Self::Newer => Got::Newer,
        }
    }
}

/// An answer to LEASE that nobody waits for any more.
fn come_late(inner: &Weak<Inner>, key: String, token: Token, answered: Result<Value, Failure>) {
    let granted = match answered.map(first) {
        Ok(Ok((leased, _))) => match scripts::Lease::answer(leased) {
            Some(answer) => matches!(answer.outcome, scripts::Leased::Granted(_)),
            None => true,
        },
        // It may have been granted.
        Ok(Err(_)) | Err(Failure::Lost | Failure::Garbage) => true,
        Err(_) => false,
    };
    let Some(inner) = inner.upgrade().filter(|_| granted) else {
        return;
    };
    inner.late_grants.fetch_add(1, Relaxed);
    give_back(inner, key, token);
}

/// The first of several answers, and the others.
fn first(answer: Value) -> Result<(Value, Vec<Value>), Failure> {
    let Value::Array(mut answers) = answer else {
        return Err(Failure::Garbage);
    };
    if answers.is_empty() {
        return Err(Failure::Garbage);
    }
    let others = answers.split_off(1);
    answers.pop().map(|first| (first, others)).ok_or(Failure::Garbage)
}

/// What is left of a time that began then.
fn left(within: Duration, since: Instant) -> Duration {
    within.saturating_sub(since.elapsed())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Meets a server: reads the service's stamp, makes one if there is none, and moves it if this
/// is not the server that was met last.
struct Greeter {
    service_key: String,
    on_restart: Policy,
}

impl Greet for Greeter {
    fn greet<'a>(&'a self, fresh: &'a Fresh) -> Greeting<'a> {
        Box::pin(async move {
            let met = self.met(fresh).await?;
            // A login that may not ask who the server is changes nothing for those who may.
            let server = match fresh.server() {
                "" => met.as_deref().unwrap_or_default(),
                server => server,
            };
            let command =
                scripts::Service { key: &self.service_key, server, policy: self.on_restart };
            match fresh.run(Request::of(&command)).await {
                Ok(answer) => scripts::Service::answer(answer).map(drop).ok_or(Failure::Garbage),
                // It takes no writes: it can be read if there is nothing to write.
                Err(failure @ Failure::Refused("READONLY" | "OOM")) => {
                    let is_known = met.as_deref() == Some(server);
                    if is_known { Ok(()) } else { Err(failure) }
                }
                Err(failure) => Err(failure),
            }
        })
    }
}

impl Greeter {
    /// The server that was met last.
    async fn met(&self, fresh: &Fresh) -> Result<Option<String>, Failure> {
        let read = Cmd::new().arg("HGET").arg(&self.service_key).arg("server").take();
        match fresh.run(Request::Command(read)).await {
            Ok(answer) => Ok(text(&answer).map(str::to_owned)),
            // The script makes it a hash again.
            Err(Failure::Refused("WRONGTYPE")) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

impl fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTier")
            .field("connection", &self.inner.connection)
            .field("late_grants", &self.late_grants())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod tests;
