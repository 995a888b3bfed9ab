//! The tier on a real server: two processes are two tiers.

#[cfg(feature = "limit")]
mod limits;
mod lists;
mod locks;
mod stale;
mod tags;

use std::sync::atomic::Ordering::SeqCst;

use tokio::time::{sleep, timeout};

use super::{
    super::{
        connection::tests::{
            proxy::{Mode, Proxy},
            server::RedisServer,
            until,
        },
        race::{Either, race},
    },
    *,
};
use crate::{
    blob::{self, Codec, Decoded},
    remote::{Found, Rejected, Seen},
};

const BUDGET: Duration = Duration::from_millis(100);
/// Where nothing is to come late.
const AMPLE: Duration = Duration::from_secs(2);
const MINE: Token = Token(0x11 << 64 | 0x22);
const OTHER: Token = Token(0x33);
const KEY: &str = "shop:user:42";
const SERVICE: &str = ":larder:shop";

/// With nothing else there.
const LEASED: Leased = Leased::Granted { is_refresh: false };
/// With a value that stays.
const REFRESHED: Leased = Leased::Granted { is_refresh: true };

pub(super) fn settings(url: &str) -> TierSettings {
    let count = AtomicU64::new(99);
    TierSettings {
        address: Address::parse(url).unwrap(),
        service: "shop".to_owned(),
        budget: BUDGET,
        lease: Duration::from_secs(10),
        max_staleness: Duration::from_secs(1),
        compression: Compression::None,
        on_restart: Policy::Clear,
        random: Arc::new(move || count.fetch_add(7919, SeqCst)),
    }
}

/// Of an entry without tags.
impl RedisTier {
    pub(super) async fn read(&self, key: &str, within: Duration) -> Result<Got, Error> {
        Ok(self.get(key, &Tags::NONE, within).await?.0)
    }

    pub(super) async fn ask(
        &self,
        key: &str,
        token: Token,
        seen: Seen,
        within: Duration,
    ) -> Result<Leased, Error> {
        Ok(self.ask_tagged(key, token, seen, &Tags::NONE, within).await?.0)
    }

    async fn ask_tagged(
        &self,
        key: &str,
        token: Token,
        seen: Seen,
        tags: &Tags,
        within: Duration,
    ) -> Result<(Leased, ReadStamps), Error> {
        let ask = Ask { lease: lease(key, token), seen, tags: tags.clone() };
        self.lease(vec![ask], within).await.remove(0)
    }

    pub(super) async fn put(
        &self,
        key: &str,
        token: Token,
        value: Fill,
        within: Duration,
    ) -> Result<bool, Error> {
        self.fill(vec![(lease(key, token), value)], within).await.remove(0)
    }

    async fn give_back(&self, key: &str, token: Token) -> Result<bool, Error> {
        self.release(vec![lease(key, token)], Duration::ZERO).await.remove(0)
    }
}

fn lease(key: &str, token: Token) -> Lease {
    Lease { key: key.to_owned(), token }
}

/// A process that is connected.
async fn tier(url: &str) -> RedisTier {
    let tier = RedisTier::new(settings(url));
    up(&tier).await;
    tier
}

/// As `tier`, of a server that knows the scripts.
async fn warm_tier(url: &str) -> RedisTier {
    let tier = tier(url).await;
    tier.ask("shop:nothing", OTHER, Seen::Nothing, AMPLE).await.unwrap();
    tier.give_back("shop:nothing", OTHER).await.unwrap();
    tier
}

async fn up(tier: &RedisTier) {
    until(async || tier.read("shop:nothing", BUDGET).await.is_ok()).await;
    until(async || tier.connection().counts().subscriptions > 0).await;
}

pub(super) fn value(payload: &str) -> Fill {
    Fill {
        payload: payload.as_bytes().to_vec(),
        codec: Codec::Json,
        negative: false,
        fingerprint: 7,
        age: Duration::from_millis(300),
        life: Duration::from_secs(60),
        stale: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        cost: Duration::from_millis(5),
    }
}

pub(super) async fn invalidate(tier: &RedisTier, key: &str) -> Result<(), Error> {
    tier.invalidate(&[key.to_owned()]).await.remove(0)
}

async fn store(tier: &RedisTier, payload: &str) {
    let token = Token(u128::from(payload.len() as u64) + 1000);
    assert_eq!(tier.ask(KEY, token, Seen::Nothing, AMPLE).await.unwrap(), LEASED);
    assert!(tier.put(KEY, token, value(payload), AMPLE).await.unwrap());
}

async fn found(tier: &RedisTier) -> Found {
    match tier.read(KEY, AMPLE).await.unwrap() {
        Got::Found(found) => found,
        got => panic!("{got:?}"),
    }
}

async fn rejected(tier: &RedisTier) -> Rejected {
    match tier.read(KEY, AMPLE).await.unwrap() {
        Got::Rejected(rejected) => rejected,
        got => panic!("{got:?}"),
    }
}

