//! One process of the fleet on the tier of the tests, and a function whose runs are counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{Cache, CacheBuilder, Error, ManualClock, cached};
use tokio::{task::JoinHandle, time::sleep};

use super::{Process, Server, Verb};

/// How long a run takes, in virtual time.
pub(crate) const RUN: Duration = Duration::from_millis(100);

/// The lease of the caches here.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// For whatever needs no time to happen.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

/// What the runs of a function do, in their order, and how many there were.
#[derive(Debug, Default)]
pub(crate) struct Script {
    runs: AtomicU32,
    failing: u32,
    /// These take an hour.
    stuck: u32,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The first so many runs fail.
    pub(crate) fn failing(failing: u32) -> Arc<Self> {
        Arc::new(Self { failing, ..Self::default() })
    }

    /// The first so many runs take an hour.
    pub(crate) fn stuck(stuck: u32) -> Arc<Self> {
        Arc::new(Self { stuck, ..Self::default() })
    }

    /// A run: its number, or its number as an error.
    pub(crate) async fn play(&self) -> Result<u32, Failed> {
        let run = self.runs.fetch_add(1, SeqCst) + 1;
        sleep(if run <= self.stuck { Duration::from_secs(3600) } else { RUN }).await;
        if run <= self.failing { Err(Failed(run)) } else { Ok(run) }
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(SeqCst)
    }
}

/// An error that is not shared with those who wait.
#[derive(Debug, PartialEq)]
pub(crate) struct Failed(pub(crate) u32);

/// One process of the fleet.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) remote: Arc<Process>,
    pub(crate) clock: ManualClock,
}

impl Node {
    /// With bounds on time that a test does not reach.
    pub(crate) fn new(server: &Arc<Server>, name: &'static str) -> Self {
        let hour = Duration::from_secs(3_600);
        Self::with(server, name, |cache| cache.redis_budget(hour).max_staleness(hour))
    }

    pub(crate) fn with(
        server: &Arc<Server>,
        name: &'static str,
        settings: impl FnOnce(CacheBuilder) -> CacheBuilder,
    ) -> Self {
        let (remote, clock) = (server.connect(name), ManualClock::new());
        let builder = Cache::builder("test").clock(clock.clone()).lease(LEASE);
        let builder = settings(builder.remote(Arc::clone(&remote) as Arc<_>));
        Self { cache: builder.build().unwrap(), remote, clock }
    }

    /// A call on a task of its own.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        tokio::spawn(self.cache.scope(call))
    }

    /// `job` on a task of its own, which has got to where it waits.
    pub(crate) async fn started(&self, script: &Arc<Script>) -> JoinHandle<Result<u32, Failed>> {
        let script = Arc::clone(script);
        let call = self.spawn(async move { job(script, 1).await });
        sleep(MOMENT).await;
        call
    }

    pub(crate) async fn job(&self, script: &Arc<Script>) -> Result<u32, Failed> {
        self.cache.scope(async { job(Arc::clone(script), 1).await }).await
    }

    /// What a reader of this process sees without running anything.
    pub(crate) async fn peek(&self) -> Option<Result<u32, Failed>> {
        self.cache.scope(async { job(Script::new(), 1).peek().await }).await
    }

    /// What the memory of this process has.
    pub(crate) async fn kept(&self) -> Option<Result<u32, Failed>> {
        self.remote.fail(Verb::Get);
        let kept = self.peek().await;
        self.remote.answer(Verb::Get);
        kept
    }

    pub(crate) async fn invalidate(&self) -> Result<(), Error> {
        self.cache.scope(async { job(Script::new(), 1).invalidate().await }).await
    }

    pub(crate) fn refused(&self) -> u64 {
        self.cache.stats().functions.iter().map(|row| row.fills_refused).sum()
    }
}

/// A server and one process.
pub(crate) fn alone() -> (Arc<Server>, Node) {
    let server = Server::new();
    let node = Node::new(&server, "a");
    (server, node)
}

/// A server and two processes.
pub(crate) fn pair() -> (Arc<Server>, Node, Node) {
    let server = Server::new();
    let (a, b) = (Node::new(&server, "a"), Node::new(&server, "b"));
    (server, a, b)
}

pub(crate) const KEY: &str = "test:job:1";

#[cached(ttl = 60, key = "job:{id}", skip(script))]
pub(crate) async fn job(script: Arc<Script>, id: u64) -> Result<u32, Failed> {
    script.play().await
}
