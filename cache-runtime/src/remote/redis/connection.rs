//! The connection that all commands of a cache share, and what keeps it alive.
//!
//! It is made when it is first used, by a supervisor on a task of its own, which replaces it when
//! it breaks, hangs or fails its heartbeat, for ever and with a growing, random pause. While there
//! is none to be had the breaker is open and every command fails at once.
//!
//! The supervisor lives on the runtime of the first use. When that runtime is gone, or nobody
//! drives it any more, the next use starts another one.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use redis::Value;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    breaker::Breaker,
    failure::Failure,
    subscriber::Listener,
    supervisor::{self, Fault, Live, Turn},
    url::Address,
    wire::{Request, Wire, send},
};
use crate::{
    clock::nanos,
    sync::{Mutex, lock},
    watch::{Since, Times, events},
};

/// What a connection is made with.
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) service: String,
    /// The key of the service's stamp, and the channel of its messages.
    pub(crate) service_key: String,
    /// What a call spends on Redis at most. A connection that takes longer for its first
    /// heartbeat is not used.
    pub(crate) budget: Duration,
    /// The heart beats four times in it.
    pub(crate) max_staleness: Duration,
    /// Where it is recorded how long commands take.
    pub(crate) times: Times,
    /// Makes the pauses of different processes different.
    pub(crate) random: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// What has to happen on a new connection before it is used, and again when the server has lost
/// the service's key.
pub(crate) trait Greet: Send + Sync + 'static {
    /// A failure makes the connection one that cannot be used: another is tried.
    fn greet<'a>(&'a self, fresh: &'a Fresh) -> Greeting<'a>;
}

pub(crate) type Greeting<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// A connection that is not in use yet.
pub(crate) struct Fresh {
    pub(super) wire: Wire,
    pub(super) server: String,
}

impl Fresh {
    /// Which server this is: its run and its replication, `run_id:replid`. Empty if the login may
    /// not ask.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends, within what is left of the time for a new connection.
    pub(crate) async fn run(&self, request: Request) -> Result<Value, Failure> {
        send(self.wire.clone(), request).await
    }
}

/// What a heartbeat read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The service's stamp; `None` if the server has lost it.
    pub(crate) stamp: Option<u64>,
    /// When the heartbeat was sent: the stamp is not older than this.
    pub(crate) sent: Instant,
    /// When the answer was there.
    pub(super) arrived: Instant,
    /// The server's clock at the middle of the round trip.
    pub(super) server: Duration,
    pub(super) middle: Instant,
    /// How far off that can be: half the round trip, for the server read its clock at some moment
    /// of it. Drift and steps of the clocks until the next heartbeat come on top.
    pub(crate) error: Duration,
}

impl Reading {
    /// Takes what another command has read. One that was sent when this had arrived is newer. Of
    /// two that were under way together nobody knows the order, but a stamp only ever grows.
    pub(super) fn note(&mut self, stamp: Option<u64>, sent: Instant, arrived: Instant) {
        if sent > self.arrived {
            self.stamp = stamp;
        } else {
            self.stamp = self.stamp.zip(stamp).map(|(one, other)| one.max(other));
        }
        self.sent = self.sent.max(sent);
        self.arrived = self.arrived.max(arrived);
    }

    /// The server's time at a moment here, in milliseconds.
    pub(crate) fn server_millis(&self, at: Instant) -> u64 {
        let server = match at.checked_duration_since(self.middle) {
            Some(later) => self.server.saturating_add(later),
            None => self.server.saturating_sub(self.middle - at),
        };
        server.as_millis() as u64
    }
}

/// The connection of a cache. Copies are the same; when the last one is dropped it ends.
#[derive(Clone)]
pub(crate) struct Connection {
    handle: Arc<Connected>,
}

struct Connected {
    shared: Arc<Shared>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let supervisor = lock(&self.shared.supervisor).take();
        if let Some(supervisor) = supervisor {
            supervisor.abort();
        }
        self.shared.state.send_replace(State::Closed);
    }
}

