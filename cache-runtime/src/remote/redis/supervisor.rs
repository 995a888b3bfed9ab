//! Keeps a connection: makes it, listens to its heart, and makes the next one.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU8,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use redis::{Pipeline, Value};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    connection::{Fresh, Reading, Shared, State},
    failure::Failure,
    race::{Either, race},
    subscriber,
    wire::{self, Driver, Request, Wire, number, send, text},
};
use crate::sync::{Mutex, lock};

/// The connection that commands are sent on.
pub(super) struct Live {
    pub(super) wire: Wire,
    pub(super) number: u64,
    reading: Mutex<Reading>,
    fault: AtomicU8,
    faulty: Notify,
}

/// Why a connection has to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It is a replica's by now: its place may have another server behind it.
    ReadOnly = 1,
    /// It is gone, or hangs.
    Broken = 2,
}

impl Live {
    pub(super) fn reading(&self) -> Reading {
        *lock(&self.reading)
    }

    /// A command that was sent at that moment has read the stamp.
    pub(super) fn note(&self, stamp: Option<u64>, sent: Instant) {
        lock(&self.reading).note(stamp, sent, Instant::now());
    }

    fn beat(&self, beat: Reading) {
        let mut reading = lock(&self.reading);
        reading.note(beat.stamp, beat.sent, beat.arrived);
        let Reading { stamp, sent, arrived, .. } = *reading;
        *reading = Reading { stamp, sent, arrived, ..beat };
    }

    /// As if no heart had beaten since.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        let mut reading = lock(&self.reading);
        reading.sent = reading.sent.checked_sub(by).unwrap();
        reading.arrived = reading.arrived.checked_sub(by).unwrap();
    }

    /// Tells the supervisor.
    pub(super) fn replace(&self, fault: Fault) {
        if self.fault.fetch_max(fault as u8, SeqCst) < fault as u8 {
            self.faulty.notify_one();
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault.load(SeqCst) == fault as u8
    }
}

/// The time of one supervisor. Dropped with its task, when the runtime ends.
pub(super) struct Turn {
    pub(super) number: u64,
    pub(super) shared: Arc<Shared>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let shared = &self.shared;
        if shared.running.load(SeqCst) != self.number {
            return;
        }
        // The next use starts another one, and waits for it.
        shared.state.send_if_modified(|state| {
            let is_open = !matches!(state, State::Closed);
            if is_open {
                *state = State::Idle;
            }
            is_open
        });
        shared.breaker.close(shared.breaker.number() + 1);
        let _ = shared.running.compare_exchange(self.number, 0, SeqCst, SeqCst);
    }
}

/// Runs until it is aborted.
pub(super) async fn supervise(turn: Turn) {
    let shared = &turn.shared;
    let subscribed = Box::pin(subscriber::keep_subscribed(shared));
    race(Box::pin(keep_connected(shared)), subscribed).await;
}

/// A connection that has lived for so long may be followed by the next one quickly.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

async fn keep_connected(shared: &Arc<Shared>) {
    let mut backoff = Backoff::default();
    // A connection that is in use while its successor is made.
    let mut old: Option<Driver> = None;
    loop {
        shared.expect(shared.patience());
        if let Ok(Ok((live, mut driver))) = timeout(shared.patience(), connect(shared)).await {
            let began = Instant::now();
            shared.has_connected(live.number);
            shared.state.send_replace(State::Up(Arc::clone(&live)));
            if let Some(old) = old.take() {
                old.detach();
            }
            match listen(shared, &live, &mut driver).await {
                Fault::Broken => {
                    shared.open(live.number);
                    shared.state.send_replace(State::Down);
                }
                Fault::ReadOnly => old = Some(driver),
            }
            if began.elapsed() > SETTLED {
                backoff.reset();
            }
        } else {
            shared.open(shared.breaker.number());
            shared.state.send_replace(State::Down);
            old = None;
        }
        let pause = backoff.next((shared.settings.random)());
        shared.expect(pause);
        sleep(pause).await;
    }
}

/// Makes a connection that has proven itself.
async fn connect(shared: &Arc<Shared>) -> Result<(Arc<Live>, Driver), Failure> {
    shared.counters.attempts.fetch_add(1, Relaxed);
    let (wire, driver) = wire::open(&shared.settings.address, None).await?;
    let fresh = Fresh { server: server(&wire).await?, wire };
    shared.greet.greet(&fresh).await?;
    shared.meet(&fresh.server);
    // One that is slower would cost each call its budget.
    let reading = timeout(shared.settings.budget, read(shared, &fresh.wire));
    let reading = reading.await.map_err(|_| Failure::Timeout(shared.settings.budget))??;
    let live = Live {
        wire: fresh.wire,
        number: shared.breaker.number() + 1,
        reading: Mutex::new(reading),
        fault: AtomicU8::new(0),
        faulty: Notify::new(),
    };
    Ok((Arc::new(live), driver))
}