#[tokio::test]
async fn a_value_of_one_process_is_found_by_another() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    assert_eq!(one.read(KEY, BUDGET).await.unwrap(), Got::Nothing);
    store(&one, "\"Zoë\"").await;
    let found = found(&two).await;
    assert_eq!(found.payload, "\"Zoë\"".as_bytes());
    assert_eq!((found.codec, found.negative, found.fingerprint), (Codec::Json, false, 7));
    assert!(found.age >= Duration::from_millis(300) && found.age < Duration::from_secs(5));
    assert!(found.life > Duration::from_secs(55) && found.life <= Duration::from_secs(60));
    let left: u64 = server.command(&["PTTL", KEY]).parse().unwrap();
    assert!(left > 55_000 && left <= 60_000);
    assert!(lock(&one.inner.grants).is_empty() && lock(&one.inner.parked).is_empty());
}

#[tokio::test]
async fn a_none_and_a_compressed_value_are_found() {
    let server = RedisServer::start();
    let compression = if cfg!(feature = "lz4") { Compression::Lz4 } else { Compression::None };
    let one = RedisTier::new(TierSettings { compression, ..settings(&server.url()) });
    let long = "a".repeat(10_000);
    store(&one, &long).await;
    assert_eq!(found(&one).await.payload, long.as_bytes());
    invalidate(&one, KEY).await.unwrap();
    one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap();
    one.put(KEY, MINE, Fill { negative: true, ..value("") }, BUDGET).await.unwrap();
    let none = found(&one).await;
    assert!(none.negative && none.payload.is_empty());
}

#[tokio::test]
async fn one_of_two_processes_runs_and_the_other_is_woken_by_its_fill() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    assert_eq!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
    assert_eq!(two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap(), Leased::Busy);
    assert!(one.renew(KEY, MINE).await.unwrap());
    assert!(!two.renew(KEY, OTHER).await.unwrap());
    // Before the waiter waits: what comes after its LEASE is heard.
    assert!(one.put(KEY, MINE, value("1"), BUDGET).await.unwrap());
    let mut changes = Vec::new();
    while changes.last() != Some(&Reason::Woken) {
        changes.push(two.changed(KEY).await.unwrap());
        assert!(changes.len() < 100, "{changes:?}");
    }
    assert_eq!(found(&two).await.payload, b"1");
    match two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap() {
        Leased::Found(found) => assert_eq!(found.payload, b"1"),
        leased => panic!("{leased:?}"),
    }
    assert!(lock(&two.inner.parked).is_empty() && two.inner.ears.waiters.len() == 0);
}

#[tokio::test]
async fn a_release_wakes_and_an_invalidation_says_so() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    for (change, is_invalidation) in [(Reason::Woken, false), (Reason::Invalidated, true)] {
        assert_eq!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
        assert_eq!(two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap(), Leased::Busy);
        if is_invalidation {
            invalidate(&one, KEY).await.unwrap();
            assert!(!one.put(KEY, MINE, value("1"), BUDGET).await.unwrap(), "its lease is gone");
        } else {
            assert!(one.give_back(KEY, MINE).await.unwrap());
            assert!(!one.give_back(KEY, MINE).await.unwrap());
        }
        let mut seen = Reason::Poll;
        for _ in 0..100 {
            seen = two.changed(KEY).await.unwrap();
            if seen != Reason::Poll {
                break;
            }
        }
        // A refused fill wakes as well, so of two messages the last one may be seen.
        assert!(seen == change || is_invalidation && seen == Reason::Woken, "{seen:?}");
        assert_eq!(two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
        two.give_back(KEY, OTHER).await.unwrap();
    }
}

#[tokio::test]
async fn a_wait_hears_nothing_of_an_earlier_run() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    assert_eq!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
    assert_eq!(two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap(), Leased::Busy);
    assert!(one.put(KEY, MINE, value("1"), BUDGET).await.unwrap());
    // It finds the value, and asks for no lease any more.
    until(async || two.changed(KEY).await.unwrap() == Reason::Woken).await;
    invalidate(&one, KEY).await.unwrap();
    assert_eq!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
    sleep(BUDGET * 3).await;
    assert_eq!(two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap(), Leased::Busy);
    assert_eq!(two.changed(KEY).await.unwrap(), Reason::Poll);
}

#[tokio::test]
async fn a_wait_ends_when_redis_is_gone() {
    let mut server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap();
    assert_eq!(two.ask(KEY, OTHER, Seen::Nothing, BUDGET).await.unwrap(), Leased::Busy);
    server.kill();
    until(async || !two.is_usable()).await;
    assert_eq!(two.changed(KEY).await.unwrap(), Reason::Poll);
    assert!(matches!(two.read(KEY, BUDGET).await, Err(Error::Unavailable)));
}

#[tokio::test]
async fn a_refresh_takes_over_and_the_loser_stores_nothing() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    store(&one, "1").await;
    assert_eq!(one.ask(KEY, MINE, Seen::Refresh, BUDGET).await.unwrap(), REFRESHED);
    assert_eq!(found(&one).await.payload, b"1", "served meanwhile");
    assert_eq!(one.ask(KEY, OTHER, Seen::Refresh, BUDGET).await.unwrap(), REFRESHED);
    assert!(!one.put(KEY, MINE, value("2"), BUDGET).await.unwrap());
    assert!(one.put(KEY, OTHER, value("3"), BUDGET).await.unwrap());
    assert_eq!(found(&one).await.payload, b"3");
}