/// What the connection and its supervisor both know.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) greet: Box<dyn Greet>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) state: watch::Sender<State>,
    pub(super) breaker: Breaker,
    pub(super) counters: Counters,
    /// Whether it was told that the breaker has opened, and not yet that it has closed.
    is_told_open: AtomicBool,
    supervisor: Mutex<Option<AbortHandle>>,
    /// The server that commands go to; empty if that is not known.
    pub(super) met: Mutex<String>,
    /// How many supervisors have been started, and the number of the one that runs; 0 for none.
    supervisors: AtomicU64,
    pub(super) running: AtomicU64,
    /// Nanoseconds from `began` by which the supervisor will have given a sign of life.
    expected: AtomicU64,
    /// Nanoseconds from `began` until which every message was heard, as far as is known; before the first
    /// time, until the first supervisor was started, and 0 before that.
    heard: AtomicU64,
    began: std::time::Instant,
}

/// Where a supervisor has got to.
#[derive(Clone)]
pub(super) enum State {
    /// There is none.
    Idle,
    /// Its first connection is being made.
    First,
    Up(Arc<Live>),
    /// It tries to get another connection.
    Down,
    /// Nobody needs one any more.
    Closed,
}

/// Commands under way at once, at most.
const CAP: usize = 2048;

impl Connection {
    /// Does nothing yet.
    pub(crate) fn new(settings: Settings, greet: impl Greet, listener: Arc<dyn Listener>) -> Self {
        let shared = Shared {
            settings,
            greet: Box::new(greet),
            listener,
            state: watch::Sender::new(State::Idle),
            breaker: Breaker::default(),
            counters: Counters::default(),
            is_told_open: AtomicBool::new(false),
            supervisor: Mutex::new(None),
            met: Mutex::default(),
            supervisors: AtomicU64::new(0),
            running: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            began: std::time::Instant::now(),
        };
        Self { handle: Arc::new(Connected { shared: Arc::new(shared) }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Sends a command and waits for the answer, `budget` at most, the wait for a connection
    /// included. Nobody learns of an answer that comes later.
    pub(crate) async fn run(&self, request: Request, budget: Duration) -> Result<Value, Failure> {
        let shared = self.shared();
        let _permit = Permit::take(shared)?;
        let deadline = after(Instant::now(), budget);
        let live = shared.live(budget, deadline).await?;
        shared.counters.sent.fetch_add(1, Relaxed);
        let since = Since::now();
        let answered = timeout_at(deadline, send(live.wire.clone(), request)).await;
        since.record(&shared.settings.times);
        match answered {
            Ok(answered) => shared.answered(&live, answered),
            Err(_) => Err(shared.timed_out(&live, budget)),
        }
    }

    /// For a caller that has the connection and sends by itself: as `run`, but for the way that the
    /// future of the client would have to go from one place to the next, which is long.
    pub(super) fn begin(&self) -> Result<Begun<'_>, Failure> {
        let permit = Permit::take(self.shared())?;
        self.shared().counters.sent.fetch_add(1, Relaxed);
        Ok(Begun { _permit: permit, since: Since::now() })
    }

    /// What came of a command that was begun: no answer if its budget has ended.
    pub(super) fn end(
        &self,
        begun: &Begun<'_>,
        live: &Live,
        budget: Duration,
        answered: Option<Result<Value, Failure>>,
    ) -> Result<Value, Failure> {
        begun.since.record(&self.shared().settings.times);
        match answered {
            Some(answered) => self.shared().answered(live, answered),
            None => Err(self.shared().timed_out(live, budget)),
        }
    }

    /// The connection, if one is in use.
    pub(super) fn up(&self) -> Option<Arc<Live>> {
        let shared = self.shared();
        match &*shared.state.borrow() {
            State::Up(live) if !shared.breaker.is_open() => Some(Arc::clone(live)),
            _ => None,
        }
    }

    /// As `run`; an answer that comes after the deadline, or after the caller is gone, goes to
    /// `on_late`. If the answer was lost with the connection, `on_late` is told as well, whether or
    /// not the caller was, when the next connection is in use: what may have taken effect can be
    /// undone on it.
    pub(crate) async fn run_or_late(
        &self,
        request: Request,
        budget: Duration,
        on_late: impl FnOnce(Result<Value, Failure>) + Send + 'static,
    ) -> Result<Value, Failure> {
        let shared = self.shared();
        let permit = Permit::take(shared)?;
        let deadline = after(Instant::now(), budget);
        let live = shared.live(budget, deadline).await?;
        shared.counters.sent.fetch_add(1, Relaxed);
        let sending: Sending = Box::pin(send(live.wire.clone(), request));
        let mut sent = Sent {
            late: Some(Late {
                sending,
                tell: on_late,
                number: live.number,
                shared: Arc::clone(shared),
            }),
        };
        // From here on it is `sent` that gives it back.
        std::mem::forget(permit);
        let since = Since::now();
        let answered = timeout_at(deadline, sent.sending()).await;
        since.record(&shared.settings.times);
        match answered {
            // It may have taken effect: whoever is told on the next connection can undo it.
            Ok(Err(failure)) if failure.is_broken() => {
                sent.lost(failure);
                shared.answered(&live, Err(failure))
            }
            Ok(answered) => {
                sent.done();
                shared.answered(&live, answered)
            }
            Err(_) => Err(shared.timed_out(&live, budget)),
        }
    }

    /// What the last heartbeat read; `None` without a connection.
    pub(crate) fn reading(&self) -> Option<Reading> {
        match &*self.shared().state.borrow() {
            State::Up(live) => Some(live.reading()),
            _ => None,
        }
    }

    /// A command that was sent at that moment has read the stamp, or moved it.
    pub(crate) fn note(&self, stamp: Option<u64>, sent: Instant) {
        if let State::Up(live) = &*self.shared().state.borrow() {
            live.note(stamp, sent);
        }
    }

    /// As if no heart had beaten for so long.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        if let State::Up(live) = &*self.shared().state.borrow() {
            live.age(by);
        }
    }

