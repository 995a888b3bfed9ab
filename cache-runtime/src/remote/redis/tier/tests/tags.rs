//! Entries that have tags: their stamps on a real server, and what a process knows of them.

use std::any::TypeId;

use super::*;
use crate::{
    cache::Cache,
    call::{Call, Fallible, InLabel, Shape as _},
    key::{KeyBytes, KeyText, load_instance},
    remote::key_of_tag,
};

const TEAM: &[&str] = &["team:7"];
const BOTH: &[&str] = &["team:7", "users"];
const TEAM_KEY: &str = ":larder:shop:team:7";
const USERS_KEY: &str = ":larder:shop:users";

/// A process that is connected, and whose memory knows stamps for as long as nothing else is said.
struct Process {
    tier: RedisTier,
    cache: Cache,
}

/// The memory of a process that is told what others change.
struct Told(Cache);

impl Memory for Told {
    fn now(&self) -> u64 {
        Memory::now(&*self.0)
    }

    fn invalidated(&self, key: &str) {
        Memory::invalidated(&*self.0, key);
    }

    fn cleared(&self) {
        Memory::cleared(&*self.0);
    }

    fn broken(&self) {}

    fn proven(&self, _: u64) {}
}

impl Process {
    /// One that nobody tells anything.
    async fn new(url: &str) -> Self {
        // No heart beats within a test, and what is read of a service does not grow old.
        let max_staleness = Duration::from_secs(240);
        // What it says is not taken for what another one has said.
        let count = AtomicU64::new(fastrand::u64(..));
        let random = Arc::new(move || count.fetch_add(7919, SeqCst));
        // Nor is a lease given back by its end.
        let lease = Duration::from_secs(240);
        let tier = RedisTier::new(TierSettings { lease, max_staleness, random, ..patience(url) });
        up(&tier).await;
        Self { tier, cache: Cache::builder("shop").build().unwrap() }
    }

    fn tags(&self, texts: &[&str], is_strict: bool) -> Tags {
        let count = u8::try_from(texts.len()).unwrap();
        let codec = Fallible::<u8, (), InLabel>::of_loader().codec();
        let instance = load_instance(TypeId::of::<u8>(), 0, count, codec);
        let mut key = KeyBytes::of_text(KEY);
        key.tag(texts.iter().map(|text| KeyText::literal(text)).collect());
        let call = Call::given(self.cache.clone(), None, key, instance);
        if is_strict { Tags::of_run(&call) } else { Tags::of_read(&call) }
    }

    /// Whether it knows the stamps of all of these.
    fn knows(&self, texts: &[&str]) -> bool {
        self.tags(texts, false).known().is_some()
    }

    async fn try_get(&self, tags: &Tags) -> Result<Got, Error> {
        let (got, read) = self.tier.get(KEY, tags, AMPLE).await?;
        tags.learn(read);
        Ok(got)
    }

    async fn get(&self, texts: &[&str]) -> Got {
        self.try_get(&self.tags(texts, false)).await.unwrap()
    }

    /// With the stamps that stand at that moment.
    async fn get_strictly(&self, texts: &[&str]) -> Got {
        self.try_get(&self.tags(texts, true)).await.unwrap()
    }

    async fn try_lease(&self, token: Token, seen: Seen, tags: &Tags) -> Result<Leased, Error> {
        let (leased, read) = self.tier.ask_tagged(KEY, token, seen, tags, AMPLE).await?;
        tags.learn(read);
        Ok(leased)
    }

    async fn lease(&self, token: Token, seen: Seen, texts: &[&str]) -> Leased {
        self.try_lease(token, seen, &self.tags(texts, false)).await.unwrap()
    }

    async fn granted(&self, token: Token, texts: &[&str]) {
        assert_eq!(self.lease(token, Seen::Nothing, texts).await, LEASED);
    }

    async fn fill(&self, token: Token, payload: &str) -> bool {
        self.tier.put(KEY, token, value(payload), AMPLE).await.unwrap()
    }

    /// A load that finds nothing which it can use.
    async fn load(&self, texts: &[&str], payload: &str) {
        let seen = match self.get(texts).await {
            Got::Rejected(seen) => Seen::Rejected(seen),
            Got::Nothing => Seen::Nothing,
            got => panic!("{got:?}"),
        };
        assert_eq!(self.lease(MINE, seen, texts).await, LEASED);
        assert!(self.fill(MINE, payload).await);
    }

    /// As a writer does: its own memory first, and again when it has landed.
    async fn bump(&self, tag: &str) {
        self.cache.invalidate_tag(tag).await.unwrap();
        let key = key_of_tag("shop", &self.cache.flights.name_tag(KeyText::literal(tag)));
        invalidate(&self.tier, &key).await.unwrap();
        self.cache.invalidate_tag(tag).await.unwrap();
    }
}

#[track_caller]
fn assert_found(got: Got, payload: &str) {
    match got {
        Got::Found(found) => assert_eq!(found.payload, payload.as_bytes()),
        got => panic!("{got:?} and not {payload}"),
    }
}

#[track_caller]
fn assert_rejected(got: &Got) {
    assert!(matches!(got, Got::Rejected(_)), "{got:?}");
}

#[track_caller]
fn assert_granted(leased: &Leased) {
    assert!(matches!(leased, Leased::Granted { .. }), "{leased:?}");
}

/// What the server has of a tag.
fn stamp(server: &RedisServer, key: &str) -> u64 {
    server.command(&["GET", key]).parse().unwrap()
}

