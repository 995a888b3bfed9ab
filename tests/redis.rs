//! Calls over a real Redis that fails in every way that it can: they return what the function does,
//! and Redis is used again when it is back.

#![cfg(feature = "redis")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{
    client::Client,
    member::{self, Member, say},
    proxy::{Mode, Proxy},
    redis::RedisServer,
};
use larder::{Cache, CacheBuilder, OnRestart, Source, cached};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// What the processes of a test cache.
type Database = Arc<AtomicU64>;

/// One process of the fleet.
struct Node {
    cache: Cache,
    database: Database,
    runs: AtomicU32,
    /// At this moment, and at most at once.
    running: (AtomicU32, AtomicU32),
}

impl Node {
    fn new(url: &str, database: &Database) -> Arc<Self> {
        Self::with(Cache::builder("test").redis(url), database)
    }

    /// One whose budget no busy machine uses up.
    fn patient(url: &str, database: &Database) -> Arc<Self> {
        Self::with(patient(url), database)
    }

    fn with(builder: CacheBuilder, database: &Database) -> Arc<Self> {
        Arc::new(Self {
            cache: builder.build().unwrap(),
            database: Arc::clone(database),
            runs: AtomicU32::new(0),
            running: Default::default(),
        })
    }

    #[cached(ttl = 600, key = "item:{id}", local = false, cache = self.cache, skip(self))]
    async fn item(&self, id: u64) -> u64 {
        self.run().await
    }

    #[cached(ttl = 600, key = "kept:{id}", cache = self.cache, skip(self))]
    async fn kept(&self, id: u64) -> u64 {
        self.run().await
    }

    #[cached(ttl = 600, key = "tagged:{id}", tags("all"), local = false, cache = self.cache, skip(self))]
    async fn tagged(&self, id: u64) -> u64 {
        self.run().await
    }

    async fn run(&self) -> u64 {
        self.runs.fetch_add(1, SeqCst);
        let running = self.running.0.fetch_add(1, SeqCst) + 1;
        self.running.1.fetch_max(running, SeqCst);
        let value = self.database.load(SeqCst);
        sleep(Duration::from_millis(2)).await;
        self.running.0.fetch_sub(1, SeqCst);
        value
    }

    fn runs(&self) -> u32 {
        self.runs.load(SeqCst)
    }

    /// So many calls one after another, of other keys than before, return what the function does.
    async fn answers(&self, calls: u32) {
        let runs = self.runs();
        for call in 0..calls {
            let id = u64::from(1_000_000 + runs + call);
            assert_eq!(in_time(self.item(id)).await, self.database.load(SeqCst));
        }
        assert_eq!(self.runs(), runs + calls);
    }

    /// 64 callers of one key return what the function does, and it runs once at a time.
    async fn answers_many(self: &Arc<Self>) {
        let runs = self.runs();
        let id = u64::from(3_000_000 + runs);
        let mut calls = JoinSet::new();
        for _ in 0..64 {
            let node = Arc::clone(self);
            calls.spawn(async move {
                for _ in 0..3 {
                    assert_eq!(node.item(id).await, node.database.load(SeqCst));
                }
            });
        }
        in_time(calls.join_all()).await;
        assert!(self.runs() > runs);
        assert_eq!(self.running.1.load(SeqCst), 1, "two runs of one key at once");
    }

    /// Redis is used within a second: what another process has stored is read without a run.
    async fn is_back(&self, server: &RedisServer) {
        let other = Self::patient(&server.url(), &self.database);
        let mut id = u64::from(2_000_000 + self.runs());
        eventually("Redis is used", async || {
            id += 1;
            other.item(id).await;
            matches!(self.item(id).with_source().await, (_, Source::Redis { .. }))
        })
        .await;
    }

    fn timeouts(&self) -> u64 {
        self.cache.stats().redis.timeouts
    }
}

fn patient(url: &str) -> CacheBuilder {
    Cache::builder("test").redis(url).redis_budget(Duration::from_secs(10))
}

/// A hang fails the test.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap()
}

/// What takes a second at most; twice that, for the machine may be busy.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..80 {
        if in_time(is_so()).await {
            return;
        }
        sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

fn database() -> Database {
    Arc::new(AtomicU64::new(1))
}