    /// Whether a command has a chance: false while the breaker is open. Says so of a connection
    /// that was never used.
    pub(crate) fn is_usable(&self) -> bool {
        if self.shared().breaker.is_open() {
            // So that a supervisor whose runtime has stopped is replaced even if nobody tries.
            self.shared().supervise();
        }
        !self.shared().breaker.is_open()
    }

    /// Whether the breaker is.
    pub(crate) fn is_open(&self) -> bool {
        self.shared().breaker.is_open()
    }

    /// How long it is that every message was known to be heard; `None` before anybody has listened.
    pub(crate) fn backplane_age(&self) -> Option<Duration> {
        let shared = self.shared();
        let heard = Duration::from_nanos(shared.heard.load(SeqCst));
        (!heard.is_zero()).then(|| shared.began.elapsed().saturating_sub(heard))
    }

    /// Sees to it that there is a supervisor, which subscribes.
    pub(crate) fn attend(&self) {
        self.shared().supervise();
    }

    /// Returns when there is no connection to be had: at once, or when the breaker opens.
    pub(crate) async fn broken(&self) {
        let mut state = self.shared().state.subscribe();
        // The sender lives as long as this.
        let _ = state.wait_for(|state| matches!(state, State::Down | State::Closed)).await;
    }

    /// Returns when a connection is in use, with false if there will be none any more. Does not
    /// keep the connection.
    pub(crate) fn back(&self) -> impl Future<Output = bool> + Send + use<> {
        let mut state = self.shared().state.subscribe();
        async move {
            let settled = state.wait_for(|state| matches!(state, State::Up(_) | State::Closed));
            matches!(settled.await.as_deref(), Ok(State::Up(_)))
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared().counters.read()
    }
}

/// A moment that is later by so much; by a century if that is beyond what a clock can say.
pub(super) fn after(moment: Instant, by: Duration) -> Instant {
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    moment.checked_add(by.min(century)).unwrap_or(moment)
}

impl Shared {
    /// The connection in use, or the one that is being made.
    async fn live(
        self: &Arc<Self>,
        budget: Duration,
        deadline: Instant,
    ) -> Result<Arc<Live>, Failure> {
        if self.breaker.is_open() {
            self.supervise();
            return Err(Failure::Unavailable);
        }
        if let State::Up(live) = &*self.state.borrow() {
            return Ok(Arc::clone(live));
        }
        Box::pin(self.wait(budget, deadline)).await
    }

