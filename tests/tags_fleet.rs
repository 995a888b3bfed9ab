//! What a fleet is promised of tags, with real processes and a real Redis.

#![cfg(feature = "redis")]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    client::Clients,
    member::{self, Member, say, variable},
    proxy::{Kind, Mode, Proxy},
    redis::RedisServer,
};
use larder::{Cache, Source, cached, invalidates};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::Runtime,
    time::{sleep, timeout},
};

/// Plays a role in the fleet of another test.
#[test]
fn a_process_of_the_fleet() {
    let Some(role) = member::role() else {
        return;
    };
    assert_eq!(role, "member");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(play());
}

/// What a writer has changed stands in the database under `version:<team>`.
#[cached(ttl = 600, key = "player:{team}:{id}", tags("team:{team}"), skip(database))]
async fn player(database: &Clients, team: u64, id: u64) -> u64 {
    committed(database, team).await
}

/// The same, as a process may read it that does not keep it, and counts on nothing that it knows.
#[cached(
    ttl = 600,
    key = "exact:{team}:{id}",
    tags("team:{team}", "all"),
    tags_strict,
    local = false,
    skip(database)
)]
async fn exact(database: &Clients, team: u64, id: u64) -> u64 {
    committed(database, team).await
}

async fn committed(database: &Clients, team: u64) -> u64 {
    database.number(&["GET", &format!("version:{team}")]).await
}

async fn commit(database: &Clients, team: u64) -> u64 {
    database.number(&["INCR", &format!("version:{team}")]).await
}

/// It says when it has begun, commits when it is told to, and never returns.
#[invalidates(tag("team:{team}"))]
async fn change(database: &Clients, team: u64) {
    commit_and_hang(database, team).await;
}

#[invalidates(tag("team:{team}"), hold = "1s")]
async fn change_held(database: &Clients, team: u64) {
    commit_and_hang(database, team).await;
}

async fn commit_and_hang(database: &Clients, team: u64) {
    say("begun");
    while database.number(&["GET", "commit"]).await == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    say(&format!("committed {}", commit(database, team).await));
    std::future::pending::<()>().await;
}

/// One function as one deploy after another has it: returns the number of its run in the fleet.
macro_rules! deploys {
    ($($name:ident($($options:tt)*);)*) => {
        $(
            #[cached(ttl = 600, key = "item:{id}", $($options)* skip(database))]
            async fn $name(database: &Clients, id: u64) -> u64 {
                run_of_item(database, id).await
            }
        )*

        const DEPLOYS: &[&str] = &[$(stringify!($name)),*];

        async fn item(deploy: &str, database: &Clients, id: u64) -> (u64, Source) {
            match deploy {
                $(stringify!($name) => $name(database, id).with_source().await,)*
                _ => panic!("no deploy is called {deploy}"),
            }
        }
    };
}

deploys! {
    without();
    one(tags("items"),);
    another(tags("articles"),);
    of_itself(tags("item:{id}"),);
    two(tags("items", "item:{id}"),);
    turned(tags("item:{id}", "items"),);
    three(tags("items", "item:{id}", "articles"),);
}

async fn run_of_item(database: &Clients, id: u64) -> u64 {
    database.number(&["INCR", &format!("runs:{id}")]).await
}

/// Orders: `read <team> <id>` and `exact <team> <id>`, answered with `read <version> <source> <when it
/// began, in ns>`; `bump <team>`, answered with `bumped <version> <when it was complete>`, and
/// `repaired <when it was complete>` if that is later; `change <team>` and `change_held <team>`; `item
/// <deploy> <id>`, answered with `item <run> <source>`.
async fn play() {
    let (url, database): (String, String) =
        (variable("FLEET_URL").unwrap(), variable("FLEET_DATABASE").unwrap());
    let age = Duration::from_millis(variable("FLEET_MAX_STALENESS_MS").unwrap());
    Cache::builder("fleet").redis(url).max_staleness(age).build().unwrap().install().unwrap();
    let database = Arc::new(Clients::new(&database));
    let mut orders = member::orders();
    while let Some(order) = orders.recv().await {
        let words: Vec<_> = order.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "read" | "exact" => {
                let began = now();
                let (version, source) = if words[0] == "read" {
                    player(&database, number(1), number(2)).with_source().await
                } else {
                    exact(&database, number(1), number(2)).with_source().await
                };
                say(&format!("read {version} {} {began}", code(source)));
            }
            "bump" => {
                let version = commit(&database, number(1)).await;
                let tag = format!("team:{}", words[1]);
                let bumped = Cache::current().invalidate_tag(&tag).await;
                say(&format!("bumped {version} {}", now()));
                if bumped.is_err() {
                    tokio::spawn(async {
                        Cache::current().shutdown().await.unwrap();
                        say(&format!("repaired {}", now()));
                    });
                }
            }
            "change" | "change_held" => {
                let (database, team, held) = (Arc::clone(&database), number(1), words[0]);
                let is_held = held == "change_held";
                tokio::spawn(async move {
                    if is_held {
                        change_held(&database, team).await;
                    } else {
                        change(&database, team).await;
                    }
                });
            }
            "item" => {
                let (run, source) = item(words[1], &database, number(2)).await;
                say(&format!("item {run} {}", code(source)));
            }
            _ => panic!("{order} is no order"),
        }
    }
}