#[tokio::test]
async fn a_clear_is_exact_here_and_soon_elsewhere() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    store(&one, "1").await;
    assert_eq!(found(&two).await.payload, b"1");
    one.clear().await.unwrap();
    let seen = rejected(&one).await;
    until(async || matches!(two.read(KEY, BUDGET).await.unwrap(), Got::Rejected(_))).await;
    // Replaced by a lease, and the new value counts at once, also where an older stamp is known.
    assert_eq!(one.ask(KEY, MINE, Seen::Rejected(seen), BUDGET).await.unwrap(), LEASED);
    one.clear().await.unwrap();
    assert!(one.put(KEY, MINE, value("2"), BUDGET).await.unwrap());
    rejected(&one).await;
}

#[tokio::test]
async fn a_run_that_began_before_a_clear_elsewhere_is_of_no_use() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    assert_eq!(two.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
    one.clear().await.unwrap();
    assert!(two.put(KEY, MINE, value("1"), BUDGET).await.unwrap());
    let seen = rejected(&one).await;
    // One that begins after it is good, though the process may not have heard of the clear.
    let leased = two.ask(KEY, MINE, Seen::Rejected(seen), BUDGET).await.unwrap();
    assert_eq!(leased, LEASED);
    assert!(two.put(KEY, MINE, value("2"), BUDGET).await.unwrap());
    assert_eq!(found(&one).await.payload, b"2");
    assert_eq!(found(&two).await.payload, b"2");
}

#[tokio::test]
async fn a_value_that_is_newer_than_what_is_known_of_the_stamp_is_found() {
    let server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    // No heart beats between the clear and the read.
    for payload in ["1", "22", "333"] {
        one.clear().await.unwrap();
        invalidate(&one, KEY).await.unwrap();
        store(&one, payload).await;
        assert_eq!(found(&two).await.payload, payload.as_bytes());
    }
}

#[tokio::test]
async fn a_stamp_that_was_read_too_long_ago_is_read_with_the_value() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    store(&one, "1").await;
    let reads = || {
        let stats = server.command(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_hget:")).unwrap().to_owned();
        let (_, calls) = line.split_once("calls=").unwrap();
        calls.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let heartbeats = || one.connection().counts().heartbeats;
    // Of a few rounds one is without a heartbeat in between.
    until(async || {
        let (beats, before) = (heartbeats(), reads());
        found(&one).await;
        let fresh = reads() - before;
        one.connection().age(Duration::from_secs(2));
        found(&one).await;
        let stale = reads() - before;
        beats == heartbeats() && (fresh, stale) == (0, 1)
    })
    .await;
}

#[tokio::test]
async fn what_another_program_has_put_there_is_replaced() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    for put in [
        ["SET", KEY, "{\"a\":1}"],
        ["SET", KEY, ""],
        ["SET", KEY, "\u{1}\u{1}truncated"],
        ["RPUSH", KEY, "a list"],
    ] {
        server.command(&put);
        let seen = rejected(&one).await;
        let leased = one.ask(KEY, MINE, Seen::Rejected(seen), BUDGET).await.unwrap();
        assert_eq!(leased, LEASED, "{put:?}");
        assert!(one.put(KEY, MINE, value("1"), BUDGET).await.unwrap());
        assert_eq!(found(&one).await.payload, b"1");
        server.command(&["DEL", KEY]);
    }
    server.command(&["SET", KEY, "\u{1}\u{2}of a later format"]);
    assert_eq!(one.read(KEY, BUDGET).await.unwrap(), Got::Newer);
    assert_eq!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), Leased::Newer);
    assert_eq!(server.command(&["STRLEN", KEY]), "19");
}

#[tokio::test]
async fn a_value_that_the_caller_cannot_use_is_replaced() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    store(&one, "1").await;
    let seen = found(&one).await.seen();
    let leased = one.ask(KEY, MINE, Seen::Rejected(seen.clone()), BUDGET).await.unwrap();
    assert_eq!(leased, LEASED);
    assert!(one.put(KEY, MINE, value("2"), BUDGET).await.unwrap());
    // What was rejected does not stand there any more.
    match one.ask(KEY, OTHER, Seen::Rejected(seen), BUDGET).await.unwrap() {
        Leased::Found(found) => assert_eq!(found.payload, b"2"),
        leased => panic!("{leased:?}"),
    }
}

#[tokio::test]
async fn a_life_ends_by_the_servers_clock() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap();
    one.put(KEY, MINE, Fill { life: Duration::from_millis(150), ..value("1") }, BUDGET)
        .await
        .unwrap();
    // Not by the expiry of the key.
    server.command(&["PERSIST", KEY]);
    assert_eq!(found(&one).await.payload, b"1");
    until(async || one.read(KEY, AMPLE).await.unwrap() == Got::Nothing).await;
    // What is known here of its clock may be ahead of it by a few milliseconds.
    until(async || one.ask(KEY, OTHER, Seen::Nothing, AMPLE).await.unwrap() == LEASED).await;
}