/// The stamps of the value that stands there.
fn stamps_of_value(server: &RedisServer) -> Vec<u64> {
    let bytes = raw(server, KEY).unwrap();
    let Decoded::Value { header, .. } = blob::decode(&bytes, 1 << 20) else {
        panic!("{bytes:?}");
    };
    assert_eq!(header.tagged, header.stamps.len() > 1);
    header.stamps.to_vec()
}

#[tokio::test]
async fn a_value_carries_the_stamps_that_were_read_with_its_lease() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    let before: u64 = server.command(&["TIME"]).lines().next().unwrap().parse().unwrap();
    one.granted(MINE, BOTH).await;
    let service: u64 = server.command(&["HGET", SERVICE, "stamp"]).parse().unwrap();
    let read = vec![service, stamp(&server, TEAM_KEY), stamp(&server, USERS_KEY)];
    assert!(read[1] >= before * 1_000_000 && read[2] >= read[1]);
    // Whatever comes in between.
    server.command(&["DEL", TEAM_KEY]);
    server.command(&["SET", USERS_KEY, "42"]);
    assert!(!one.fill(MINE, "1").await, "it is stored, and outdated");
    assert_eq!(stamps_of_value(&server), read);
    // Of one that stands and one that is lost.
    one.cache.invalidate_tag("users").await.unwrap();
    one.load(BOTH, "2").await;
    let made = stamp(&server, TEAM_KEY);
    assert!(made > read[1]);
    assert_eq!(stamps_of_value(&server), [service, made, 42]);
    assert!(lock(&one.tier.inner.grants).is_empty());
}

#[tokio::test]
async fn a_read_with_known_stamps_is_one_get_and_with_others_one_pipeline() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.load(BOTH, "1").await;
    let counts = |process: &Process| {
        let sent = process.tier.connection().counts().sent;
        [sent, calls(&server, "get"), calls(&server, "mget"), calls(&server, "hget")]
    };
    let expected = [
        // Its lease has told it the stamps.
        (&one, BOTH, false, [1, 1, 0, 0]),
        (&two, BOTH, false, [1, 1, 1, 1]),
        // By now it knows them.
        (&two, BOTH, false, [1, 1, 0, 0]),
        (&two, BOTH, true, [1, 1, 1, 1]),
        (&one, BOTH, true, [1, 1, 1, 1]),
    ];
    for (number, (process, texts, is_strict, cost)) in expected.into_iter().enumerate() {
        let before = counts(process);
        assert_found(process.try_get(&process.tags(texts, is_strict)).await.unwrap(), "1");
        let after = counts(process);
        assert_eq!([0, 1, 2, 3].map(|at| after[at] - before[at]), cost, "{number}");
    }
    // A slot that has moved, whatever moved it.
    two.cache.invalidate_tag("users").await.unwrap();
    assert!(!two.knows(BOTH));
    let before = counts(&two);
    assert_found(two.get(BOTH).await, "1");
    assert_eq!(counts(&two)[2] - before[2], 1);
}

#[tokio::test]
async fn a_value_that_is_newer_than_a_known_stamp_is_found_and_not_replaced() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.load(TEAM, "old").await;
    assert_found(two.get(TEAM).await, "old");
    // Nobody tells the other one.
    one.bump("team:7").await;
    one.load(TEAM, "new").await;
    let (bytes, reads) = (raw(&server, KEY), calls(&server, "mget"));
    assert!(two.knows(TEAM));
    assert_found(two.get(TEAM).await, "new");
    assert_eq!(calls(&server, "mget") - reads, 1, "the stamps are read before it is rejected");
    assert_eq!(raw(&server, KEY), bytes);
    assert_found(two.get(TEAM).await, "new");
    assert_eq!(calls(&server, "mget") - reads, 1, "and are known from then on");
    match two.lease(OTHER, Seen::Nothing, TEAM).await {
        Leased::Found(found) => assert_eq!(found.payload, b"new"),
        leased => panic!("{leased:?}"),
    }
    assert_eq!(raw(&server, KEY), bytes);
}

#[tokio::test]
async fn a_value_that_is_older_than_its_tag_is_rejected_once_the_stamps_are_read() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.load(TEAM, "old").await;
    one.bump("team:7").await;
    assert_rejected(&two.get(TEAM).await);
    assert_rejected(&one.get(TEAM).await);
    // Another entry of the tag has it seeded.
    let tags = one.tags(TEAM, false);
    let (leased, read) =
        one.tier.ask_tagged("shop:other", OTHER, Seen::Nothing, &tags, AMPLE).await.unwrap();
    tags.learn(read);
    assert_eq!(leased, LEASED);
    let reads = calls(&server, "mget");
    assert!(one.knows(TEAM));
    let Got::Rejected(seen) = one.get(TEAM).await else { panic!("an old value is found") };
    assert_eq!(calls(&server, "mget") - reads, 1);
    // LEASE does not take it for one either, and replaces it whether or not it was seen.
    for (token, seen) in [(MINE, Seen::Nothing), (OTHER, Seen::Rejected(seen))] {
        let old = raw(&server, KEY).unwrap();
        assert_eq!(two.lease(token, seen, TEAM).await, LEASED);
        assert!(two.tier.give_back(KEY, token).await.unwrap());
        let text = String::from_utf8_lossy(&old).into_owned();
        assert!(text.ends_with("old"));
        let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        redis::cmd("SET").arg(KEY).arg(old).arg("PX").arg(60_000).exec(&mut connection).unwrap();
    }
}