const FUNCTION: u64 = 0;
const MEMORY: u64 = 1;
const REDIS: u64 = 2;

fn code(source: Source) -> u64 {
    match source {
        Source::Memory { .. } => MEMORY,
        Source::Redis { .. } => REDIS,
        _ => FUNCTION,
    }
}

/// In nanoseconds; the same for all processes of this machine.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(Duration::try_from(now).unwrap().as_nanos()).unwrap()
}

/// The kernel's tick, at most.
const RESOLUTION: Duration = Duration::from_millis(10);

/// So long that nothing is over by itself while a test lasts.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn start(server: &RedisServer, url: &str, max_staleness: Duration) -> Member {
    let age = max_staleness.as_millis().to_string();
    let database = server.url();
    let variables =
        [("FLEET_URL", url), ("FLEET_DATABASE", &database), ("FLEET_MAX_STALENESS_MS", &age)];
    Member::start("member", &variables)
}

/// A process reads, and says what, from where, and when it began.
fn read(member: &mut Member, order: &str) -> [u64; 3] {
    member.order(order);
    member.hear_numbers("read").try_into().unwrap()
}

/// Reads until it is so. A hang fails the test.
fn read_until(member: &mut Member, order: &str, is_so: impl Fn(u64, u64) -> bool) {
    let began = Instant::now();
    loop {
        let [version, source, _] = read(member, order);
        if is_so(version, source) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{order} still reads {version}");
    }
}

/// Until it has this in memory.
fn remember(member: &mut Member, order: &str, version: u64) {
    read_until(member, order, |found, source| {
        assert_eq!(found, version);
        source == MEMORY
    });
}

/// Bumps the tag of team 1, and says when that was complete.
fn bump(member: &mut Member) -> u64 {
    member.order("bump 1");
    member.hear_numbers("bumped")[1]
}

const ORDERS: [&str; 3] = ["read 1 1", "read 1 2", "exact 1 1"];

#[test]
fn a_message_takes_all_entries_of_a_tag_out_of_the_memory_of_others() {
    let server = RedisServer::start();
    // Nothing but a message ends what memory has.
    let [mut writer, mut one, mut two] = [(); 3].map(|()| start(&server, &server.url(), FOR_EVER));
    for version in 0..5 {
        for reader in [&mut one, &mut two, &mut writer] {
            for order in &ORDERS[..2] {
                remember(reader, order, version);
            }
            remember(reader, "read 2 1", 0);
            assert_eq!(read(reader, "exact 1 1")[0], version);
        }
        bump(&mut writer);
        // Here and for who relies on no memory it is exact.
        for order in ORDERS {
            assert_eq!(read(&mut writer, order)[0], version + 1);
        }
        for reader in [&mut one, &mut two] {
            assert_eq!(read(reader, "exact 1 1")[0], version + 1);
            for order in &ORDERS[..2] {
                read_until(reader, order, |found, _| found == version + 1);
            }
            assert_eq!(read(reader, "read 2 1")[..2], [0, MEMORY], "the tag of another team");
        }
    }
}

/// Bumps while a fault keeps messages, commands or both from the reader or from the writer. No read of
/// anybody that began later than `max_staleness` after it was complete finds what is from before.
fn bump_under(mode: Mode, kinds: &[Kind], is_writers: bool) {
    let max_staleness = Duration::from_millis(300);
    let server = RedisServer::start();
    let runtime = Runtime::new().unwrap();
    let [writers, readers] =
        [(); 2].map(|()| runtime.block_on(async { Proxy::before(server.port()) }));
    let mut writer = start(&server, &writers.url(), max_staleness);
    let mut reader = start(&server, &readers.url(), max_staleness);
    for order in &ORDERS[..2] {
        remember(&mut reader, order, 0);
        remember(&mut writer, order, 0);
    }
    let proxy = if is_writers { &writers } else { &readers };
    for kind in kinds {
        proxy.set_for(*kind, mode);
    }
    let mut complete = bump(&mut writer);
    // Its own process knows, whatever became of it.
    for order in ORDERS {
        assert_eq!(read(&mut writer, order)[0], 1, "{mode:?} {kinds:?} {order}");
    }
    if is_writers && kinds.contains(&Kind::Data) {
        // It has failed, and is complete when it is repaired.
        proxy.set(Mode::Pass);
        complete = writer.hear_numbers("repaired")[0];
    }
    let limit = complete + (max_staleness + RESOLUTION).as_nanos() as u64;
    for order in ORDERS {
        loop {
            let [version, _, began] = read(&mut reader, order);
            if version == 1 {
                break;
            }
            assert!(began <= limit, "{mode:?} {kinds:?} {order}: {} ns late", began - limit);
        }
        assert_eq!(read(&mut writer, order)[0], 1);
    }
    proxy.set(Mode::Pass);
    // And nothing old has been stored meanwhile.
    let mut late = start(&server, &server.url(), max_staleness);
    for member in [&mut reader, &mut writer, &mut late] {
        for order in ORDERS {
            assert_eq!(read(member, order)[0], 1, "{mode:?} {kinds:?} {order}");
        }
    }
}