// Faults.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_absent_at_the_start_costs_nobody_a_wait() {
    let mut server = RedisServer::start();
    server.kill();
    let node = Node::new(&server.url(), &database());
    node.answers(20).await;
    node.answers_many().await;
    assert_eq!(node.timeouts(), 0);
    server.restart();
    node.is_back(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_costs_nobody_a_wait() {
    let mut server = RedisServer::start();
    let node = Node::new(&server.url(), &database());
    node.is_back(&server).await;
    let timeouts = node.timeouts();
    for _ in 0..3 {
        server.kill();
        node.answers(20).await;
        node.answers_many().await;
        assert_eq!(node.timeouts(), timeouts);
        server.restart();
        node.is_back(&server).await;
    }
}

/// The budget of calls that tell by their time whether they lost it.
const BUDGET: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_one_after_another_three_wait_for_a_redis_that_hangs() {
    let server = RedisServer::start();
    let builder = Cache::builder("test").redis(server.url()).redis_budget(BUDGET);
    let node = Node::with(builder, &database());
    node.is_back(&server).await;
    let timeouts = node.timeouts();
    server.hang();
    let mut waited = 0;
    for call in 0..20 {
        let began = Instant::now();
        node.answers(1).await;
        let has_waited = began.elapsed() >= BUDGET;
        assert!(!has_waited || call < 3, "call {call} waited");
        waited += u32::from(has_waited);
    }
    assert!((1..=3).contains(&waited), "{waited} of 20 waited");
    assert!(node.timeouts() - timeouts <= 3);
    node.answers_many().await;
    server.resume();
    node.is_back(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_at_once_each_waits_one_budget_for_a_redis_that_hangs() {
    let server = RedisServer::start();
    let builder = Cache::builder("test").redis(server.url()).redis_budget(BUDGET);
    let node = Node::with(builder, &database());
    node.is_back(&server).await;
    server.hang();
    let before = node.cache.stats().redis;
    let mut calls = JoinSet::new();
    for id in 0..64 {
        let node = Arc::clone(&node);
        calls.spawn(async move { node.item(id).await });
    }
    in_time(calls.join_all()).await;
    node.answers(20).await;
    let after = node.cache.stats().redis;
    // Who began before the breaker opened has sent one command, and lost it; nobody else did.
    assert!((1..=64).contains(&(after.commands - before.commands)), "{after:?}");
    assert!((1..=64).contains(&(after.timeouts - before.timeouts)), "{after:?}");
    server.resume();
    node.is_back(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_costs_no_call_its_value() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let node = Node::new(&proxy.url(), &database());
    for delay in [20, 60, 250] {
        proxy.set(Mode::Delay(Duration::from_millis(delay)));
        node.answers(20).await;
        node.answers_many().await;
        proxy.set(Mode::Pass);
        node.is_back(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_the_login_costs_nobody_a_wait() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let url = server.url();
    let mut admin = Client::connect(&url).await;
    admin.command(&["AUTH", "right"]).await;
    for login in ["", ":wrong@", "nobody:wrong@"] {
        let node = Node::new(&url.replace("://", &format!("://{login}")), &database());
        node.answers(20).await;
        node.answers_many().await;
        assert_eq!(node.timeouts(), 0);
        assert!(node.item(1).invalidate().await.is_err());
    }
    let node = Node::new(&url, &database());
    node.answers(20).await;
    admin.command(&["CONFIG", "SET", "requirepass", ""]).await;
    node.is_back(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_is_read_and_invalidated_and_costs_no_call_its_value() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let database = database();
    let node = Node::patient(&server.url(), &database);
    for id in [1, 2] {
        assert_eq!(node.item(id).await, 1);
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    database.store(2, SeqCst);
    assert!(matches!(node.item(1).with_source().await, (1, Source::Redis { .. })));
    node.item(2).invalidate().await.unwrap();
    assert_eq!(node.item(2).await, 2);
    node.answers(20).await;
    node.answers_many().await;
    // One that meets it like this.
    let late = Node::patient(&server.url(), &database);
    late.answers(20).await;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    node.is_back(&server).await;
    late.is_back(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_takes_no_writes_costs_no_call_its_value() {
    let server = RedisServer::start();
    let database = database();
    let node = Node::patient(&server.url(), &database);
    assert_eq!(node.item(1).await, 1);
    let nowhere = common::redis::free_port().to_string();
    server.command(&["REPLICAOF", "127.0.0.1", &nowhere]);
    database.store(2, SeqCst);
    node.answers(20).await;
    node.answers_many().await;
    assert!(node.item(1).invalidate().await.is_err());
    assert_eq!(node.item(1).await, 2);
    let late = Node::patient(&server.url(), &database);
    late.answers(20).await;
    server.command(&["REPLICAOF", "NO", "ONE"]);
    node.is_back(&server).await;
    late.is_back(&server).await;
    eventually("the invalidation has landed", async || {
        node.cache.stats().redis.pending_repairs == 0
    })
    .await;
    assert_eq!(late.item(1).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_to_read_the_stamps_of_tags_costs_no_call_its_value() {
    let server = RedisServer::start();
    let database = database();
    let other = Node::patient(&server.url(), &database);
    assert_eq!(other.tagged(1).await, 1);
    let rights = ["~*", "&*", "+@all", "-mget"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = Node::patient(&server.url().replace("://", "://joe:pass@"), &database);
    joe.is_back(&server).await;
    let runs = joe.runs();
    for id in [1, 2, 2] {
        assert_eq!(in_time(joe.tagged(id)).await, 1);
    }
    assert_eq!(joe.runs() - runs, 3, "nobody can tell what of it is still good");
    eventually("its lease is given back", async || {
        server.command(&["EXISTS", "test:tagged:2"]) == "0"
    })
    .await;
    // What it changes is changed all the same.
    database.store(2, SeqCst);
    joe.cache.invalidate_tag("all").await.unwrap();
    assert_eq!(in_time(joe.tagged(1)).await, 2);
    eventually("another process has heard of it", async || other.tagged(1).await == 2).await;
    server.command(&["ACL", "SETUSER", "joe", "+mget"]);
    assert!(matches!(joe.tagged(1).with_source().await, (2, Source::Redis { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bump_that_redis_refuses_is_seen_by_its_own_process_and_lands_when_it_may() {
    let server = RedisServer::start();
    let database = database();
    let other = Node::patient(&server.url(), &database);
    let rights = ["~*", "&*", "+@all", "-unlink"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = Node::patient(&server.url().replace("://", "://joe:pass@"), &database);
    joe.is_back(&server).await;
    assert_eq!(other.tagged(1).await, 1);
    assert!(matches!(joe.tagged(1).with_source().await, (1, Source::Redis { .. })));
    database.store(2, SeqCst);
    assert!(joe.cache.invalidate_tag("all").await.is_err());
    for _ in 0..3 {
        // Redis has it from before, and would say so.
        assert_eq!(in_time(joe.tagged(1)).await, 2);
        assert!(matches!(other.tagged(1).with_source().await, (1, Source::Redis { .. })));
    }
    server.command(&["ACL", "SETUSER", "joe", "+unlink"]);
    in_time(joe.cache.shutdown()).await.unwrap();
    eventually("another process has heard of it", async || other.tagged(1).await == 2).await;
    assert!(matches!(joe.tagged(1).with_source().await, (2, Source::Redis { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_put_is_found_by_others_and_goes_with_its_tag() {
    let server = RedisServer::start();
    let database = database();
    let [one, other] = [(); 2].map(|()| Node::patient(&server.url(), &database));
    one.is_back(&server).await;
    other.is_back(&server).await;
    for _ in 0..2 {
        one.tagged(1).put(7).await.unwrap();
        for node in [&one, &other] {
            assert!(matches!(node.tagged(1).with_source().await, (7, Source::Redis { .. })));
        }
        one.cache.invalidate_tag("all").await.unwrap();
        assert_eq!(one.tagged(1).await, 1);
        eventually("another process has heard of it", async || other.tagged(1).await == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_answers_garbage_costs_no_call_its_value() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let database = database();
    proxy.set(Mode::Garbage);
    let late = Node::new(&proxy.url(), &database);
    late.answers(20).await;
    proxy.set(Mode::Pass);
    late.is_back(&server).await;
    let node = Node::new(&proxy.url(), &database);
    node.is_back(&server).await;
    proxy.set(Mode::Garbage);
    for node in [node, late] {
        node.answers(20).await;
        node.answers_many().await;
        assert!(node.item(1).invalidate().await.is_err());
        proxy.set(Mode::Pass);
        node.is_back(&server).await;
        proxy.set(Mode::Garbage);
    }
}

/// A server that comes back with what it had before an invalidation, and the processes that met
/// it before and after.
async fn reads_after_old_data(on_restart: OnRestart) -> Vec<u64> {
    let mut server = RedisServer::start();
    let database = database();
    let node = || Node::with(patient(&server.url()).on_restart(on_restart), &database);
    let early = node();
    assert_eq!(early.item(1).await, 1);
    server.command(&["SAVE"]);
    database.store(2, SeqCst);
    early.item(1).invalidate().await.unwrap();
    let late = node();
    server.restart();
    let mut reads = Vec::new();
    for node in [late, early] {
        for _ in 0..50 {
            reads.push(in_time(node.item(1)).await);
            sleep(Duration::from_millis(5)).await;
        }
    }
    reads
}

// Trace 23.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_old_data_serves_nothing_of_it() {
    assert_eq!(reads_after_old_data(OnRestart::Clear).await, [2; 100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_old_data_serves_it_where_it_is_trusted() {
    let reads = reads_after_old_data(OnRestart::Trust).await;
    assert_eq!(reads[..50], [1; 50]);
    assert_eq!(reads.last(), Some(&1));
}

// Repairs.

/// A process that can be cut off, another one, and what they read: the first has read 1, in Redis
/// and in memory, and by now it is 2.
struct CutOff {
    server: RedisServer,
    proxy: Proxy,
    database: Database,
    node: Arc<Node>,
}

impl CutOff {
    async fn new(mode: Mode) -> Self {
        let (server, database) = (RedisServer::start(), database());
        let proxy = Proxy::before(server.port());
        let node = Node::new(&proxy.url(), &database);
        eventually("both values are in Redis", async || {
            node.item(1).await;
            node.kept(1).await;
            let other = Node::patient(&server.url(), &database);
            other.item(1).peek().await == Some(1) && other.kept(1).peek().await == Some(1)
        })
        .await;
        database.store(2, SeqCst);
        proxy.set(mode);
        Self { server, proxy, database, node }
    }

    /// Reads the old values no more, without Redis and with it; then neither does anybody else.
    async fn is_repaired(&self, repairs: u64) {
        let Self { server, proxy, database, node } = self;
        assert_eq!(node.cache.stats().redis.pending_repairs, repairs);
        for _ in 0..5 {
            assert_eq!(in_time(node.item(1)).await, 2);
            assert_eq!(in_time(node.kept(1)).await, 2);
        }
        let other = Node::patient(&server.url(), database);
        assert_eq!(other.item(1).peek().await, Some(1), "nothing has landed yet");
        proxy.set(Mode::Pass);
        eventually("the repairs have landed", async || {
            assert_eq!(node.item(1).await, 2);
            assert_eq!(node.kept(1).await, 2);
            other.item(1).peek().await != Some(1) && other.kept(1).peek().await != Some(1)
        })
        .await;
        assert_eq!((other.item(1).await, other.kept(1).await), (2, 2));
        eventually("nothing is left to be repaired", async || {
            node.cache.stats().redis.pending_repairs == 0
        })
        .await;
        node.is_back(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_without_redis_lands_when_it_is_back() {
    for mode in [Mode::Cut, Mode::BlackHole, Mode::Garbage] {
        let test = CutOff::new(mode).await;
        let node = &test.node;
        assert!(in_time(node.item(1).invalidate()).await.is_err());
        assert!(in_time(node.kept(1).invalidate()).await.is_err());
        test.is_repaired(2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_that_is_dropped_lands() {
    let test = CutOff::new(Mode::BlackHole).await;
    let node = &test.node;
    for _ in 0..2 {
        let (item, kept) = (node.item(1).invalidate(), node.kept(1).invalidate());
        let mut both = Box::pin(async { tokio::join!(item, kept) });
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(both.as_mut().poll(cx)));
        assert!(polled.await.is_pending());
        drop(both);
    }
    test.is_repaired(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_without_redis_lands_when_it_is_back() {
    for mode in [Mode::Cut, Mode::BlackHole] {
        let test = CutOff::new(mode).await;
        assert!(in_time(test.node.cache.clear()).await.is_err());
        test.is_repaired(1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_the_repairs() {
    let test = CutOff::new(Mode::Cut).await;
    let node = &test.node;
    assert!(node.item(1).invalidate().await.is_err());
    let cache = node.cache.clone();
    let shutdown = tokio::spawn(async move { cache.shutdown().await });
    node.answers(5).await;
    assert!(!shutdown.is_finished());
    test.proxy.set(Mode::Pass);
    in_time(shutdown).await.unwrap().unwrap();
    let other = Node::patient(&test.server.url(), &test.database);
    assert_eq!(other.item(1).peek().await, None);
}

// Where it is.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_and_a_number_of_a_database_say_where_redis_is() {
    let (server, database) = (RedisServer::start_on_socket(), database());
    let node = |query: &str| Node::patient(&format!("{}{query}", server.url()), &database);
    assert_eq!(node("").item(1).await, 1);
    assert_eq!(node("?db=0").item(1).peek().await, Some(1));
    assert_eq!(node("?db=1").item(1).peek().await, None);
    assert_eq!(node("?db=1").item(2).await, 1);
    assert_eq!(node("").item(2).peek().await, None);
}

// What stands in a key.

/// Commands that put something else into the key.
fn foreign(key: &str) -> Vec<(&'static str, Vec<&str>)> {
    let truncate = "local v = redis.call('GET', KEYS[1]); redis.call('SET', KEYS[1], v:sub(1, #v - 1 - ARGV[1]))";
    vec![
        ("JSON", vec!["SET", key, r#"{"id":1,"name":"Ada"}"#]),
        ("nothing", vec!["SET", key, ""]),
        ("a number", vec!["SET", key, "7"]),
        ("a value without its payload", vec!["EVAL", truncate, "1", key, "0"]),
        ("half a header", vec!["EVAL", truncate, "1", key, "40"]),
        ("another codec", vec!["SETRANGE", key, "2", "\u{3}"]),
        ("a payload that is none", vec!["SETRANGE", key, "84", "x"]),
        ("a lease that is too short", vec!["SET", key, "\0\0short"]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_bytes_are_a_miss_and_are_repaired() {
    let (server, database) = (RedisServer::start(), database());
    let node = Node::patient(&server.url(), &database);
    let key = "test:item:1";
    let mut all = foreign(key);
    all.push(("a list", vec!["RPUSH", key, "a", "b"]));
    all.push(("a hash", vec!["HSET", key, "a", "b"]));
    for (what, command) in all {
        node.item(1).await;
        if matches!(command[0], "RPUSH" | "HSET") {
            server.command(&["DEL", key]);
        }
        let answer = server.command(&command);
        assert!(!answer.starts_with('-'), "{answer}");
        let runs = node.runs();
        assert_eq!(node.item(1).with_source().await, (1, Source::Function), "{what}");
        assert_eq!(node.runs(), runs + 1, "{what}");
        let other = Node::patient(&server.url(), &database);
        assert_eq!(other.item(1).await, 1);
        assert_eq!(other.runs(), 0, "{what} is repaired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_a_newer_format_is_a_miss_and_stays() {
    let (server, database) = (RedisServer::start(), database());
    let node = Node::patient(&server.url(), &database);
    node.item(1).await;
    server.command(&["SETRANGE", "test:item:1", "1", "\u{2}"]);
    let stands = server.command(&["GET", "test:item:1"]);
    for runs in 2..5 {
        assert_eq!(node.item(1).with_source().await, (1, Source::Function));
        assert_eq!(node.runs(), runs);
        assert_eq!(server.command(&["GET", "test:item:1"]), stands);
    }
    node.item(1).invalidate().await.unwrap();
    assert_eq!(server.command(&["EXISTS", "test:item:1"]), "0");
}

/// Functions of one template, as they are in two builds of one program.
mod builds {
    use larder::{Cache, cached};

    #[cached(ttl = 600, key = "price:{id}", local = false, cache = cache, skip(cache))]
    pub(crate) async fn first(cache: &Cache, id: u64) -> u64 {
        id
    }

    #[cached(ttl = 600, key = "price:{id}", version = 1, local = false, cache = cache, skip(cache))]
    pub(crate) async fn second(cache: &Cache, id: u64) -> u64 {
        id + 100
    }

    #[cached(ttl = 600, key = "price:{id}", local = false, cache = cache, skip(cache))]
    pub(crate) async fn text(cache: &Cache, id: u64) -> String {
        format!("{id} €")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_of_a_program_never_read_each_others_values() {
    let server = RedisServer::start();
    let [one, two, three] = std::array::from_fn(|_| patient(&server.url()).build().unwrap());
    for _ in 0..3 {
        assert_eq!(builds::first(&one, 1).await, 1);
        assert_eq!(builds::first(&one, 1).peek().await, Some(1));
        assert_eq!(builds::second(&two, 1).peek().await, None);
        assert_eq!(builds::second(&two, 1).await, 101);
        assert_eq!(builds::first(&one, 1).peek().await, None);
        assert_eq!(builds::text(&three, 1).await, "1 €");
        assert_eq!(builds::second(&two, 1).peek().await, None);
    }
    // The invalidation of one reaches all.
    builds::first(&one, 1).invalidate().await.unwrap();
    assert_eq!(builds::text(&three, 1).peek().await, None);
}

mod places {
    use larder::{Cache, cached};

    #[cached(ttl = 600, key = "shared:{id}", cache = cache, skip(cache))]
    pub(crate) async fn shared(cache: &Cache, id: u64) -> u64 {
        id
    }

    #[cached(ttl = 600, key = "own:{id}", remote = false, cache = cache, skip(cache))]
    pub(crate) async fn own(cache: &Cache, id: u64) -> u64 {
        id
    }
}

#[tokio::test]
async fn with_no_life_in_memory_values_are_in_redis_alone_where_they_may_be_there() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).local_ttl(Duration::ZERO).build().unwrap();
    for _ in 0..3 {
        places::shared(&cache, 1).await;
        places::own(&cache, 1).await;
    }
    let (_, shared) = places::shared(&cache, 1).with_source().await;
    assert!(matches!(shared, Source::Redis { .. }), "{shared:?}");
    let (_, own) = places::own(&cache, 1).with_source().await;
    assert!(matches!(own, Source::Memory { .. }), "{own:?}");
    let stats = cache.stats();
    assert_eq!(stats.function("shared").unwrap().runs, 1);
    assert_eq!(stats.function("own").unwrap().runs, 1);
}

/// How values are written is up to each process.
#[cfg(all(feature = "postcard", feature = "lz4", feature = "zstd"))]
mod encodings {
    use larder::{Codec, Compression};

    use super::*;

    /// A value that is worth compressing.
    #[cached(ttl = 600, key = "text:{id}", local = false, cache = cache, skip(cache))]
    async fn text(cache: &Cache, id: u64) -> Vec<String> {
        (0..500).map(|line| format!("line {line} of {id}")).collect()
    }

    /// What each of the writers stores, all of the readers read; says how long each stored it.
    async fn lengths_of(writers: &[(Codec, Compression)]) -> Vec<u64> {
        let server = RedisServer::start();
        let build = |(codec, compression)| {
            patient(&server.url()).codec(codec).compress(compression).build().unwrap()
        };
        let caches: Vec<_> = writers.iter().copied().map(build).collect();
        let mut lengths = Vec::new();
        for (id, writer) in (0..).zip(&caches) {
            let written = text(writer, id).await;
            for reader in &caches {
                let (read, source) = text(reader, id).with_source().await;
                assert_eq!(read, written);
                assert!(matches!(source, Source::Redis { .. }), "{source:?}");
            }
            let length = server.command(&["STRLEN", &format!("test:text:{id}")]);
            lengths.push(length.parse().unwrap());
        }
        lengths
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn json_and_postcard_read_each_other() {
        let lengths =
            lengths_of(&[(Codec::Json, Compression::None), (Codec::Postcard, Compression::None)])
                .await;
        assert!(lengths[1] < lengths[0], "{lengths:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_compressed_is_shorter_and_read_by_all() {
        let compressions = [Compression::None, Compression::Lz4, Compression::Zstd];
        let lengths = lengths_of(&compressions.map(|compression| (Codec::Json, compression))).await;
        assert!(lengths[1] < lengths[0] / 2 && lengths[2] < lengths[0] / 2, "{lengths:?}");
    }
}

// The environment.

/// Plays a role in another test.
#[test]
fn a_process_of_the_fleet() {
    match member::role().as_deref() {
        None => {}
        Some("of the environment") => by_environment(),
        Some(role) => panic!("no role is called {role}"),
    }
}

/// Says where its values came from, and what is counted about Redis.
#[tokio::main(flavor = "current_thread")]
async fn by_environment() {
    let cache = Cache::from_env().unwrap().build().unwrap();
    let (value, source) = builds::text(&cache, 1).with_source().await;
    let source = match source {
        Source::Function => 0,
        Source::Redis { .. } => 1,
        source => panic!("{source:?}"),
    };
    assert_eq!(value, "1 €");
    say(&format!("source {source} {}", cache.stats().redis.connections));
}

#[test]
fn the_environment_says_where_redis_is() {
    let server = RedisServer::start();
    let url = server.url();
    let with = [("LARDER_SERVICE", "shop"), ("LARDER_URL", &*url)];
    let start = |variables: &[_]| {
        let member = Member::start("of the environment", variables);
        member.hear_numbers("source")
    };
    assert_eq!(start(&with), [0, 1]);
    assert_eq!(start(&with), [1, 1]);
    assert_eq!(server.command(&["EXISTS", "shop:price:1"]), "1");
    for without in [&with[..1], &[with[0], ("LARDER_URL", "")]] {
        assert_eq!(start(without), [0, 0]);
    }
}