#[tokio::test]
async fn a_value_with_fewer_more_or_other_stamps_is_rejected() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let sets: [&[&str]; 5] = [&[], TEAM, &["users"], BOTH, &["users", "team:7"]];
    let tags = |process: &Process, texts: &[&str]| match texts {
        [] => Tags::NONE,
        texts => process.tags(texts, false),
    };
    for stored in sets {
        server.command(&["DEL", KEY]);
        let leased = one.try_lease(MINE, Seen::Nothing, &tags(&one, stored)).await.unwrap();
        assert_eq!(leased, LEASED);
        assert!(one.fill(MINE, "1").await);
        assert_eq!(stamps_of_value(&server).len(), 1 + stored.len());
        // With stamps that are not known at first, and with known ones.
        for read in sets.into_iter().chain(sets) {
            let got = two.try_get(&tags(&two, read)).await.unwrap();
            if read == stored {
                assert_found(got, "1");
            } else {
                assert_rejected(&got);
            }
        }
        two.cache.clear().await.unwrap();
    }
    // A deploy with other tags replaces what it cannot use.
    let leased = two.lease(OTHER, Seen::Nothing, TEAM).await;
    assert_eq!(leased, LEASED);
}

#[tokio::test]
async fn what_is_filled_after_its_tag_was_bumped_is_never_found() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let memory: Arc<dyn Memory> = Arc::new(Told(one.cache.clone()));
    one.tier.tell(Arc::downgrade(&memory));
    for (bumped, texts) in [("team:7", TEAM), ("team:7", BOTH), ("users", BOTH)] {
        one.granted(MINE, texts).await;
        assert!(one.knows(texts));
        two.bump(bumped).await;
        assert!(!one.fill(MINE, "old").await, "it is stored, and outdated");
        until(async || !one.knows(texts)).await;
        let three = Process::new(&server.url()).await;
        // Also when the tag has another stamp by then, which a load of another entry has made.
        for is_seeded in [false, true] {
            if is_seeded {
                let tags = three.tags(texts, false);
                let lease = three.tier.ask_tagged("shop:other", OTHER, Seen::Nothing, &tags, AMPLE);
                assert_eq!(lease.await.unwrap().0, LEASED);
                assert!(three.tier.give_back("shop:other", OTHER).await.unwrap());
            }
            for process in [&one, &two, &three] {
                assert_rejected(&process.get(texts).await);
            }
        }
        two.load(texts, "new").await;
        for process in [&one, &two, &three] {
            assert_found(process.get(texts).await, "new");
        }
        server.command(&["DEL", KEY]);
    }
}

#[tokio::test]
async fn a_run_that_began_after_the_bump_is_found() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    // It knows the stamp from before, and stores what it makes with the one that stands.
    one.load(TEAM, "old").await;
    two.bump("team:7").await;
    assert!(one.knows(TEAM));
    let Got::Rejected(seen) = two.get(TEAM).await else { panic!("an old value is found") };
    assert_eq!(one.lease(MINE, Seen::Rejected(seen), TEAM).await, LEASED);
    assert!(one.fill(MINE, "new").await);
    for process in [&one, &two] {
        assert_found(process.get(TEAM).await, "new");
    }
}

/// A hold of a tag.
async fn hold_tag(process: &Process, key: &str) -> Vec<Hold> {
    let holds = vec![hold(key, OTHER)];
    begin(&process.tier, &holds).await;
    holds
}

fn without_value(holds: Vec<Hold>) -> Vec<Settlement> {
    holds.into_iter().map(|hold| Settlement { hold, value: None }).collect()
}

#[tokio::test]
async fn a_hold_whose_writer_died_ends_by_itself_though_a_fill_has_kept_the_key_for_longer() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.granted(MINE, TEAM).await;
    let term = Duration::from_millis(300);
    two.tier.hold(&[hold(TEAM_KEY, OTHER)], term, false).await.remove(0).unwrap();
    assert!(!one.fill(MINE, "old").await);
    let left: u64 = server.command(&["PTTL", TEAM_KEY]).parse().unwrap();
    assert!(left > 60 * 60 * 1000, "the key is kept as a stamp would be");
    until(async || {
        let seen = match one.get_strictly(TEAM).await {
            Got::Rejected(seen) => Seen::Rejected(seen),
            _ => Seen::Nothing,
        };
        let leased = one.lease(MINE, seen, TEAM).await;
        leased == LEASED && one.fill(MINE, "new").await
    })
    .await;
    assert_found(two.get(TEAM).await, "new");
}

#[tokio::test]
async fn while_a_tag_is_held_its_entries_are_and_the_lease_is_given_back() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.load(BOTH, "old").await;
    for held in [TEAM_KEY, USERS_KEY] {
        let holds = hold_tag(&two, held).await;
        let Got::Rejected(seen) = one.get_strictly(BOTH).await else {
            panic!("found though its tag is held")
        };
        for seen in [Seen::Rejected(seen), Seen::Nothing, Seen::Refresh] {
            assert_eq!(one.lease(MINE, seen, BOTH).await, Leased::Held);
            until(async || !exists(&server, KEY)).await;
            assert!(!one.fill(MINE, "2").await);
        }
        // A bump by somebody else does not end it.
        one.bump("team:7").await;
        one.bump("users").await;
        assert_eq!(one.lease(MINE, Seen::Nothing, BOTH).await, Leased::Held);
        assert_eq!(settle(&two.tier, without_value(holds)).await, [false]);
        until(async || !exists(&server, KEY)).await;
        one.load(BOTH, "new").await;
        assert_found(two.get(BOTH).await, "new");
    }
    assert!(lock(&one.tier.inner.grants).is_empty());
    assert_eq!(one.tier.late_grants(), 0, "its caller has waited for the answer");
}