    async fn wait(
        self: &Arc<Self>,
        budget: Duration,
        deadline: Instant,
    ) -> Result<Arc<Live>, Failure> {
        if !self.supervise() {
            return Err(Failure::Unavailable);
        }
        let number = self.breaker.number();
        let mut state = self.state.subscribe();
        let settled =
            state.wait_for(|state| matches!(state, State::Up(_) | State::Down | State::Closed));
        match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(live) => Ok(Arc::clone(live)),
                _ => Err(Failure::Unavailable),
            },
            Ok(Err(_)) => Err(Failure::Unavailable),
            Err(_) => {
                self.counters.timeouts.fetch_add(1, Relaxed);
                if self.breaker.failed(number) {
                    self.has_opened();
                }
                Err(Failure::Timeout(budget))
            }
        }
    }

    fn answered(&self, live: &Live, answered: Result<Value, Failure>) -> Result<Value, Failure> {
        match &answered {
            Err(failure) if failure.is_broken() => {
                self.open(live.number);
                live.replace(Fault::Broken);
            }
            // A refusal is an answer.
            answered => {
                self.breaker.succeeded(live.number);
                if answered.as_ref().is_err_and(|failure| failure.is_read_only()) {
                    live.replace(Fault::ReadOnly);
                }
            }
        }
        answered
    }

    fn timed_out(&self, live: &Live, budget: Duration) -> Failure {
        self.counters.timeouts.fetch_add(1, Relaxed);
        if self.breaker.failed(live.number) {
            self.has_opened();
            live.replace(Fault::Broken);
        }
        Failure::Timeout(budget)
    }

    pub(super) fn open(&self, number: u64) {
        if self.breaker.open(number) {
            self.has_opened();
        }
    }

    fn has_opened(&self) {
        let openings = self.counters.openings.fetch_add(1, Relaxed) + 1;
        self.is_told_open.store(true, SeqCst);
        events::breaker_opened(&self.settings.service, openings);
    }

    /// A connection has proven itself, and is used from now on.
    pub(super) fn has_connected(&self, number: u64) {
        self.breaker.close(number);
        let connections = self.counters.connects.fetch_add(1, Relaxed) + 1;
        events::connected(&self.settings.service, connections);
        if self.is_told_open.swap(false, SeqCst) {
            events::breaker_closed(&self.settings.service);
        }
    }

    /// Starts a supervisor if there is none that is alive. False without a runtime to start it on.
    fn supervise(self: &Arc<Self>) -> bool {
        let mut supervisor = lock(&self.supervisor);
        let overdue = nanos(self.began.elapsed()) > self.expected.load(SeqCst);
        if self.running.load(SeqCst) != 0 && !overdue {
            return true;
        }
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let number = self.supervisors.fetch_add(1, SeqCst) + 1;
        self.running.store(number, SeqCst);
        if number == 1 {
            self.heard_until(self.age());
        }
        self.expect(Duration::ZERO);
        self.state.send_replace(State::First);
        self.breaker.close(self.breaker.number() + 1);
        let turn = Turn { number, shared: Arc::clone(self) };
        let task = runtime.spawn(supervisor::supervise(turn)).abort_handle();
        let old = supervisor.replace(task);
        drop(supervisor);
        if let Some(old) = old {
            // Nobody drives the runtime that it is on, or there is none any more.
            old.abort();
        }
        true
    }

    /// How long ago it began. Never zero.
    pub(super) fn age(&self) -> u64 {
        nanos(self.began.elapsed()).max(1)
    }

    /// Every message was heard that was sent when it had that age.
    pub(super) fn heard_until(&self, age: u64) {
        self.heard.fetch_max(age, SeqCst);
    }

    /// The supervisor will do nothing for so long; if it is silent for much longer it is gone.
    pub(super) fn expect(&self, pause: Duration) {
        let by = self.began.elapsed().saturating_add(pause).saturating_add(Duration::from_secs(1));
        self.expected.store(nanos(by), SeqCst);
    }
}

