//! Functions that load many, over a real Redis and in real processes.

#![cfg(feature = "redis")]

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{
    client::Clients,
    dice::Dice,
    member::{self, Member, say, variable},
    redis::RedisServer,
};
use larder::{Cache, CacheBuilder, Source, cached};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

fn builder(server: &RedisServer) -> CacheBuilder {
    Cache::builder("test").redis(server.url())
}

/// One whose budget no busy machine uses up, and which is connected.
async fn connected(server: &RedisServer) -> Cache {
    let cache = builder(server).redis_budget(Duration::from_secs(10)).build().unwrap();
    connect(&cache).await;
    cache
}

async fn connect(cache: &Cache) {
    let connecting = cache.scope(async {
        while !matches!(probe().with_source().await, (_, Source::Redis { .. })) {
            sleep(Duration::from_millis(5)).await;
        }
    });
    timeout(Duration::from_secs(10), connecting).await.unwrap();
}

/// It is read in Redis once it is stored there.
#[cached(ttl = 600, key = "probe", local = false)]
async fn probe() -> u64 {
    0
}

/// What each run was for.
#[derive(Default)]
struct Runs(Mutex<Vec<Vec<u64>>>);

impl Runs {
    fn all(&self) -> Vec<Vec<u64>> {
        self.0.lock().unwrap().clone()
    }
}

#[cached(ttl = 600, key = "square:{id}", skip(runs), each(id in ids))]
async fn squares(runs: &Runs, ids: &[u64]) -> HashMap<u64, u64> {
    runs.0.lock().unwrap().push(ids.to_vec());
    sleep(Duration::from_millis(5)).await;
    ids.iter().map(|id| (*id, id * id)).collect()
}

#[cached(ttl = 600, key = "square:{id}", tags("squares"), skip(runs), each(id in ids))]
async fn tagged_squares(runs: &Runs, ids: &[u64]) -> HashMap<u64, u64> {
    squares(runs, ids).uncached().await
}

/// How often the server has executed each of these since its numbers were reset.
fn calls<const N: usize>(server: &RedisServer, commands: [&str; N]) -> [u64; N] {
    let info = server.command(&["INFO", "commandstats"]);
    commands.map(|command| {
        let start = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    })
}

#[tokio::test]
async fn a_hundred_cold_elements_are_read_with_one_command() {
    let server = RedisServer::start();
    let (one, two) = (connected(&server).await, connected(&server).await);
    let ids: Vec<u64> = (0..100).collect();
    let runs = Runs::default();
    let expected: HashMap<u64, u64> = ids.iter().map(|id| (*id, id * id)).collect();
    server.command(&["CONFIG", "RESETSTAT"]);
    assert_eq!(one.scope(async { squares(&runs, &ids).await }).await, expected);
    // A lease and a value for each.
    assert_eq!(calls(&server, ["mget", "get", "evalsha"]), [1, 0, 200]);
    assert_eq!(runs.all(), std::slice::from_ref(&ids));
    server.command(&["CONFIG", "RESETSTAT"]);
    let read = two.scope(async { squares(&runs, &ids).with_sources().await }).await;
    assert_eq!(read.0, expected);
    assert!(read.1.iter().all(|source| matches!(source, Source::Redis { .. })));
    assert_eq!(calls(&server, ["mget", "get", "evalsha"]), [1, 0, 0]);
    // Seventy of the next hundred are in memory or in Redis.
    let more: Vec<u64> = (30..130).collect();
    assert_eq!(two.scope(async { squares(&runs, &more).await }).await.len(), 100);
    assert_eq!(calls(&server, ["mget", "get", "evalsha"]), [2, 0, 60]);
    assert_eq!(runs.all()[1..], [(100..130).collect::<Vec<u64>>()]);
}

#[tokio::test]
async fn all_elements_are_invalidated_in_every_process() {
    let server = RedisServer::start();
    let (one, two) = (connected(&server).await, connected(&server).await);
    let runs = Runs::default();
    let ids: Vec<u64> = (0..50).collect();
    for cache in [&one, &two] {
        cache.scope(async { squares(&runs, &ids).await }).await;
    }
    one.scope(async { squares(&runs, &ids[..20]).invalidate().await }).await.unwrap();
    let left = |cache: &Cache| {
        let (cache, ids) = (cache.clone(), ids.clone());
        async move { cache.scope(async { squares(&Runs::default(), &ids).peek().await }).await.len() }
    };
    assert_eq!(left(&one).await, 30);
    // It hears of it.
    let hears = async {
        while left(&two).await != 30 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), hears).await.unwrap();
}