#[tokio::test]
async fn a_grant_without_a_lease_of_ours_stores_nothing() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    assert!(!one.put(KEY, MINE, value("1"), BUDGET).await.unwrap());
    assert_eq!(one.read(KEY, BUDGET).await.unwrap(), Got::Nothing);
}

#[tokio::test]
async fn a_grant_that_comes_late_is_released() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    let leased = one.ask(KEY, MINE, Seen::Nothing, BUDGET).await;
    assert!(matches!(leased, Err(Error::Timeout { .. })), "{leased:?}");
    assert_eq!(server.command(&["EXISTS", KEY]), "1", "granted, and nobody knows");
    proxy.set(Mode::Pass);
    until(async || server.command(&["EXISTS", KEY]) == "0").await;
    assert_eq!(one.late_grants(), 1);
}

#[tokio::test]
async fn a_grant_whose_caller_is_gone_is_released() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    assert!(timeout(BUDGET / 5, one.ask(KEY, MINE, Seen::Nothing, BUDGET)).await.is_err());
    until(async || one.late_grants() == 1).await;
    until(async || server.command(&["EXISTS", KEY]) == "0").await;
}

#[tokio::test]
async fn a_grant_that_was_lost_with_its_connection_is_released_on_the_next() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    proxy.set(Mode::Drop);
    assert!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.is_err());
    until(async || !one.is_usable() || one.read(KEY, BUDGET).await.is_ok()).await;
    assert_eq!(server.command(&["EXISTS", KEY]), "1", "granted, and nobody knows");
    proxy.set(Mode::Pass);
    until(async || server.command(&["EXISTS", KEY]) == "0").await;
    assert_eq!(one.late_grants(), 1);
}

#[tokio::test]
async fn what_a_fill_or_a_release_could_not_give_back_is_released_on_the_next_connection() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    for is_fill in [true, false] {
        assert_eq!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
        proxy.set(Mode::Cut);
        until(async || !one.is_usable()).await;
        if is_fill {
            assert!(one.put(KEY, MINE, value("1"), BUDGET).await.is_err());
        } else {
            assert!(one.give_back(KEY, MINE).await.is_err());
        }
        assert_eq!(server.command(&["EXISTS", KEY]), "1");
        proxy.set(Mode::Pass);
        until(async || server.command(&["EXISTS", KEY]) == "0").await;
        until(async || one.read(KEY, BUDGET).await.is_ok()).await;
    }
    until(async || Arc::strong_count(&one.inner.owed) == 1).await;
}

#[tokio::test]
async fn a_tier_that_owes_can_be_dropped() {
    let mut server = RedisServer::start();
    let one = warm_tier(&server.url()).await;
    one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.unwrap();
    server.kill();
    assert!(one.give_back(KEY, MINE).await.is_err());
    let (owed, inner) = (Arc::clone(&one.inner.owed), Arc::downgrade(&one.inner));
    drop(one);
    until(async || Arc::strong_count(&owed) == 1 && inner.strong_count() == 0).await;
}

#[tokio::test]
async fn a_lease_that_reaches_the_server_late_does_nothing() {
    let server = RedisServer::start();
    let one = warm_tier(&server.url()).await;
    server.hang();
    assert!(one.ask(KEY, MINE, Seen::Nothing, BUDGET).await.is_err());
    // Longer than the budget, shorter than the connection is given up for.
    sleep(Duration::from_millis(60)).await;
    server.resume();
    until(async || one.read(KEY, BUDGET).await.is_ok()).await;
    assert_eq!(server.command(&["EXISTS", KEY]), "0");
}

#[tokio::test]
async fn a_server_with_old_data_is_outdated_once_for_all() {
    let mut server = RedisServer::start();
    let (one, two) = (tier(&server.url()).await, tier(&server.url()).await);
    store(&one, "1").await;
    server.command(&["SAVE"]);
    invalidate(&one, KEY).await.unwrap();
    server.restart();
    assert_eq!(server.command(&["EXISTS", KEY]), "1", "it came back");
    up(&one).await;
    up(&two).await;
    rejected(&one).await;
    let seen = rejected(&two).await;
    // Both have met the new server; it is outdated once.
    assert_eq!(two.ask(KEY, MINE, Seen::Rejected(seen), BUDGET).await.unwrap(), LEASED);
    assert!(two.put(KEY, MINE, value("2"), BUDGET).await.unwrap());
    assert_eq!(found(&one).await.payload, b"2");
    let stamp = server.command(&["HGET", SERVICE, "stamp"]);
    let three = tier(&server.url()).await;
    assert_eq!(found(&three).await.payload, b"2");
    assert_eq!(server.command(&["HGET", SERVICE, "stamp"]), stamp);
}

#[tokio::test]
async fn a_server_that_is_trusted_keeps_its_data() {
    let mut server = RedisServer::start();
    let trusting = TierSettings { on_restart: Policy::Trust, ..settings(&server.url()) };
    let one = RedisTier::new(trusting);
    up(&one).await;
    store(&one, "1").await;
    server.command(&["SAVE"]);
    server.restart();
    until(async || one.read(KEY, BUDGET).await.is_ok()).await;
    assert_eq!(found(&one).await.payload, b"1");
}