#[tokio::test]
async fn a_process_that_waits_is_woken_when_a_lease_is_given_back_for_the_sake_of_a_held_tag() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.granted(MINE, TEAM).await;
    let holds = hold_tag(&two, TEAM_KEY).await;
    assert_eq!(two.lease(OTHER, Seen::Nothing, TEAM).await, Leased::Busy);
    // Its own token is renewed, and then the tag is found to be held.
    assert_eq!(one.lease(MINE, Seen::Nothing, TEAM).await, Leased::Held);
    let mut changes = Vec::new();
    while changes.last() != Some(&Reason::Woken) {
        changes.push(two.tier.changed(KEY).await.unwrap());
        assert!(changes.len() < 100, "{changes:?}");
    }
    settle(&two.tier, without_value(holds)).await;
}

/// A process behind a proxy, on a server that knows its scripts, and where nothing has a stamp yet.
async fn behind_proxy(server: &RedisServer) -> (Process, Proxy) {
    let proxy = Proxy::before(server.port());
    let one = Process::new(&proxy.url()).await;
    one.load(BOTH, "1").await;
    server.command(&["DEL", KEY, TEAM_KEY, USERS_KEY]);
    one.cache.clear().await.unwrap();
    (one, proxy)
}

/// What an answer takes where something is to come before it.
const LATE: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_tag_that_is_first_found_to_be_held_when_its_stamp_is_made_gives_the_lease_back() {
    let server = RedisServer::start();
    let two = Process::new(&server.url()).await;
    let (one, proxy) = behind_proxy(&server).await;
    let reads = calls(&server, "mget");
    proxy.set(Mode::Delay(LATE));
    let held = async {
        // Its lease has been granted, and the stamps were read.
        until(async || calls(&server, "mget") > reads).await;
        assert!(exists(&server, KEY));
        let holds = hold_tag(&two, USERS_KEY).await;
        proxy.set(Mode::Pass);
        holds
    };
    let (leased, holds) = tokio::join!(one.lease(MINE, Seen::Nothing, BOTH), held);
    assert_eq!(leased, Leased::Held);
    until(async || !exists(&server, KEY)).await;
    assert!(lock(&one.tier.inner.grants).is_empty());
    settle(&two.tier, without_value(holds)).await;
    one.load(BOTH, "1").await;
}

#[tokio::test]
async fn a_caller_that_is_gone_before_the_stamps_are_made_gives_the_lease_back() {
    let server = RedisServer::start();
    let (one, proxy) = behind_proxy(&server).await;
    proxy.set(Mode::Delay(LATE));
    let lease = one.lease(MINE, Seen::Nothing, BOTH);
    // Of both commands the answer is on its way: to LEASE it has come, for SEED was sent.
    let seeded = until(async || exists(&server, USERS_KEY));
    match race(std::pin::pin!(lease), std::pin::pin!(seeded)).await {
        Either::First(leased) => panic!("{leased:?}"),
        Either::Second(_) => {}
    }
    proxy.set(Mode::Pass);
    until(async || !exists(&server, KEY)).await;
    assert!(lock(&one.tier.inner.grants).is_empty());
    one.load(BOTH, "1").await;
}

#[tokio::test]
async fn a_server_that_does_not_know_how_to_make_a_stamp_is_told() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    for _ in 0..2 {
        server.command(&["SCRIPT", "FLUSH"]);
        server.command(&["DEL", KEY, TEAM_KEY]);
        one.cache.clear().await.unwrap();
        one.load(BOTH, "1").await;
        assert_found(one.get_strictly(BOTH).await, "1");
    }
}

#[tokio::test]
async fn a_fill_says_that_its_tag_was_bumped_meanwhile() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let bumps: [(Option<&[&str]>, bool); 5] = [
        (None, true),
        (Some(&["DEL", TEAM_KEY]), false),
        (Some(&["DEL", USERS_KEY]), false),
        (Some(&["DEL", ":larder:shop:team:8"]), true),
        (Some(&["SET", USERS_KEY, "42"]), false),
    ];
    for (command, is_current) in bumps {
        let strict = one.tags(BOTH, true);
        let seen = match one.get_strictly(BOTH).await {
            Got::Rejected(seen) => Seen::Rejected(seen),
            _ => Seen::Refresh,
        };
        assert_granted(&one.try_lease(MINE, seen, &strict).await.unwrap());
        if let Some(command) = command {
            server.command(command);
        }
        assert_eq!(one.fill(MINE, "1").await, is_current, "{command:?}");
        assert_eq!(matches!(two.get_strictly(BOTH).await, Got::Found(_)), is_current);
    }
    // By a real bump, and by one that has made another stamp.
    for is_seeded in [false, true] {
        let strict = one.tags(BOTH, true);
        assert_granted(&one.try_lease(MINE, Seen::Refresh, &strict).await.unwrap());
        two.bump("users").await;
        if is_seeded {
            let lease = two.tier.ask_tagged("shop:other", OTHER, Seen::Nothing, &strict, AMPLE);
            lease.await.unwrap();
        }
        assert!(!one.fill(MINE, "1").await);
        assert_rejected(&two.get_strictly(BOTH).await);
    }
}