const ALL_KINDS: [&[Kind]; 3] = [&[Kind::Backplane], &[Kind::Data], &[Kind::Data, Kind::Backplane]];

#[test]
fn a_bump_is_seen_within_max_staleness_by_who_is_cut_off_at_that_moment() {
    for kinds in ALL_KINDS {
        bump_under(Mode::Cut, kinds, false);
    }
}

#[test]
fn a_bump_is_seen_within_max_staleness_by_who_does_not_notice_that_nothing_arrives() {
    for kinds in ALL_KINDS {
        for mode in [Mode::Lose, Mode::BlackHole] {
            bump_under(mode, kinds, false);
        }
    }
}

#[test]
fn a_bump_of_a_process_that_is_cut_off_lands_when_it_is_back() {
    for kinds in ALL_KINDS {
        for mode in [Mode::Cut, Mode::Lose] {
            bump_under(mode, kinds, true);
        }
    }
}

#[test]
fn a_failed_bump_is_seen_by_its_own_process_and_by_nobody_else_until_it_lands() {
    let server = RedisServer::start();
    let runtime = Runtime::new().unwrap();
    let proxy = runtime.block_on(async { Proxy::before(server.port()) });
    let mut writer = start(&server, &proxy.url(), FOR_EVER);
    let mut reader = start(&server, &server.url(), FOR_EVER);
    for order in &ORDERS[..2] {
        remember(&mut reader, order, 0);
        remember(&mut writer, order, 0);
    }
    let stamp = server.command(&["GET", ":larder:fleet:team:1"]);
    proxy.set_for(Kind::Data, Mode::Cut);
    bump(&mut writer);
    assert_eq!(server.command(&["GET", ":larder:fleet:team:1"]), stamp);
    assert_eq!(read(&mut reader, ORDERS[0])[..2], [0, MEMORY]);
    for order in ORDERS {
        assert_eq!(read(&mut writer, order)[..2], [1, FUNCTION]);
    }
    proxy.set(Mode::Pass);
    writer.hear_numbers("repaired");
    for order in ORDERS {
        assert_eq!(read(&mut writer, order)[0], 1);
        read_until(&mut reader, order, |found, _| found == 1);
    }
}

/// Whether a value stands there, and whether the tag is held, at one moment.
fn stands(server: &RedisServer, key: &str) -> [bool; 2] {
    let script = "local function first(key) return redis.call('GETRANGE', key, 0, 0) end
        return { first(KEYS[1]) == '\\1' and 1 or 0, first(KEYS[2]) == '\\2' and 1 or 0 }";
    let keys = [&format!("fleet:{key}"), ":larder:fleet:team:1"];
    let stands = server.command(&["EVAL", script, "2", keys[0], keys[1]]);
    let mut stands = stands.lines().map(|line| line == "1");
    [stands.next().unwrap(), stands.next().unwrap()]
}

/// What two readers find after a writer was killed between its COMMIT and the bump.
fn after_a_crash(order: &str) -> [[u64; 2]; 2] {
    let server = RedisServer::start();
    let [mut writer, mut one, mut two] = [(); 3].map(|()| start(&server, &server.url(), FOR_EVER));
    let is_held = order == "change_held";
    // One has it in memory, and the other one reads it in the middle of the change.
    remember(&mut one, ORDERS[0], 0);
    writer.order(&format!("{order} 1"));
    assert_eq!(writer.hear(), "begun");
    let between = if is_held { FUNCTION } else { REDIS };
    assert_eq!(read(&mut two, ORDERS[0])[..2], [0, between]);
    server.command(&["SET", "commit", "1"]);
    assert_eq!(writer.hear_numbers("committed"), [1]);
    writer.kill();
    if is_held {
        // The message of the hold may be on its way.
        read_until(&mut one, ORDERS[0], |found, _| found == 1);
    }
    let mut both = || [read(&mut one, ORDERS[0])[0], read(&mut two, ORDERS[0])[0]];
    let (at_once, began) = (both(), Instant::now());
    loop {
        assert!(began.elapsed() < Duration::from_secs(20), "it is not stored again");
        let [value, held] = stands(&server, "player:1:1");
        assert!(!(value && held), "stored in the middle of a change");
        if value {
            break;
        }
        let found = both();
        assert_eq!(found, at_once);
    }
    let afterwards = both();
    // And stored again, as before.
    remember(&mut one, ORDERS[0], afterwards[0]);
    remember(&mut two, ORDERS[0], afterwards[1]);
    [at_once, afterwards]
}