#[tokio::test]
async fn a_login_that_may_not_ask_for_the_server_outdates_nothing() {
    let server = RedisServer::start();
    let rights = ["~*", "&*", "+@all", "-info"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let one = tier(&server.url()).await;
    store(&one, "1").await;
    let joe = tier(&format!("redis://joe:pass@127.0.0.1:{}", server.port())).await;
    assert_eq!(found(&joe).await.payload, b"1");
    let three = tier(&server.url()).await;
    assert_eq!(found(&three).await.payload, b"1");
}

#[tokio::test]
async fn a_full_server_refuses_and_serves() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    store(&one, "1").await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(found(&one).await.payload, b"1");
    let leased = one.ask("shop:other", MINE, Seen::Nothing, BUDGET).await;
    assert!(matches!(leased, Err(Error::Refused)), "{leased:?}");
    // A process that comes new can read, too: there is nothing to write about the service.
    let two = tier(&server.url()).await;
    assert_eq!(found(&two).await.payload, b"1");
    invalidate(&one, KEY).await.unwrap();
}

#[tokio::test]
async fn everything_in_memory_is_given_back() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    for n in 0..100 {
        let key = format!("shop:{n}");
        assert_eq!(one.ask(&key, MINE, Seen::Nothing, BUDGET).await.unwrap(), LEASED);
        assert_eq!(one.ask(&key, OTHER, Seen::Nothing, BUDGET).await.unwrap(), Leased::Busy);
        one.changed(&key).await.unwrap();
        if n % 2 == 0 {
            one.put(&key, MINE, value("1"), BUDGET).await.unwrap();
        } else {
            one.give_back(&key, MINE).await.unwrap();
        }
        one.ask(&key, OTHER, Seen::Nothing, BUDGET).await.unwrap();
        one.give_back(&key, OTHER).await.unwrap();
    }
    assert!(lock(&one.inner.grants).is_empty());
    assert!(lock(&one.inner.parked).is_empty() && one.inner.ears.waiters.len() == 0);
}

fn patience(url: &str) -> TierSettings {
    TierSettings { budget: AMPLE, ..settings(url) }
}

async fn patient(url: &str) -> RedisTier {
    let tier = RedisTier::new(patience(url));
    up(&tier).await;
    tier
}

fn hold(key: &str, token: Token) -> Hold {
    Hold { key: key.to_owned(), token, tags: Vec::new() }
}

/// With a token each.
fn holds(keys: &[&str], Token(first): Token) -> Vec<Hold> {
    keys.iter().zip(first..).map(|(key, token)| hold(key, Token(token))).collect()
}

/// Ends these with a value each: its key.
fn with_values(holds: &[Hold]) -> Vec<Settlement> {
    let settlement = |hold: &Hold| Settlement { hold: hold.clone(), value: Some(value(&hold.key)) };
    holds.iter().map(settlement).collect()
}

async fn begin(tier: &RedisTier, holds: &[Hold]) {
    let answers = tier.hold(holds, Duration::from_secs(10), false).await;
    assert!(answers.len() == holds.len() && answers.iter().all(Result::is_ok), "{answers:?}");
}

async fn settle(tier: &RedisTier, settlements: Vec<Settlement>) -> Vec<bool> {
    tier.settle(settlements).await.into_iter().map(Result::unwrap).collect()
}

/// The bytes of a key.
fn raw(server: &RedisServer, key: &str) -> Option<Vec<u8>> {
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("GET").arg(key).query(&mut connection).unwrap()
}

fn exists(server: &RedisServer, key: &str) -> bool {
    server.command(&["EXISTS", key]) == "1"
}

/// How often the server was asked for this.
fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let calls = |line: &str| {
        let calls =
            line.strip_prefix("cmdstat_")?.strip_prefix(command)?.strip_prefix(":calls=")?;
        calls.split(',').next()?.parse().ok()
    };
    stats.lines().find_map(calls).unwrap_or(0)
}

const KEYS: [&str; 3] = ["shop:a", "shop:b", "shop:c"];

#[tokio::test]
async fn holds_of_several_keys_begin_and_end_with_one_request_each() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let holds = holds(&KEYS, MINE);
    let requests = || one.connection().counts().sent;
    let before = requests();
    begin(&one, &holds).await;
    for key in KEYS {
        let leased = one.ask(key, OTHER, Seen::Nothing, AMPLE).await.unwrap();
        assert_eq!(leased, Leased::Held);
    }
    let still = one.hold(&holds, Duration::from_secs(20), true).await;
    assert!(still.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(settle(&one, with_values(&holds)).await, [true; 3]);
    assert_eq!(requests() - before, 3 + 3);
    let stamp: u64 = server.command(&["HGET", SERVICE, "stamp"]).parse().unwrap();
    for key in KEYS {
        let left: u64 = server.command(&["PTTL", key]).parse().unwrap();
        assert!(left > 55_000 && left <= 60_000);
        let bytes = raw(&server, key).unwrap();
        let Decoded::Value { header, payload } = blob::decode(&bytes, 1 << 20) else {
            panic!("{bytes:?}");
        };
        assert_eq!(payload, key.as_bytes());
        // By the server's clock: the age that it had, and its life from then on.
        assert_eq!(header.fresh_until - header.created, 60_300);
        assert_eq!(
            (header.stale_until, header.servable_until),
            (header.fresh_until, header.fresh_until)
        );
        assert_eq!(*header.stamps, [stamp]);
        assert_eq!((header.token, header.fingerprint, header.cost), (None, 7, 5_000));
        let Got::Found(found) = one.read(key, AMPLE).await.unwrap() else { panic!("{key}") };
        assert_eq!(found.payload, key.as_bytes());
    }
    assert!(lock(&one.inner.grants).is_empty());
    assert!(one.hold(&[], AMPLE, false).await.is_empty() && one.settle(vec![]).await.is_empty());
}