#[tokio::test]
async fn a_stamp_is_kept_as_long_as_what_carries_it_and_that_is_seen_to_once() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let day = Duration::from_secs(24 * 60 * 60);
    let left = |key: &str| {
        let left: u64 = server.command(&["PTTL", key]).parse().unwrap();
        Duration::from_millis(left)
    };
    let is_about = |left: Duration, days: u32| left <= day * days && left > day * (days - 1);
    let fill = async |process: &Process, life: Duration| {
        let seen = match process.get(BOTH).await {
            Got::Rejected(seen) => Seen::Rejected(seen),
            _ => Seen::Refresh,
        };
        assert_granted(&process.lease(MINE, seen, BOTH).await);
        // As if it had been seeded long ago.
        server.command(&["PEXPIRE", TEAM_KEY, "5000"]);
        let before = calls(&server, "pexpire");
        let fill = process.tier.put(KEY, MINE, Fill { life, ..value("1") }, AMPLE);
        assert!(fill.await.unwrap());
        calls(&server, "pexpire") - before
    };
    assert_eq!(fill(&one, day).await, 2, "the first one asks for both tags");
    assert!(is_about(left(TEAM_KEY), 30) && is_about(left(USERS_KEY), 30));
    assert_eq!(fill(&one, day).await, 0);
    assert_eq!(fill(&one, day).await, 0);
    // Another process does not know that.
    assert_eq!(fill(&two, day).await, 2);
    assert!(is_about(left(TEAM_KEY), 30));
    // Nor was it enough for what lives longer, which is kept a while longer than that.
    assert_eq!(fill(&one, 100 * day).await, 2);
    assert!(is_about(left(TEAM_KEY), 200) && is_about(left(USERS_KEY), 200));
    assert_eq!(fill(&one, 100 * day).await, 0);
    // What is kept longer is not made shorter.
    two.bump("team:7").await;
    two.cache.clear().await.unwrap();
    assert_eq!(fill(&two, day).await, 1, "of the new stamp nothing is known");
    assert!(is_about(left(TEAM_KEY), 30) && is_about(left(USERS_KEY), 200));
}

#[tokio::test]
async fn a_login_that_may_not_read_stamps_is_refused_and_gives_the_lease_back() {
    let server = RedisServer::start();
    let two = Process::new(&server.url()).await;
    two.load(BOTH, "1").await;
    let rights = ["~*", "&*", "+@all", "-mget"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = Process::new(&format!("redis://joe:pass@127.0.0.1:{}", server.port())).await;
    for is_strict in [false, true] {
        let tags = joe.tags(BOTH, is_strict);
        let got = joe.try_get(&tags).await;
        assert!(matches!(got, Err(Error::Refused)), "{got:?}");
        for seen in [Seen::Nothing, Seen::Refresh] {
            let leased = joe.try_lease(MINE, seen, &tags).await;
            assert!(matches!(leased, Err(Error::Refused)), "{leased:?}");
        }
    }
    assert!(!joe.fill(MINE, "2").await);
    // Whoever may is not kept from it.
    server.command(&["DEL", KEY]);
    let leased = joe.try_lease(MINE, Seen::Nothing, &joe.tags(BOTH, false)).await;
    assert!(matches!(leased, Err(Error::Refused)), "{leased:?}");
    until(async || !exists(&server, KEY)).await;
    two.load(BOTH, "2").await;
    // A bump needs no stamp.
    joe.bump("users").await;
    assert_rejected(&two.get_strictly(BOTH).await);
    assert!(lock(&joe.tier.inner.grants).is_empty());
}

#[tokio::test]
async fn a_full_server_takes_a_bump_and_makes_no_stamp() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    one.load(TEAM, "1").await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_found(one.get_strictly(TEAM).await, "1");
    one.bump("team:7").await;
    assert_rejected(&one.get(TEAM).await);
    let leased = one.try_lease(MINE, Seen::Refresh, &one.tags(TEAM, false)).await;
    assert!(matches!(leased, Err(Error::Refused)), "{leased:?}");
    assert!(!exists(&server, TEAM_KEY));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    one.load(TEAM, "2").await;
}

/// What may become of a stamp, by something that is no bump.
const LOSSES: [&[&str]; 7] = [
    &["DEL", USERS_KEY],
    &["PEXPIRE", USERS_KEY, "0"],
    &["RENAME", USERS_KEY, "elsewhere"],
    &["SET", USERS_KEY, "of another program"],
    &["SET", USERS_KEY, ""],
    &["SET", USERS_KEY, "42"],
    &["LPUSH", "a list", "1"],
];

#[tokio::test]
async fn a_stamp_that_is_lost_or_that_another_program_has_written_over_is_a_miss() {
    let server = RedisServer::start();
    for loss in LOSSES {
        server.command(&["FLUSHALL"]);
        let one = Process::new(&server.url()).await;
        one.load(BOTH, "1").await;
        server.command(loss);
        if loss[0] == "LPUSH" {
            server.command(&["RENAME", "a list", USERS_KEY]);
        }
        let two = Process::new(&server.url()).await;
        assert_rejected(&two.get(BOTH).await);
        assert_rejected(&one.get_strictly(BOTH).await);
        // And is not one for ever.
        two.load(BOTH, "2").await;
        assert_found(one.get(BOTH).await, "2");
        assert_found(two.get(BOTH).await, "2");
    }
}

#[tokio::test]
async fn a_value_that_is_put_back_after_a_flush_is_a_miss() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    one.load(BOTH, "old").await;
    let old = raw(&server, KEY).unwrap();
    server.command(&["FLUSHALL"]);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut put_back = || {
        redis::cmd("SET").arg(KEY).arg(&old).arg("PX").arg(60_000).exec(&mut connection).unwrap();
    };
    put_back();
    assert_rejected(&one.get_strictly(BOTH).await);
    let two = Process::new(&server.url()).await;
    assert_rejected(&two.get(BOTH).await);
    two.load(BOTH, "new").await;
    put_back();
    assert_rejected(&two.get(BOTH).await);
}