#[test]
fn a_writer_of_a_tag_that_is_killed_after_its_commit_leaves_nothing_old_under_a_hold() {
    assert_eq!(after_a_crash("change_held"), [[1, 1], [1, 1]]);
}

#[test]
fn a_writer_of_a_tag_that_is_killed_after_its_commit_leaves_what_is_old_without_a_hold() {
    assert_eq!(after_a_crash("change"), [[0, 0], [0, 0]]);
}

#[test]
fn a_deploy_with_other_tags_finds_nothing_of_the_one_before_and_replaces_it() {
    let server = RedisServer::start();
    let [mut one, mut two, mut three] = [(); 3].map(|()| start(&server, &server.url(), FOR_EVER));
    let item = |member: &mut Member, deploy: &str, id: u64| {
        member.order(&format!("item {deploy} {id}"));
        let [run, source] = member.hear_numbers("item").try_into().unwrap();
        (run, source)
    };
    let mut id = 0;
    for before in DEPLOYS {
        for after in DEPLOYS {
            id += 1;
            assert_eq!(item(&mut one, before, id), (1, FUNCTION));
            if before == after {
                assert_eq!(item(&mut two, after, id), (1, REDIS));
                continue;
            }
            assert_eq!(item(&mut two, after, id), (2, FUNCTION), "{before} {after}");
            assert_eq!(item(&mut three, after, id), (2, REDIS), "{before} {after}");
            // Nor does the old one take the new one's, while both are there.
            assert_eq!(item(&mut one, before, id), (1, MEMORY));
            assert_eq!(item(&mut three, before, id), (3, FUNCTION), "{before} {after}");
        }
    }
}

/// One process in this one, for what its calls wait for.
#[test]
fn a_read_that_waits_for_a_run_elsewhere_gets_what_a_bump_meanwhile_left() {
    #[cached(ttl = 600, key = "slow:{id}", tags("slow"), cache = cache, skip(cache, database))]
    async fn slow(cache: &Cache, database: &Clients, id: u64) -> u64 {
        let version = database.number(&["GET", "version:slow"]).await;
        database.number(&["INCR", "begun"]).await;
        while database.number(&["GET", "go"]).await == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        version
    }

    let server = RedisServer::start();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let node = || {
            let builder = Cache::builder("slow").redis(server.url());
            builder.redis_budget(Duration::from_secs(10)).build().unwrap()
        };
        let (one, two) = (node(), node());
        let database = Arc::new(Clients::new(&server.url()));
        let call = |cache: &Cache| {
            let (cache, database) = (cache.clone(), Arc::clone(&database));
            tokio::spawn(async move { slow(&cache, &database, 1).await })
        };
        let leading = call(&one);
        while database.number(&["GET", "begun"]).await < 1 {
            sleep(Duration::from_millis(1)).await;
        }
        let waiting = call(&two);
        while two.stats().redis.commands < 2 || !is_awaited(&server) {
            sleep(Duration::from_millis(1)).await;
        }
        database.number(&["INCR", "version:slow"]).await;
        two.invalidate_tag("slow").await.unwrap();
        // Of the process that has bumped, who comes now waits for no run from before.
        let late = call(&two);
        database.number(&["INCR", "go"]).await;
        let calls = async { (leading.await.unwrap(), waiting.await.unwrap(), late.await.unwrap()) };
        let (leading, _, late) = timeout(Duration::from_secs(60), calls).await.unwrap();
        assert_eq!((leading, late), (0, 1));
        let fresh = node();
        for cache in [&two, &fresh] {
            assert_eq!(slow(cache, &database, 1).await, 1);
        }
    });
}

/// Whether the lease of the slow function is marked as one that others wait for.
fn is_awaited(server: &RedisServer) -> bool {
    let script = "return redis.call('GETRANGE', KEYS[1], 0, 1) == '\\0\\1' and 1 or 0";
    server.command(&["EVAL", script, "1", "slow:slow:1"]) == "1"
}