#[tokio::test]
async fn of_two_processes_that_write_at_once_neither_stores() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let (mine, others) = (holds(&KEYS, MINE), holds(&KEYS[..1], OTHER));
    begin(&one, &mine).await;
    begin(&two, &others).await;
    assert_eq!(settle(&one, with_values(&mine)).await, [false, true, true]);
    assert_eq!(one.ask(KEYS[0], MINE, Seen::Nothing, AMPLE).await.unwrap(), Leased::Held);
    assert_eq!(settle(&two, with_values(&others)).await, [false]);
    assert_eq!(KEYS.map(|key| exists(&server, key)), [false, true, true]);
}

#[tokio::test]
async fn without_what_its_hold_has_read_a_settlement_is_an_invalidation() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let hold = [hold(KEY, MINE)];
    // Another process began it, a renewal did, and nobody.
    begin(&one, &hold).await;
    assert_eq!(settle(&two, with_values(&hold)).await, [false], "it is not stored");
    assert!(!exists(&server, KEY));
    one.hold(&hold, Duration::from_secs(10), true).await.remove(0).unwrap();
    assert_eq!(settle(&two, with_values(&hold)).await, [false]);
    assert!(!exists(&server, KEY));
    store(&one, "1").await;
    assert_eq!(settle(&two, with_values(&hold)).await, [false]);
    assert!(!exists(&server, KEY));
    // One that has no value to store was alone all the same.
    begin(&one, &hold).await;
    let [hold] = hold;
    assert_eq!(settle(&two, vec![Settlement { hold, value: None }]).await, [true]);
    assert!(!exists(&server, KEY));
}

#[tokio::test]
async fn a_value_that_is_too_large_is_an_error_and_an_invalidation() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    for key in KEYS {
        server.command(&["SET", key, "old"]);
    }
    let holds = holds(&KEYS, MINE);
    begin(&one, &holds).await;
    let mut settlements = with_values(&holds);
    settlements[1].value = Some(Fill { payload: vec![0; blob::MAX_BLOB], ..value("") });
    let answers = one.settle(settlements).await;
    assert!(
        matches!(answers[..], [Ok(true), Err(Error::TooLarge { .. }), Ok(true)]),
        "{answers:?}"
    );
    assert_eq!(KEYS.map(|key| exists(&server, key)), [true, false, true]);
    assert!(lock(&one.inner.grants).is_empty());
}

#[tokio::test]
async fn a_value_that_a_full_server_does_not_take_is_an_invalidation() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let hold = [hold(KEY, MINE)];
    begin(&one, &hold).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(settle(&one, with_values(&hold)).await, [false]);
    assert!(!exists(&server, KEY), "nobody waits for the hold to end");
}

#[tokio::test]
async fn a_renewal_on_a_full_server_is_refused_and_ends_the_hold() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let hold = [hold(KEY, MINE)];
    // Whether the server is still full when it ends.
    for is_full in [true, false] {
        begin(&one, &hold).await;
        server.command(&["CONFIG", "SET", "maxmemory", "1"]);
        let renewed = one.hold(&hold, Duration::from_secs(20), true).await.remove(0);
        assert!(matches!(renewed, Err(Error::Refused)), "{renewed:?}");
        assert!(!exists(&server, KEY), "nobody waits for the hold to end");
        if !is_full {
            server.command(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        assert_eq!(settle(&one, with_values(&hold)).await, [false]);
        assert!(!exists(&server, KEY));
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

#[tokio::test]
async fn a_hold_that_a_full_server_does_not_take_ends_that_of_another_writer() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let (first, second) = ([hold(KEY, MINE)], [hold(KEY, OTHER)]);
    begin(&one, &first).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let held = one.hold(&second, Duration::from_secs(10), false).await.remove(0);
    assert!(matches!(held, Err(Error::Refused)), "{held:?}");
    assert!(!exists(&server, KEY));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(settle(&one, with_values(&first)).await, [false]);
    assert!(!exists(&server, KEY));
}

#[tokio::test]
async fn an_invalidation_on_a_full_server_ends_the_hold_that_it_cannot_mark() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    let hold = [hold(KEY, MINE)];
    begin(&one, &hold).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    invalidate(&one, KEY).await.unwrap();
    assert!(!exists(&server, KEY));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(settle(&one, with_values(&hold)).await, [false]);
    assert!(!exists(&server, KEY));
}

#[tokio::test]
async fn the_first_of_two_settlements_on_a_full_server_ends_both_holds() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    let (first, second) = ([hold(KEY, MINE)], [hold(KEY, OTHER)]);
    begin(&one, &first).await;
    begin(&one, &second).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(settle(&one, with_values(&first)).await, [false]);
    assert!(!exists(&server, KEY));
    assert_eq!(settle(&one, with_values(&second)).await, [false]);
    assert!(!exists(&server, KEY));
}