#[tokio::test]
async fn a_server_with_old_data_does_not_revive_what_a_bump_has_outdated() {
    let mut server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    one.load(BOTH, "old").await;
    assert_found(two.get(BOTH).await, "old");
    let before = (raw(&server, KEY), stamp(&server, USERS_KEY));
    server.command(&["SAVE"]);
    one.bump("users").await;
    one.load(BOTH, "new").await;
    server.restart();
    assert_eq!((raw(&server, KEY), stamp(&server, USERS_KEY)), before, "it came back");
    let three = Process::new(&server.url()).await;
    for process in [&one, &two, &three] {
        up(&process.tier).await;
        assert_rejected(&process.get(BOTH).await);
        assert_rejected(&process.get_strictly(BOTH).await);
    }
    two.load(BOTH, "new").await;
    for process in [&one, &two, &three] {
        assert_found(process.get(BOTH).await, "new");
    }
}

#[tokio::test]
async fn a_stamp_is_not_known_if_its_slot_has_moved_since_it_was_asked_for() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    one.load(BOTH, "1").await;
    one.cache.clear().await.unwrap();
    let tags = one.tags(BOTH, false);
    let (got, read) = one.tier.get(KEY, &tags, AMPLE).await.unwrap();
    assert_found(got, "1");
    // A message, or a bump of this process, comes before the answer.
    one.cache.invalidate_tag("users").await.unwrap();
    tags.learn(read);
    assert!(!one.knows(BOTH));
    // Nor is it by an answer that was asked for before, and comes behind one from after it.
    one.get(BOTH).await;
    assert!(one.knows(BOTH));
    let known = one.tags(BOTH, false).known().map(<[_]>::to_vec);
    let late = one.tags(BOTH, true);
    assert_eq!(late.keys().len(), 2, "they are asked for");
    one.cache.invalidate_tag("users").await.unwrap();
    late.learn(Some(vec![1, 2]));
    one.get(BOTH).await;
    assert_eq!(one.tags(BOTH, false).known().map(<[_]>::to_vec).unwrap()[1], known.unwrap()[1]);
}

#[tokio::test]
async fn a_message_takes_a_stamp_out_of_what_a_process_knows() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let memory: Arc<dyn Memory> = Arc::new(Told(one.cache.clone()));
    one.tier.tell(Arc::downgrade(&memory));
    one.load(BOTH, "old").await;
    two.bump("users").await;
    until(async || !one.knows(BOTH)).await;
    assert_rejected(&one.get(BOTH).await);
    // One of a hold does so as well, and one of its end.
    one.load(BOTH, "new").await;
    assert!(one.knows(BOTH));
    let holds = hold_tag(&two, TEAM_KEY).await;
    until(async || !one.knows(BOTH)).await;
    assert_rejected(&one.get(BOTH).await);
    assert!(!one.knows(BOTH), "a tag that is held has no stamp");
    settle(&two.tier, without_value(holds)).await;
    assert_rejected(&one.get(BOTH).await);
    // Of another service, or of a key that has the same text, it does not.
    one.load(BOTH, "new").await;
    assert_rejected(&one.get(&["users"]).await);
    assert!(one.knows(&["users"]));
    for key in [":larder:shopping:users", "shop:users", ":larder:shop"] {
        invalidate(&two.tier, key).await.unwrap();
    }
    two.bump("team:7").await;
    until(async || !one.knows(BOTH)).await;
    assert!(one.knows(&["users"]), "all messages before that one have been heard");
}

/// A hold of the entry that is to carry these stamps.
fn tagged_hold(tags: &[&str]) -> [Hold; 1] {
    [Hold { tags: tags.iter().map(ToString::to_string).collect(), ..hold(KEY, MINE) }]
}

#[tokio::test]
async fn a_value_of_a_writer_carries_the_stamps_that_were_read_with_its_hold() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let holds = tagged_hold(&[TEAM_KEY, USERS_KEY]);
    begin(&one.tier, &holds).await;
    let (team, users) = (stamp(&server, TEAM_KEY), stamp(&server, USERS_KEY));
    assert_eq!(settle(&one.tier, with_values(&holds)).await, [true]);
    assert_eq!(stamps_of_value(&server)[1..], [team, users]);
    assert_found(two.get(BOTH).await, KEY);
    // A bump within the hold outdates what it stores.
    for key in [TEAM_KEY, USERS_KEY] {
        begin(&one.tier, &holds).await;
        invalidate(&two.tier, key).await.unwrap();
        one.tier.hold(&holds, Duration::from_secs(20), true).await.remove(0).unwrap();
        assert_eq!(settle(&one.tier, with_values(&holds)).await, [true]);
        assert_rejected(&two.get_strictly(BOTH).await);
    }
    assert!(lock(&one.tier.inner.grants).is_empty());
}

#[tokio::test]
async fn a_value_of_a_writer_whose_tag_was_held_is_not_stored() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    for key in [TEAM_KEY, USERS_KEY] {
        let held = hold_tag(&two, key).await;
        let holds = tagged_hold(&[TEAM_KEY, USERS_KEY]);
        begin(&one.tier, &holds).await;
        settle(&two.tier, without_value(held)).await;
        assert_eq!(settle(&one.tier, with_values(&holds)).await, [false]);
        assert!(!exists(&server, KEY), "and nobody waits for its hold to end");
    }
}