/// A command that its caller sends by itself.
pub(super) struct Begun<'a> {
    _permit: Permit<'a>,
    since: Since,
}

/// One of the commands that may be under way.
struct Permit<'a>(&'a Shared);

impl<'a> Permit<'a> {
    fn take(shared: &'a Shared) -> Result<Self, Failure> {
        let permit = Self(shared);
        if shared.counters.in_flight.fetch_add(1, Relaxed) < CAP {
            return Ok(permit);
        }
        shared.counters.capped.fetch_add(1, Relaxed);
        Err(Failure::Unavailable)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.counters.in_flight.fetch_sub(1, Relaxed);
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>;

/// A command under way. Dropped without an answer, it goes on on a task of its own.
struct Sent<F: FnOnce(Result<Value, Failure>) + Send + 'static> {
    late: Option<Late<F>>,
}

struct Late<F> {
    sending: Sending,
    tell: F,
    /// Of the connection that it was sent on.
    number: u64,
    shared: Arc<Shared>,
}

impl<F: FnOnce(Result<Value, Failure>) + Send + 'static> Sent<F> {
    async fn sending(&mut self) -> Result<Value, Failure> {
        match &mut self.late {
            Some(late) => late.sending.as_mut().await,
            None => Err(Failure::Lost),
        }
    }

    fn lost(mut self, failure: Failure) {
        if let Some(late) = &mut self.late {
            late.sending = Box::pin(ready(Err(failure)));
        }
    }

    fn done(mut self) {
        if let Some(late) = self.late.take() {
            drop(Permit(&late.shared));
        }
    }
}

impl<F: FnOnce(Result<Value, Failure>) + Send + 'static> Drop for Sent<F> {
    fn drop(&mut self) {
        let Some(late) = self.late.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(late.finish());
            }
            // Its connection has gone with the runtime.
            Err(_) => drop(Permit(&late.shared)),
        }
    }
}

impl<F: FnOnce(Result<Value, Failure>)> Late<F> {
    async fn finish(self) {
        let Self { sending, tell, number, shared } = self;
        let _permit = Permit(&shared);
        let answered = sending.await;
        if answered.as_ref().is_err_and(|failure| failure.is_broken()) {
            let mut state = shared.state.subscribe();
            let next = |state: &State| match state {
                State::Up(live) => live.number > number,
                State::Closed => true,
                _ => false,
            };
            if !matches!(state.wait_for(next).await.as_deref(), Ok(State::Up(_))) {
                return;
            }
        }
        shared.counters.late.fetch_add(1, Relaxed);
        tell(answered);
    }
}

/// What has happened, for tests and for those who watch.
///
/// On cache lines of their own: each command writes to them, and reads what is beside them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    in_flight: AtomicUsize,
    pub(super) sent: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) openings: AtomicU64,
    pub(super) capped: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) heartbeats: AtomicU64,
    pub(super) subscriptions: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Commands that were sent.
    pub(crate) sent: u64,
    /// Commands whose budget ended, the wait for a connection included.
    pub(crate) timeouts: u64,
    /// Attempts to connect.
    pub(crate) attempts: u64,
    /// Connections that were in use.
    pub(crate) connects: u64,
    /// How often the breaker opened.
    pub(crate) openings: u64,
    /// Commands that failed because too many were under way.
    pub(crate) capped: u64,
    /// Answers that came after their callers had gone.
    pub(crate) late: u64,
    /// Heartbeats that were answered.
    pub(crate) heartbeats: u64,
    /// Subscriptions that were confirmed.
    pub(crate) subscriptions: u64,
}

impl Counters {
    fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            sent: read(&self.sent),
            timeouts: read(&self.timeouts),
            attempts: read(&self.attempts),
            connects: read(&self.connects),
            openings: read(&self.openings),
            capped: read(&self.capped),
            late: read(&self.late),
            heartbeats: read(&self.heartbeats),
            subscriptions: read(&self.subscriptions),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.shared().settings.address)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