#[tokio::test]
async fn a_server_that_does_not_know_the_scripts_is_told_them() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let holds = holds(&KEYS, MINE);
    let keys = KEYS.map(str::to_owned);
    for _ in 0..2 {
        server.command(&["SCRIPT", "FLUSH"]);
        begin(&one, &holds).await;
        server.command(&["SCRIPT", "FLUSH"]);
        let still = one.hold(&holds, Duration::from_secs(20), true).await;
        assert!(still.into_iter().all(|answer| answer.is_ok()));
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(settle(&one, with_values(&holds)).await, [true; 3]);
        server.command(&["SCRIPT", "FLUSH"]);
        assert!(one.invalidate(&keys).await.into_iter().all(|answer| answer.is_ok()));
        assert_eq!(KEYS.map(|key| exists(&server, key)), [false; 3]);
    }
}

#[tokio::test]
async fn a_clear_within_a_hold_leaves_a_value_that_nobody_reads() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let hold = [hold(KEY, MINE)];
    for clearing in [&one, &two] {
        begin(&one, &hold).await;
        clearing.clear().await.unwrap();
        // What a renewal finds is of no use to a value from before the clear.
        one.hold(&hold, Duration::from_secs(20), true).await.remove(0).unwrap();
        assert_eq!(settle(&one, with_values(&hold)).await, [true]);
        assert!(exists(&server, KEY));
        rejected(clearing).await;
        let seen = async |tier: &RedisTier| tier.read(KEY, AMPLE).await;
        until(async || matches!(seen(&one).await, Ok(Got::Rejected(_)))).await;
        until(async || matches!(seen(&two).await, Ok(Got::Rejected(_)))).await;
    }
}

#[tokio::test]
async fn a_hold_that_reaches_the_server_late_does_nothing() {
    let server = RedisServer::start();
    let one = warm_tier(&server.url()).await;
    let hold = [hold(KEY, MINE)];
    begin(&one, &hold).await;
    settle(&one, with_values(&hold)).await;
    server.hang();
    assert!(one.hold(&hold, Duration::from_secs(10), false).await.remove(0).is_err());
    sleep(Duration::from_millis(150)).await;
    server.resume();
    // The value from before is still there.
    until(async || matches!(one.read(KEY, AMPLE).await, Ok(Got::Found(_)))).await;
    assert!(lock(&one.inner.grants).is_empty());
}

#[tokio::test]
async fn of_several_keys_each_has_an_answer() {
    let server = RedisServer::start();
    let rights = ["~shop:user:*", "~shop:nothing", "~:larder:*", "&*", "+@all"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = patient(&format!("redis://joe:pass@127.0.0.1:{}", server.port())).await;
    let keys = ["shop:user:1", "shop:order:1", "shop:user:2"];
    let is_ok = |answers: Vec<Result<(), Error>>| {
        answers.iter().map(Result::is_ok).collect::<Vec<_>>() == [true, false, true]
    };
    for key in keys {
        server.command(&["SET", key, "old"]);
    }
    assert!(is_ok(joe.invalidate(&keys.map(str::to_owned)).await));
    assert_eq!(keys.map(|key| exists(&server, key)), [false, true, false]);
    let holds = holds(&keys, MINE);
    assert!(is_ok(joe.hold(&holds, Duration::from_secs(10), false).await));
    let settled = joe.settle(with_values(&holds)).await;
    assert!(matches!(settled[..], [Ok(true), Err(Error::Refused), Ok(true)]), "{settled:?}");
    assert_eq!(server.command(&["GET", keys[1]]), "old");
}

/// What a memory was told, and asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Invalidated(&'static str),
    Cleared,
    Broken,
    Now(u64),
    Proven(u64),
}

/// Each moment of its clock is another one.
#[derive(Default)]
struct Recorder {
    clock: AtomicU64,
    told: Mutex<Vec<Told>>,
}

impl Recorder {
    fn add(&self, told: Told) {
        lock(&self.told).push(told);
    }

    fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }

    /// What others have changed since this was last asked: a PING that is sent from now on
    /// proves that it is all.
    async fn changes(&self) -> Vec<Told> {
        let asked = self.clock.load(SeqCst);
        let is_later = |told: &Told| matches!(told, Told::Proven(at) if *at > asked);
        until(async || self.told().iter().any(is_later)).await;
        let mut told = std::mem::take(&mut *lock(&self.told));
        told.retain(|told| matches!(told, Told::Invalidated(_) | Told::Cleared));
        told
    }
}

impl Memory for Recorder {
    fn now(&self) -> u64 {
        let now = self.clock.fetch_add(1, SeqCst) + 1;
        self.add(Told::Now(now));
        now
    }

    fn invalidated(&self, key: &str) {
        self.add(Told::Invalidated(key.to_owned().leak()));
    }