#[tokio::test]
async fn of_several_holds_each_value_has_the_stamps_of_its_own_tags() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    let tags: [&[&str]; 3] = [&[TEAM_KEY], &[], &[USERS_KEY, TEAM_KEY]];
    let holds: Vec<_> = holds(&KEYS, MINE)
        .into_iter()
        .zip(tags)
        .map(|(hold, tags)| Hold { tags: tags.iter().map(ToString::to_string).collect(), ..hold })
        .collect();
    begin(&one.tier, &holds).await;
    let service: u64 = server.command(&["HGET", SERVICE, "stamp"]).parse().unwrap();
    let [team, users] = [TEAM_KEY, USERS_KEY].map(|key| stamp(&server, key));
    assert_eq!(settle(&one.tier, with_values(&holds)).await, [true; 3]);
    for (key, expected) in KEYS.iter().zip([&[team][..], &[], &[users, team]]) {
        let bytes = raw(&server, key).unwrap();
        let Decoded::Value { header, .. } = blob::decode(&bytes, 1 << 20) else {
            panic!("{bytes:?}");
        };
        assert_eq!(header.stamps.to_vec(), [&[service], expected].concat());
    }
}

#[tokio::test]
async fn a_release_says_that_a_tag_was_bumped_meanwhile() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let release = async |pause: Duration| {
        one.tier.release(vec![lease(KEY, MINE)], pause).await.remove(0).unwrap()
    };
    for pause in [Duration::ZERO, Duration::from_secs(1)] {
        one.load(BOTH, "1").await;
        for (bumped, is_current) in [(None, true), (Some("team:8"), true), (Some("users"), false)] {
            let requests = one.tier.connection().counts().sent;
            assert_granted(&one.lease(MINE, Seen::Refresh, BOTH).await);
            if let Some(bumped) = bumped {
                two.bump(bumped).await;
            }
            assert_eq!(release(pause).await, is_current, "{bumped:?}");
            assert_eq!(one.tier.connection().counts().sent - requests, 2);
            assert!(exists(&server, KEY), "its token stood, and the value stays");
            assert!(!release(pause).await, "it was given back");
        }
        // Also when the tag has another stamp by then.
        one.cache.clear().await.unwrap();
        one.load(BOTH, "2").await;
        assert_granted(&one.lease(MINE, Seen::Refresh, BOTH).await);
        server.command(&["SET", USERS_KEY, "42"]);
        assert!(!release(pause).await);
        server.command(&["DEL", KEY]);
        one.cache.clear().await.unwrap();
    }
    assert!(lock(&one.tier.inner.grants).is_empty());
}

/// Entries of a list, and their tags.
const LIST: [(&str, &[&str]); 4] =
    [("shop:a", TEAM), ("shop:b", BOTH), ("shop:c", &[]), ("shop:d", &["users"])];

impl Process {
    fn tags_of(&self, texts: &[&str], is_strict: bool) -> Tags {
        if texts.is_empty() { Tags::NONE } else { self.tags(texts, is_strict) }
    }

    /// What a read of the list finds; strictly of the entries that are named.
    async fn read_list(&self, strictly: &[&str]) -> Vec<Result<Got, Error>> {
        let read = |(key, texts): (&str, &[&str])| ReadOf {
            key: key.to_owned(),
            tags: self.tags_of(texts, strictly.contains(&key)),
        };
        let reads: Vec<_> = LIST.into_iter().map(read).collect();
        let tags: Vec<_> = reads.iter().map(|read| read.tags.clone()).collect();
        let mut answers = Vec::new();
        for (answer, tags) in self.tier.get_all(reads, AMPLE).await.into_iter().zip(tags) {
            answers.push(answer.map(|(got, read)| {
                tags.learn(read);
                got
            }));
        }
        answers
    }

    async fn lease_list(&self, seen: &Seen) -> Vec<Result<Leased, Error>> {
        let ask = |(key, texts): (&str, &[&str])| Ask {
            lease: lease(key, token(key)),
            seen: seen.clone(),
            tags: self.tags_of(texts, false),
        };
        let asks: Vec<_> = LIST.into_iter().map(ask).collect();
        let tags: Vec<_> = asks.iter().map(|ask| ask.tags.clone()).collect();
        let mut answers = Vec::new();
        for (answer, tags) in self.tier.lease(asks, AMPLE).await.into_iter().zip(tags) {
            answers.push(answer.map(|(leased, read)| {
                tags.learn(read);
                leased
            }));
        }
        answers
    }

    async fn fill_list(&self, payload: &str) -> Vec<bool> {
        let fills = leases().into_iter().map(|lease| (lease, value(payload))).collect();
        self.tier.fill(fills, AMPLE).await.into_iter().map(Result::unwrap).collect()
    }
}

fn token(key: &str) -> Token {
    Token(u128::from(key.as_bytes()[5]))
}

fn leases() -> Vec<Lease> {
    LIST.into_iter().map(|(key, _)| lease(key, token(key))).collect()
}

fn granted(answers: Vec<Result<Leased, Error>>) {
    for answer in answers {
        assert_granted(&answer.unwrap());
    }
}

/// Which of a list were found, and with what.
fn payloads(answers: Vec<Result<Got, Error>>) -> Vec<Option<String>> {
    let payload = |answer: Result<Got, Error>| match answer.unwrap() {
        Got::Found(found) => Some(String::from_utf8(found.payload.to_vec()).unwrap()),
        _ => None,
    };
    answers.into_iter().map(payload).collect()
}

fn all_of(payload: &str) -> Vec<Option<String>> {
    vec![Some(payload.to_owned()); LIST.len()]
}

