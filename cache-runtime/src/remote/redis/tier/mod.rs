//! What a load asks of a remote tier, as commands to Redis.

mod greet;
mod hold;
mod judge;
mod lease;
#[cfg(feature = "limit")]
mod limit;
mod lock;
mod read;
mod store;

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::time::Instant;

use self::greet::Greeter;
use super::{
    connection::{Connection, Settings, after},
    ears::Ears,
    failure::Failure,
    scripts::{self, Answer, Command, Policy},
    stamps::{Grant, Kept},
    subscriber::{Kind, Message},
    url::Address,
    waiters::{Waiter, Waiters},
    wire::Request,
};
use crate::{
    blob::Compression,
    error::Error,
    remote::{
        Acquired, Answers, Ask, Claim, Fill, Got, Hold, Lease, Leased, Memory, ReadOf, ReadStamps,
        Reason, Remote, Reply, Settlement, TAGS, Tags, Token, Turns, Wish,
    },
    stats::RedisStats,
    sync::{Mutex, lock},
    watch::Times,
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
    parked: Mutex<HashMap<String, Parked>>,
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
    /// Counted by those who hold it: leases and locks that are to be released on another connection.
    owed: Arc<()>,
}

/// One that waits for a key, between two looks.
struct Parked {
    waiter: Waiter,
    since: Instant,
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
                service: settings.service.clone(),
                service_key: service_key.clone(),
                budget: settings.budget,
                max_staleness: settings.max_staleness,
                times: Times::of_redis(&settings.service),
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

    /// Leases and locks that were granted after their callers had gone, and given back.
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

    fn get_all(&self, reads: Vec<ReadOf>, within: Duration) -> Answers<'_, (Got, ReadStamps)> {
        Box::pin(self.inner.get_all(reads, within))
    }

    fn lease(&self, asks: Vec<Ask>, within: Duration) -> Answers<'_, (Leased, ReadStamps)> {
        Box::pin(self.inner.lease(asks, within))
    }

    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool> {
        Box::pin(async move {
            let command = scripts::Lease {
                key,
                token,
                term: self.inner.lease,
                not_after: None,
                ask: scripts::Ask::Renew,
                seen: &[],
            };
            let answer = self.inner.run(&command).await?;
            Ok(matches!(answer.outcome, scripts::Leased::Granted(_)))
        })
    }

    fn fill(&self, fills: Vec<(Lease, Fill)>, within: Duration) -> Answers<'_, bool> {
        Box::pin(self.inner.fill(fills, within))
    }

    fn release(&self, leases: Vec<Lease>, pause: Duration) -> Answers<'_, bool> {
        Box::pin(self.inner.release(leases, pause, Kind::Wake))
    }

    fn give_back(&self, leases: Vec<Lease>) -> Answers<'_, bool> {
        Box::pin(self.inner.release(leases, Duration::ZERO, Kind::Free))
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
            let (answers, _) = inner.run_all(&commands, Vec::new(), inner.budget).await;
            answers.into_iter().map(|answer| Ok(answer.map(drop)?)).collect()
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
            let mut waiter = match parked {
                Some(parked) => parked.waiter,
                None => inner.ears.waiters.wait(key),
            };
            let change = waiter.changed(inner.connection.broken()).await;
            // It goes on to hear, and to wait longer between two looks.
            let parked = Parked { waiter, since: Instant::now() };
            let old = lock(&inner.parked).insert(key.to_owned(), parked);
            drop(old);
            Ok(change)
        })
    }

    #[cfg(feature = "limit")]
    fn limit<'a>(&'a self, ask: crate::remote::Limiting<'a>) -> Reply<'a, crate::limit::Limited> {
        Box::pin(self.inner.limit(ask))
    }

    fn acquire<'a>(&'a self, claim: &'a Claim, wish: Wish) -> Reply<'a, Acquired> {
        Box::pin(self.inner.acquire(claim, wish))
    }

    fn unlock<'a>(&'a self, claim: &'a Claim) -> Reply<'a, bool> {
        Box::pin(self.inner.unlock(claim))
    }

    fn turns(&self, claim: &Claim) -> Box<dyn Turns> {
        self.inner.turns(claim)
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
            breaker_open: self.inner.connection.is_open(),
            backplane_age: self.inner.connection.backplane_age(),
            rejected: counts.capped,
            late_grants: self.inner.late_grants.load(Relaxed),
            pending_repairs: 0,
            unheld: 0,
        }
    }
}

impl Inner {
    /// The server's time by which a command has to be executed that was sent then.
    fn not_after(&self, sent: Instant, within: Duration) -> Option<u64> {
        let reading = self.connection.reading()?;
        // Later by as much as the server's clock may be ahead of what is known of it.
        Some(reading.server_millis(after(sent, within.saturating_add(reading.error))) + 1)
    }

    /// An outcome of each of these, which are one and the same script, and the answers to other
    /// commands behind them: none if they have not come.
    async fn run_all<C: Command>(
        &self,
        commands: &[C],
        behind: Vec<Cmd>,
        within: Duration,
    ) -> (Vec<Result<C::Outcome, Failure>>, Vec<Value>) {
        let Some(request) = Request::all(commands, behind) else {
            return (Vec::new(), Vec::new());
        };
        let answered = self.connection.run(request, within).await;
        match answered.and_then(|answer| several::<C>(answer, commands.len())) {
            Ok(Several { answers, behind }) => {
                (answers.into_iter().map(|answer| Ok(answer?.outcome)).collect(), behind)
            }
            Err(failure) => (commands.iter().map(|_| Err(failure)).collect(), Vec::new()),
        }
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
}

/// What several calls of one script were answered, and the commands behind them.
struct Several<C: Command> {
    answers: Vec<Result<Answer<C::Outcome>, Failure>>,
    behind: Vec<Value>,
}

/// The answer to so many calls.
fn several<C: Command>(answer: Value, count: usize) -> Result<Several<C>, Failure> {
    match answer {
        Value::Array(mut answers) if answers.len() >= count => {
            let behind = answers.split_off(count);
            Ok(Several { answers: answers.into_iter().map(answer_of::<C>).collect(), behind })
        }
        _ => Err(Failure::Garbage),
    }
}

/// What a script of several answered, or the error that the server made of it.
fn answer_of<C: Command>(answer: Value) -> Result<Answer<C::Outcome>, Failure> {
    match answer {
        Value::ServerError(error) => Err(Failure::of_server(&error)),
        answer => C::answer(answer).ok_or(Failure::Garbage),
    }
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

impl fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTier")
            .field("connection", &self.inner.connection)
            .field("late_grants", &self.late_grants())
            .finish_non_exhaustive()
    }
}