#[tokio::test]
async fn elements_go_with_a_tag() {
    let server = RedisServer::start();
    let (one, two) = (connected(&server).await, connected(&server).await);
    let runs = Runs::default();
    let ids: Vec<u64> = (0..50).collect();
    server.command(&["CONFIG", "RESETSTAT"]);
    one.scope(async { tagged_squares(&runs, &ids).await }).await;
    two.scope(async { tagged_squares(&runs, &ids).await }).await;
    assert_eq!((runs.all().len(), calls(&server, ["get"])), (1, [0]));
    two.invalidate_tag("squares").await.unwrap();
    assert_eq!(two.scope(async { tagged_squares(&runs, &ids).peek().await }).await.len(), 0);
    assert_eq!(two.scope(async { tagged_squares(&runs, &ids).await }).await.len(), 50);
    assert_eq!(runs.all().len(), 2);
}

#[tokio::test]
async fn a_batch_of_many_thousands_is_stored() {
    let server = RedisServer::start();
    let (one, two) = (connected(&server).await, connected(&server).await);
    let runs = Runs::default();
    let ids: Vec<u64> = (0..6_000).collect();
    assert_eq!(one.scope(async { squares(&runs, &ids).await }).await.len(), ids.len());
    let (read, sources) = two.scope(async { squares(&runs, &ids).with_sources().await }).await;
    assert_eq!((read.len(), runs.all().len()), (ids.len(), 1));
    let from_redis = sources.iter().filter(|source| matches!(source, Source::Redis { .. }));
    assert_eq!(from_redis.count(), ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_a_batch_one_budget() {
    const BUDGET: Duration = Duration::from_millis(400);
    let server = RedisServer::start();
    let cache = builder(&server).redis_budget(BUDGET).build().unwrap();
    connect(&cache).await;
    server.hang();
    let (runs, ids) = (Runs::default(), (0..100).collect::<Vec<u64>>());
    let began = Instant::now();
    assert_eq!(cache.scope(async { squares(&runs, &ids).await }).await.len(), 100);
    let took = began.elapsed();
    assert!(took >= BUDGET && took < 2 * BUDGET, "{took:?}");
    server.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_costs_a_batch_no_value() {
    let mut server = RedisServer::start();
    let cache = builder(&server).build().unwrap();
    connect(&cache).await;
    let (runs, ids) = (Runs::default(), (0..100).collect::<Vec<u64>>());
    let of_task = cache.clone();
    let loading =
        tokio::spawn(
            async move { of_task.scope(async { squares(&runs, &ids).await.len() }).await },
        );
    sleep(Duration::from_millis(3)).await;
    server.kill();
    assert_eq!(timeout(Duration::from_secs(10), loading).await.unwrap().unwrap(), 100);
    server.restart();
    connect(&cache).await;
}

// A fleet.

/// Plays a role in the fleet of another test.
#[test]
fn a_process_of_the_fleet() {
    if member::role().is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play_loader());
    }
}

/// In all processes together.
const IDS: u64 = 24;

/// A row and its version, of which it is counted in Redis how often it was read in a round.
struct Table {
    database: Clients,
    round: AtomicU64,
}

impl Table {
    async fn read(&self, ids: &[u64]) -> HashMap<u64, u64> {
        let round = self.round.load(SeqCst);
        let mut rows = HashMap::new();
        for id in ids {
            self.database.number(&["INCR", &format!("reads:{round}:{id}")]).await;
            rows.insert(*id, self.database.number(&["GET", "version"]).await);
        }
        rows
    }
}

#[cached(ttl = 600, key = "row:{id}", local = false, skip(table), each(id in ids))]
async fn rows(table: &Table, ids: &[u64]) -> HashMap<u64, u64> {
    table.read(ids).await
}

#[cached(ttl = 600, key = "row:{id}", local = false, skip(table))]
async fn row(table: &Table, id: u64) -> u64 {
    table.read(&[id]).await[&id]
}

/// In memory too, of one round.
#[cached(ttl = 600, key = "kept:{round}:{id}", skip(table), each(id in ids))]
async fn kept(table: &Table, round: u64, ids: &[u64]) -> HashMap<u64, u64> {
    table.read(ids).await
}

/// Orders: `far <round> <version>` and `near <round> <version>`, answered with `loaded <how many calls> <how
/// many of their values were of an older version> <how long the longest call took>`, and `change`, with
/// `changed`.
async fn play_loader() {
    let (url, process): (String, u64) =
        (variable("FLEET_URL").unwrap(), variable("FLEET_NUMBER").unwrap());
    let builder = Cache::builder("fleet").redis(&url).redis_budget(Duration::from_secs(10));
    builder.build().unwrap().install().unwrap();
    let table = Arc::new(Table { database: Clients::new(&url), round: AtomicU64::new(0) });
    let mut orders = member::orders();
    while let Some(order) = orders.recv().await {
        let words: Vec<_> = order.split(' ').collect();
        match words.as_slice() {
            ["change"] => {
                table.database.number(&["INCR", "version"]).await;
                let ids: Vec<u64> = (0..IDS).collect();
                rows(&table, &ids).invalidate().await.unwrap();
                say("changed");
            }
            [kind @ ("far" | "near"), round, version] => {
                let (round, version) = (round.parse().unwrap(), version.parse().unwrap());
                table.round.store(round, SeqCst);
                let mut calls = JoinSet::new();
                for task in 0..8 {
                    let dice = Dice::new(process * 1000 + round, task);
                    let table = Arc::clone(&table);
                    let is_near = *kind == "near";
                    calls.spawn(async move { load(&table, dice, round, version, is_near).await });
                }
                let (mut old, mut longest) = (0, Duration::ZERO);
                for (of_call, took) in calls.join_all().await {
                    old += of_call;
                    longest = longest.max(took);
                }
                say(&format!("loaded 8 {old} {}", longest.as_millis()));
            }
            _ => panic!("{order} is no order"),
        }
    }
}

/// How many values of one call were too old, and how long it took.
async fn load(
    table: &Table,
    mut dice: Dice,
    round: u64,
    version: u64,
    is_near: bool,
) -> (usize, Duration) {
    let mut ids: Vec<u64> = (0..IDS).collect();
    dice.shuffle(&mut ids);
    ids.truncate(1 + dice.below(IDS) as usize);
    let began = Instant::now();
    let loaded = if is_near {
        kept(table, round, &ids).await
    } else if dice.below(4) == 0 {
        HashMap::from([(ids[0], row(table, ids[0]).await)])
    } else {
        rows(table, &ids).await
    };
    (loaded.values().filter(|loaded| **loaded < version).count(), began.elapsed())
}

/// Rounds of four processes, before each of which everything is invalidated.
fn in_rounds(kind: &str, count: usize) {
    let server = RedisServer::start();
    let url = server.url();
    let start = |number| Member::start("loader", &[("FLEET_URL", &url), ("FLEET_NUMBER", number)]);
    let mut fleet = ["0", "1", "2", "3"].map(start);
    for round in 1..=count {
        let changer = &mut fleet[round % 4];
        changer.order("change");
        assert_eq!(changer.hear(), "changed");
        for member in &mut fleet {
            member.order(&format!("{kind} {round} {round}"));
        }
        for member in &fleet {
            let loaded = member.hear_numbers("loaded");
            assert_eq!(loaded[1], 0, "round {round}: older than the invalidation before it");
            // Nobody has waited until a lease ended.
            assert!(loaded[2] < 5_000, "round {round}: {} ms", loaded[2]);
        }
        let keys = (0..IDS).map(|id| format!("reads:{round}:{id}")).collect::<Vec<_>>();
        let words: Vec<&str> =
            ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let reads = server.command(&words);
        assert!(
            reads.lines().all(|reads| ["1", "(nil)"].contains(&reads)),
            "round {round}: {reads}"
        );
    }
}

#[test]
fn processes_load_each_element_once_after_each_invalidation() {
    in_rounds("far", 50);
}

#[test]
fn processes_load_each_element_once_for_their_memory() {
    in_rounds("near", 50);
}