#[tokio::test]
async fn the_stamps_of_a_list_are_read_once_and_only_if_they_are_not_known() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    granted(one.lease_list(&Seen::Nothing).await);
    assert_eq!(one.fill_list("1").await, [true; 4]);
    let cost = async |process: &Process, strictly: &[&str], payload: &str| {
        let counts = || {
            let sent = process.tier.connection().counts().sent;
            [sent, calls(&server, "mget"), calls(&server, "hget"), calls(&server, "get")]
        };
        let before = counts();
        assert_eq!(payloads(process.read_list(strictly).await), all_of(payload));
        let after = counts();
        [0, 1, 2, 3].map(|at| after[at] - before[at])
    };
    // Its leases have told the stamps to the one; the other reads them, and knows them then.
    assert_eq!(cost(&one, &[], "1").await, [1, 1, 0, 0]);
    assert_eq!(cost(&two, &[], "1").await, [1, 2, 1, 0]);
    assert_eq!(cost(&two, &[], "1").await, [1, 1, 0, 0]);
    assert_eq!(cost(&two, &["shop:b"], "1").await, [1, 2, 1, 0]);
    // What one process knows may be older than the values: two of them are asked for once more.
    one.bump("team:7").await;
    assert_eq!(payloads(one.read_list(&[]).await)[..2], [None, None]);
    granted(one.lease_list(&Seen::Refresh).await);
    assert_eq!(one.fill_list("2").await, [true; 4]);
    assert_eq!(cost(&two, &[], "2").await, [2, 2, 1, 0]);
    assert_eq!(cost(&two, &[], "2").await, [1, 1, 0, 0]);
    // So are those that are read beside one whose stamps are not known.
    one.bump("users").await;
    granted(one.lease_list(&Seen::Refresh).await);
    assert_eq!(one.fill_list("3").await, [true; 4]);
    assert_eq!(cost(&two, &["shop:a"], "3").await, [2, 3, 2, 0]);
}

#[tokio::test]
async fn the_stamps_that_a_list_lacks_are_made_once_and_each_value_carries_its_own() {
    let server = RedisServer::start();
    let one = Process::new(&server.url()).await;
    one.load(BOTH, "1").await;
    server.command(&["DEL", TEAM_KEY, USERS_KEY]);
    let (requests, scripts) = (one.tier.connection().counts().sent, calls(&server, "evalsha"));
    granted(one.lease_list(&Seen::Nothing).await);
    assert_eq!(one.tier.connection().counts().sent - requests, 2);
    assert_eq!(calls(&server, "evalsha") - scripts, 4 + 2);
    assert_eq!(one.fill_list("1").await, [true; 4]);
    let service: u64 = server.command(&["HGET", SERVICE, "stamp"]).parse().unwrap();
    let [team, users] = [TEAM_KEY, USERS_KEY].map(|key| stamp(&server, key));
    let expected: [&[u64]; 4] = [&[team], &[team, users], &[], &[users]];
    for ((key, _), expected) in LIST.iter().zip(expected) {
        let bytes = raw(&server, key).unwrap();
        let Decoded::Value { header, .. } = blob::decode(&bytes, 1 << 20) else {
            panic!("{bytes:?}");
        };
        assert_eq!(header.stamps.to_vec(), [&[service], expected].concat());
    }
}

#[tokio::test]
async fn of_a_list_only_the_entries_of_a_held_tag_are_held() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    let holds = hold_tag(&two, USERS_KEY).await;
    let leased: Vec<_> =
        one.lease_list(&Seen::Nothing).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(leased, [LEASED, Leased::Held, LEASED, Leased::Held]);
    until(async || !exists(&server, "shop:b") && !exists(&server, "shop:d")).await;
    assert_eq!(one.fill_list("1").await, [true, false, true, false]);
    let found = [Some("1".to_owned()), None, Some("1".to_owned()), None];
    assert_eq!(payloads(two.read_list(&[]).await), found);
    settle(&two.tier, without_value(holds)).await;
    assert!(lock(&one.tier.inner.grants).is_empty());
}

#[tokio::test]
async fn the_end_of_a_list_says_whose_tags_were_bumped_meanwhile() {
    let server = RedisServer::start();
    let (one, two) = (Process::new(&server.url()).await, Process::new(&server.url()).await);
    for is_fill in [true, false] {
        granted(one.lease_list(&Seen::Refresh).await);
        two.bump("users").await;
        let ended = if is_fill {
            one.fill_list("1").await
        } else {
            let released = one.tier.release(leases(), Duration::ZERO).await;
            released.into_iter().map(Result::unwrap).collect()
        };
        assert_eq!(ended, [true, false, true, false]);
    }
}

#[tokio::test]
async fn a_login_that_may_not_read_stamps_gets_the_leases_of_entries_without_tags() {
    let server = RedisServer::start();
    let rights = ["~*", "&*", "+@all", "-mget"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = Process::new(&format!("redis://joe:pass@127.0.0.1:{}", server.port())).await;
    let leased = joe.lease_list(&Seen::Nothing).await;
    assert!(
        matches!(
            leased[..],
            [Err(Error::Refused), Err(Error::Refused), Ok(LEASED), Err(Error::Refused)]
        ),
        "{leased:?}"
    );
    until(async || !exists(&server, "shop:a") && !exists(&server, "shop:b")).await;
    assert_eq!(joe.fill_list("1").await, [false, false, true, false]);
    let got = joe.read_list(&[]).await;
    assert!(got.iter().all(|got| matches!(got, Err(Error::Refused))), "{got:?}");
}