    fn cleared(&self) {
        self.add(Told::Cleared);
    }

    fn broken(&self) {
        self.add(Told::Broken);
    }

    fn proven(&self, asked: u64) {
        self.add(Told::Proven(asked));
    }
}

/// A process whose memory is told what others change.
fn with_memory(settings: TierSettings) -> (RedisTier, Arc<Recorder>) {
    let tier = RedisTier::new(settings);
    let recorder = Arc::<Recorder>::default();
    let memory: Arc<dyn Memory> = recorder.clone();
    tier.tell(Arc::downgrade(&memory));
    (tier, recorder)
}

#[tokio::test]
async fn the_memory_of_the_others_is_told_what_changes_and_not_ones_own() {
    let server = RedisServer::start();
    let (one, own) = with_memory(patience(&server.url()));
    let (two, others) =
        with_memory(TierSettings { random: Arc::new(|| 77), ..patience(&server.url()) });
    up(&one).await;
    up(&two).await;
    let all = KEYS.map(Told::Invalidated);
    assert!(one.invalidate(&KEYS.map(str::to_owned)).await.into_iter().all(|done| done.is_ok()));
    assert_eq!(others.changes().await, all);
    let holds = holds(&KEYS, MINE);
    begin(&one, &holds).await;
    assert_eq!(others.changes().await, all, "before anything is written");
    // A hold that goes on is nothing new.
    one.hold(&holds, Duration::from_secs(10), true).await;
    assert_eq!(others.changes().await, []);
    assert_eq!(settle(&one, with_values(&holds)).await, [true; 3]);
    assert_eq!(others.changes().await, all);
    // One that was lost is.
    one.hold(&holds[..1], Duration::from_secs(10), true).await;
    assert_eq!(others.changes().await, all[..1]);
    one.clear().await.unwrap();
    assert_eq!(others.changes().await, [Told::Cleared]);
    // Who waits is woken, and nothing is invalid.
    one.ask(KEY, MINE, Seen::Nothing, AMPLE).await.unwrap();
    two.ask(KEY, OTHER, Seen::Nothing, AMPLE).await.unwrap();
    assert!(one.put(KEY, MINE, value("1"), AMPLE).await.unwrap());
    assert_eq!(others.changes().await, []);
    assert_eq!(own.changes().await, []);
}

#[tokio::test]
async fn a_memory_is_told_the_proofs_with_the_moments_at_which_they_were_asked_for() {
    let server = RedisServer::start();
    let (one, memory) = with_memory(patience(&server.url()));
    // Nothing else is asked of it.
    one.attend();
    let proofs = || memory.told().iter().filter(|told| matches!(told, Told::Proven(_))).count();
    until(async || proofs() > 3).await;
    let told = memory.told();
    let asked = told.iter().position(|told| *told == Told::Broken).unwrap();
    // Its SUBSCRIBE, and each PING after it.
    assert!(
        matches!(
            told[asked - 1..],
            [
                Told::Now(subscribe),
                Told::Broken,
                Told::Proven(subscribed),
                Told::Now(ping),
                Told::Proven(pinged),
                Told::Now(second),
                Told::Proven(twice),
                ..
            ] if subscribe == subscribed && ping == pinged && second == twice
        ),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_proof_that_takes_its_time_is_of_the_moment_at_which_it_was_asked_for() {
    let server = RedisServer::start();
    let max_staleness = Duration::from_secs(4);
    let (one, memory) = with_memory(TierSettings { max_staleness, ..patience(&server.url()) });
    up(&one).await;
    server.hang();
    let mut before = Vec::new();
    until(async || {
        before = memory.told();
        sleep(Duration::from_millis(30)).await;
        matches!(before.last(), Some(Told::Now(_))) && memory.told() == before
    })
    .await;
    let asked = memory.clock.fetch_add(1_000, SeqCst);
    server.resume();
    until(async || memory.told().len() > before.len()).await;
    assert_eq!(memory.told()[before.len()], Told::Proven(asked));
}

#[tokio::test]
async fn a_memory_is_told_of_a_break_when_it_is_noticed_and_when_it_is_over() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let (one, memory) = with_memory(patience(&proxy.url()));
    up(&one).await;
    for _ in 0..2 {
        memory.changes().await;
        proxy.set(Mode::Cut);
        let breaks = || memory.told().iter().filter(|told| **told == Told::Broken).count();
        until(async || breaks() == 1).await;
        // What another process changes now it will not hear.
        let unheard = memory.told().len();
        server.command(&["PUBLISH", SERVICE, "nobody hears it"]);
        sleep(Duration::from_millis(30)).await;
        assert!(memory.told()[unheard..].is_empty(), "nothing is proven meanwhile");
        proxy.set(Mode::Pass);
        until(async || matches!(memory.told().last(), Some(Told::Proven(_)))).await;
        let told = memory.told().split_off(unheard);
        let again = told.iter().position(|told| *told == Told::Broken).unwrap();
        let Told::Now(asked) = told[again - 1] else { panic!("{told:?}") };
        assert_eq!(told[again + 1], Told::Proven(asked), "{told:?}");
    }
}