/// Which server this is.
pub(super) async fn server(wire: &Wire) -> Result<String, Failure> {
    let mut ask = Pipeline::new();
    ask.cmd("INFO").arg("server").cmd("INFO").arg("replication");
    let Value::Array(answers) = send(wire.clone(), Request::Pipeline(ask)).await? else {
        return Err(Failure::Garbage);
    };
    let mut found = [None, None];
    for answer in &answers {
        match (answer, text(answer)) {
            (_, Some(info)) => {
                for line in info.lines() {
                    match line.split_once(':') {
                        Some(("run_id", id)) => found[0] = Some(id),
                        Some(("master_replid", id)) => found[1] = Some(id),
                        _ => {}
                    }
                }
            }
            (Value::ServerError(error), None) => match Failure::of_server(error) {
                Failure::Refused("NOPERM") => return Ok(String::new()),
                failure => return Err(failure),
            },
            _ => return Err(Failure::Garbage),
        }
    }
    match found {
        [Some(run), Some(replication)] => Ok(format!("{run}:{replication}")),
        _ => Ok(String::new()),
    }
}

/// Of two servers one of which is not known, nobody can tell.
fn is_same(one: &str, other: &str) -> bool {
    one.is_empty() || other.is_empty() || one == other
}

/// One heartbeat: the server's time and the service's stamp, in one round trip.
async fn read(shared: &Shared, wire: &Wire) -> Result<Reading, Failure> {
    let mut ask = Pipeline::new();
    ask.cmd("TIME").cmd("HGET").arg(&shared.settings.service_key).arg("stamp");
    let sent = Instant::now();
    let answer = send(wire.clone(), Request::Pipeline(ask)).await?;
    let arrived = Instant::now();
    let half = arrived.duration_since(sent) / 2;
    let Value::Array(answers) = answer else {
        return Err(Failure::Garbage);
    };
    let [Value::Array(time), stamp] = answers.as_slice() else {
        return Err(Failure::Garbage);
    };
    let [seconds, micros] = time.as_slice() else {
        return Err(Failure::Garbage);
    };
    let (Some(seconds), Some(micros)) = (number(seconds), number(micros)) else {
        return Err(Failure::Garbage);
    };
    let stamp = match stamp {
        Value::Nil => None,
        // Somebody else's key in the service's place.
        Value::ServerError(error) => return Err(Failure::of_server(error)),
        stamp => Some(number(stamp).ok_or(Failure::Garbage)?),
    };
    shared.counters.heartbeats.fetch_add(1, Relaxed);
    let server = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    Ok(Reading { stamp, sent, arrived, server, middle: sent + half, error: half })
}

/// Returns when the connection has to be replaced.
async fn listen(shared: &Arc<Shared>, live: &Live, driver: &mut Driver) -> Fault {
    let began = Instant::now();
    loop {
        shared.expect(shared.interval());
        if let Either::First(()) = race(broken(live, driver), sleep(shared.interval())).await {
            return Fault::Broken;
        }
        // Not more often than this: the server that is found next may be the same.
        if live.has(Fault::ReadOnly) && began.elapsed() > SETTLED {
            return Fault::ReadOnly;
        }
        shared.expect(shared.silence());
        let heartbeat = timeout(shared.silence(), beat(shared, live));
        match race(heartbeat, broken(live, driver)).await {
            Either::First(Ok(Ok(reading))) => live.beat(reading),
            _ => return Fault::Broken,
        }
    }
}

/// Returns when the connection is gone, or somebody has found it to be of no use.
async fn broken(live: &Live, driver: &mut Driver) {
    let told = async {
        while !live.has(Fault::Broken) {
            live.faulty.notified().await;
        }
    };
    race(driver.ended(), told).await;
}

async fn beat(shared: &Arc<Shared>, live: &Live) -> Result<Reading, Failure> {
    let reading = read(shared, &live.wire).await?;
    if reading.stamp.is_some() {
        return Ok(reading);
    }
    // The server was emptied.
    let fresh = Fresh { server: server(&live.wire).await?, wire: live.wire.clone() };
    shared.greet.greet(&fresh).await?;
    read(shared, &live.wire).await
}

impl Shared {
    /// Commands go to this server from now on. Another than before may have other data, and
    /// messages come from it alone.
    fn meet(&self, server: &str) {
        let met = std::mem::replace(&mut *lock(&self.met), server.to_owned());
        if !is_same(&met, server) {
            self.listener.broken();
        }
    }

    /// Whether commands go to this server, as far as anybody knows.
    pub(super) fn is_met(&self, server: &str) -> bool {
        is_same(&lock(&self.met), server)
    }

    /// Between two heartbeats.
    pub(super) fn interval(&self) -> Duration {
        (self.settings.max_staleness / 4).max(Duration::from_millis(1))
    }

    /// How long a heartbeat may go unanswered.
    pub(super) fn silence(&self) -> Duration {
        self.interval().saturating_mul(2).max(self.settings.budget)
    }

    /// How long it may take to make a connection. With the longest pause between two attempts
    /// it is less than a second until one is in use that a server answers.
    pub(super) fn patience(&self) -> Duration {
        self.settings.budget.saturating_mul(4).max(Duration::from_millis(450))
    }
}
