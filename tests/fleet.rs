//! What a fleet is promised, with real processes and a real Redis.

#![cfg(feature = "redis")]

mod common;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{
    client::{Client, Clients},
    dice::Dice,
    member::{self, Member, say, variable},
    redis::RedisServer,
};
use larder::{Cache, cached, invalidates};
use tokio::{task::JoinSet, time::sleep};

/// Plays a role in the fleet of another test.
#[test]
fn a_process_of_the_fleet() {
    let Some(role) = member::role() else {
        return;
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "caller" => play_caller().await,
            "hammer" => play_hammer(Front::Larder).await,
            "naive" => play_hammer(Front::Naive).await,
            "remembering" => play_hammer(Front::Memory).await,
            "ageing" => play_hammer(Front::Ageing).await,
            "changer" => play_changer().await,
            role => panic!("no role is called {role}"),
        }
    });
}

/// The cache of a process of the fleet. No fact here is about its budget, and the machine may be
/// busy.
fn install_cache(url: &str) {
    let mut builder = Cache::builder("fleet").redis(url).redis_budget(Duration::from_secs(10));
    if let Some(lease) = variable("FLEET_LEASE_MS") {
        builder = builder.lease(Duration::from_millis(lease));
    }
    if let Some(age) = variable("FLEET_MAX_STALENESS_MS") {
        builder = builder.max_staleness(Duration::from_millis(age));
    }
    builder.build().unwrap().install().unwrap();
}

// One run per key.

/// Returns the number of its run in the whole fleet.
#[cached(ttl = 600, key = "job:{id}", skip(database, takes))]
async fn job(database: &Clients, id: u64, takes: Duration) -> u64 {
    let run = database.number(&["INCR", &format!("runs:{id}")]).await;
    say(&format!("running {id}"));
    sleep(takes).await;
    run
}

/// Orders: `call <id> <tasks> <how long a run takes>`, answered with `called <how many> <the
/// least value> <the greatest> <runs in this process>`, and `waiters`, with how many calls wait for
/// another's run.
async fn play_caller() {
    let url: String = variable("FLEET_URL").unwrap();
    install_cache(&url);
    let database = Arc::new(Clients::new(&url));
    let mut orders = member::orders();
    while let Some(order) = orders.recv().await {
        let words: Vec<_> = order.split(' ').collect();
        match words.as_slice() {
            ["waiters"] => say(&format!("waiters {}", counted("job").waiters)),
            ["call", numbers @ ..] => {
                let numbers: Vec<u64> = numbers.iter().map(|word| word.parse().unwrap()).collect();
                let (id, tasks, takes) =
                    (numbers[0], numbers[1], Duration::from_millis(numbers[2]));
                tokio::spawn(call(Arc::clone(&database), id, tasks, takes));
            }
            _ => panic!("{order} is no order"),
        }
    }
}

async fn call(database: Arc<Clients>, id: u64, tasks: u64, takes: Duration) {
    let before = counted("job").runs;
    let mut calls = JoinSet::new();
    for _ in 0..tasks {
        let database = Arc::clone(&database);
        calls.spawn(async move { job(&database, id, takes).await });
    }
    let values = calls.join_all().await;
    let (least, greatest) = (values.iter().min().unwrap(), values.iter().max().unwrap());
    let runs = counted("job").runs - before;
    say(&format!("called {} {least} {greatest} {runs}", values.len()));
}

fn counted(function: &str) -> larder::FunctionStats {
    Cache::current().stats().function(function).cloned().unwrap_or_default()
}

fn callers(server: &RedisServer, lease: Duration, count: usize) -> Vec<Member> {
    let (url, lease) = (server.url(), lease.as_millis().to_string());
    let start = || Member::start("caller", &[("FLEET_URL", &url), ("FLEET_LEASE_MS", &lease)]);
    (0..count).map(|_| start()).collect()
}

fn runs(server: &RedisServer, id: u64) -> u64 {
    server.command(&["GET", &format!("runs:{id}")]).parse().unwrap()
}

/// Whether the lease of a key is marked as one that others wait for.
fn is_awaited(server: &RedisServer, id: u64) -> bool {
    let script = "return redis.call('GETRANGE', KEYS[1], 0, 1) == '\\0\\1' and 1 or 0";
    server.command(&["EVAL", script, "1", &format!("fleet:job:{id}")]) == "1"
}

/// Until so many calls of a process wait for the run of another.
fn wait_for_waiters(member: &mut Member, count: u64) {
    loop {
        member.order("waiters");
        if member.hear_numbers("waiters") == [count] {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn four_processes_with_500_tasks_each_run_a_cold_key_once() {
    let server = RedisServer::start();
    let mut fleet = callers(&server, Duration::from_secs(60), 4);
    for id in 0..5 {
        for member in &mut fleet {
            member.order(&format!("call {id} 500 50"));
        }
        let mut running = 0;
        for member in &fleet {
            let called = member.hear_numbers_after(&format!("running {id}"), "called");
            assert_eq!(called[..3], [500, 1, 1]);
            running += called[3];
        }
        assert_eq!((running, runs(&server, id)), (1, 1));
    }
}

#[test]
fn a_leader_killed_before_its_first_renewal_costs_one_more_run() {
    let server = RedisServer::start();
    let mut fleet = callers(&server, Duration::from_secs(1), 4);
    let mut leader = fleet.remove(0);
    leader.order("call 1 1 3600000");
    assert_eq!(leader.hear(), "running 1");
    for member in &mut fleet {
        member.order("call 1 100 0");
    }
    for member in &mut fleet {
        wait_for_waiters(member, 99);
    }
    while !is_awaited(&server, 1) {
        std::thread::sleep(Duration::from_millis(1));
    }
    leader.kill();
    for member in &fleet {
        let called = member.hear_numbers_after("running 1", "called");
        assert_eq!(called[..3], [100, 2, 2]);
    }
    assert_eq!(runs(&server, 1), 2);
}

#[test]
fn a_leader_killed_after_renewals_costs_each_process_one_run_at_most() {
    let server = RedisServer::start();
    let lease = Duration::from_millis(400);
    let mut fleet = callers(&server, lease, 4);
    let mut leader = fleet.remove(0);
    leader.order("call 1 1 3600000");
    assert_eq!(leader.hear(), "running 1");
    wait_for_renewals(&server, 1, 4);
    for member in &mut fleet {
        member.order("call 1 100 0");
    }
    for member in &mut fleet {
        wait_for_waiters(member, 99);
    }
    leader.kill();
    for member in &fleet {
        let called = member.hear_numbers_after("running 1", "called");
        assert_eq!(called[0], 100);
        assert!(called[1] >= 2 && called[2] <= 4 && called[3] <= 1, "{called:?}");
    }
    assert!((2..=4).contains(&runs(&server, 1)));
}

/// Until the lease of a job has been made longer so many times.
fn wait_for_renewals(server: &RedisServer, id: u64, count: u32) {
    let left = || server.command(&["PTTL", &format!("fleet:job:{id}")]).parse::<i64>().unwrap();
    let (mut seen, mut last) = (0, left());
    while seen < count {
        std::thread::sleep(Duration::from_millis(5));
        let now = left();
        assert!(now > 0, "the lease has ended");
        seen += u32::from(now > last);
        last = now;
    }
}

#[test]
fn a_run_longer_than_the_lease_is_renewed_and_its_value_stored() {
    let server = RedisServer::start();
    let lease = Duration::from_millis(500);
    let mut fleet = callers(&server, lease, 4);
    let mut leader = fleet.remove(0);
    leader.order("call 1 100 2200");
    assert_eq!(leader.hear(), "running 1");
    let began = std::time::Instant::now();
    for member in &mut fleet {
        member.order("call 1 100 2200");
    }
    let led = leader.hear_numbers_after("running 1", "called");
    let mut all = led[3];
    for member in &fleet {
        let called = member.hear_numbers_after("running 1", "called");
        assert_eq!(called[0], 100);
        // The first by the end of the first lease.
        let leases = began.elapsed().as_millis() / lease.as_millis();
        assert!(u128::from(called[3]) <= leases, "{called:?} in {leases} leases");
        all += called[3];
    }
    assert_eq!(all, runs(&server, 1));
    // Only the leader's may be stored.
    let mut late = callers(&server, lease, 1).remove(0);
    late.order("call 1 1 0");
    assert_eq!(late.hear(), "called 1 1 1 0");
}

// No stale set.

/// Few, so that they are read, filled and invalidated at once.
const KEYS: u64 = 8;

/// What a writer has changed stands in Redis under `version:<id>`.
#[cached(ttl = 600, key = "version:{id}", local = false, skip(database, takes))]
async fn version(database: &Clients, id: u64, takes: Duration) -> u64 {
    let version = database.number(&["GET", &format!("version:{id}")]).await;
    sleep(takes).await;
    version
}

/// The same, in memory too.
#[cached(ttl = 600, key = "remembered:{id}", skip(database))]
async fn remembered(database: &Clients, id: u64) -> u64 {
    database.number(&["GET", &format!("version:{id}")]).await
}

/// The same, with values that are mostly old, and runs of which some fail.
#[cached(
    ttl = "20ms",
    stale = 10,
    stale_if_error = 20,
    refresh_early,
    key = "ageing:{id}",
    local = false,
    skip(database, takes)
)]
async fn ageing(database: Arc<Clients>, id: u64, takes: Duration) -> Result<u64, String> {
    let version = database.number(&["GET", &format!("version:{id}")]).await;
    sleep(takes).await;
    if takes.is_zero() { Err("it was told to".to_owned()) } else { Ok(version) }
}

/// Several of them at once.
#[cached(
    ttl = "20ms",
    stale = 10,
    key = "ageing:{id}",
    local = false,
    skip(database, takes),
    each(id in ids)
)]
async fn several_ageing(
    database: Arc<Clients>,
    ids: &[u64],
    takes: Duration,
) -> Result<HashMap<u64, u64>, String> {
    let mut versions = HashMap::new();
    for id in ids {
        versions.insert(*id, database.number(&["GET", &format!("version:{id}")]).await);
    }
    sleep(takes).await;
    Ok(versions)
}

/// What a process has in front of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    Larder,
    /// Larder with its memory.
    Memory,
    /// Larder with old values, one at a time or several.
    Ageing,
    /// `GET`, and `SET` after a miss, and `DEL` after a change.
    Naive,
}

impl Front {
    /// `None` if it failed.
    async fn read(
        self,
        database: &Arc<Clients>,
        client: &mut Client,
        id: u64,
        takes: Duration,
    ) -> Option<u64> {
        Some(match self {
            Self::Larder => version(database, id, takes).await,
            Self::Memory => remembered(database, id).await,
            Self::Ageing if takes == Duration::from_millis(3) => {
                let ids = [id, (id + 1) % KEYS, (id + 5) % KEYS];
                let versions = several_ageing(Arc::clone(database), &ids, takes).await;
                // An element may have followed a run that failed.
                versions.ok()?[&id]
            }
            Self::Ageing => ageing(Arc::clone(database), id, takes).await.ok()?,
            Self::Naive => {
                let key = format!("naive:{id}");
                if let Some(text) = client.command(&["GET", &key]).await {
                    return text.parse().ok();
                }
                let version = client.number(&["GET", &format!("version:{id}")]).await;
                sleep(takes).await;
                client.command(&["SET", &key, &version.to_string()]).await;
                version
            }
        })
    }

    /// Whether it is done for certain.
    async fn invalidate(self, database: &Arc<Clients>, client: &mut Client, id: u64) -> bool {
        match self {
            Self::Larder => version(database, id, Duration::ZERO).invalidate().await.is_ok(),
            Self::Memory => remembered(database, id).invalidate().await.is_ok(),
            Self::Ageing => {
                ageing(Arc::clone(database), id, Duration::ZERO).invalidate().await.is_ok()
            }
            Self::Naive => client.command(&["DEL", &format!("naive:{id}")]).await.is_some(),
        }
    }
}

/// Which versions the writers have invalidated, and when, in a file that all processes have open:
/// cheap to read before each read of the cache.
#[derive(Debug)]
struct Ledger(fs::File);

/// At most.
const WRITERS: u64 = 8;

/// A version and a moment, and both again: who finds them different has read half of a change.
const ENTRY: u64 = 32;

impl Ledger {
    fn create(dir: &Path) -> String {
        let path = dir.join("ledger");
        fs::write(&path, vec![0; (KEYS * WRITERS * ENTRY) as usize]).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn open(path: &str) -> Self {
        Self(fs::OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// Each writer has its own place, and writes versions that grow.
    fn completed(&self, writer: u64, id: u64, version: u64) {
        let half = [version.to_be_bytes(), millis().to_be_bytes()].concat();
        let at = (id * WRITERS + writer) * ENTRY;
        self.0.write_all_at(&half.repeat(2), at).unwrap();
    }

    /// The newest version of the key whose invalidation was complete so many milliseconds ago.
    fn newest(&self, id: u64, age: u64) -> u64 {
        let mut bytes = [0; (WRITERS * ENTRY) as usize];
        loop {
            self.0.read_exact_at(&mut bytes, id * WRITERS * ENTRY).unwrap();
            if bytes.chunks(ENTRY as usize).all(|entry| entry[..16] == entry[16..]) {
                break;
            }
        }
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        let completed = bytes
            .chunks(ENTRY as usize)
            .filter(|entry| number(&entry[8..16]).saturating_add(age) <= millis());
        completed.map(|entry| number(&entry[..8])).max().unwrap_or(0)
    }
}

/// The same for all processes of this machine.
fn millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What the tasks of a process share.
struct Hammer {
    front: Front,
    url: String,
    database: Arc<Clients>,
    ledger: Ledger,
    /// Of this process.
    number: u64,
    /// Between two changes by a writer, at most, in milliseconds.
    pause: u64,
    /// Between two reads of a task.
    rest: Option<Duration>,
    /// In milliseconds: what was invalidated so long ago may not be read any more.
    age: u64,
    stale: AtomicU64,
    /// Reads of what was invalidated at all.
    behind: AtomicU64,
    is_over: AtomicBool,
}

/// Reads and writes, as the variables say. Says `read <how many> <how many were stale> <fills
/// refused> <how many were behind at all> <how many were of old values>` when it has read enough, and the same again when it is ordered to stop.
async fn play_hammer(front: Front) {
    let url: String = variable("FLEET_URL").unwrap();
    install_cache(&url);
    let hammer = Arc::new(Hammer {
        front,
        database: Arc::new(Clients::new(&url)),
        url,
        ledger: Ledger::open(&variable::<String>("FLEET_LEDGER").unwrap()),
        number: variable("FLEET_NUMBER").unwrap(),
        pause: variable("FLEET_PAUSE_MS").unwrap(),
        rest: variable("FLEET_REST_MS").map(Duration::from_millis),
        age: variable("FLEET_AGE_MS").unwrap_or(0),
        stale: AtomicU64::new(0),
        behind: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let mut orders = member::orders();
    assert_eq!(orders.recv().await.as_deref(), Some("go"));
    if variable::<u64>("FLEET_WRITES").is_some() {
        for writer in [hammer.number, hammer.number + 3] {
            tokio::spawn(write(Arc::clone(&hammer), writer));
        }
    }
    let (tasks, each) = (32, variable::<u64>("FLEET_READS").unwrap() / 32);
    let mut readers = JoinSet::new();
    for task in 0..tasks {
        readers.spawn(read(Arc::clone(&hammer), task, each));
    }
    readers.join_all().await;
    say(&hammer.result(tasks * each));
    assert_eq!(orders.recv().await.as_deref(), Some("stop"));
    hammer.is_over.store(true, SeqCst);
    say(&hammer.result(tasks * each));
    // Ends with the one that gives the orders.
    orders.recv().await;
}

impl Hammer {
    fn result(&self, reads: u64) -> String {
        let (stale, behind) = (self.stale.load(SeqCst), self.behind.load(SeqCst));
        let refused = counted("version").fills_refused;
        let old = counted("ageing").stale_served;
        format!("read {reads} {stale} {refused} {behind} {old}")
    }
}

async fn read(hammer: Arc<Hammer>, task: u64, count: u64) {
    let mut client = Client::connect(&hammer.url).await;
    let mut dice = Dice::new(hammer.number, task);
    for _ in 0..count {
        let id = dice.below(KEYS);
        let (newest, least) = (hammer.ledger.newest(id, 0), hammer.ledger.newest(id, hammer.age));
        let takes = Duration::from_millis(dice.below(4));
        let read = hammer.front.read(&hammer.database, &mut client, id, takes).await;
        if let Some(read) = read {
            hammer.behind.fetch_add(u64::from(read < newest), SeqCst);
            hammer.stale.fetch_add(u64::from(read < least), SeqCst);
        }
        if let Some(rest) = hammer.rest {
            sleep(rest).await;
        }
    }
}

async fn write(hammer: Arc<Hammer>, writer: u64) {
    let mut client = Client::connect(&hammer.url).await;
    let mut dice = Dice::new(writer, 999);
    while !hammer.is_over.load(SeqCst) {
        let id = dice.below(KEYS);
        let version = client.number(&["INCR", &format!("version:{id}")]).await;
        if hammer.front.invalidate(&hammer.database, &mut client, id).await {
            hammer.ledger.completed(writer, id, version);
        }
        sleep(Duration::from_millis(dice.below(hammer.pause))).await;
    }
}

/// What all processes together have counted: reads, stale ones, fills refused, reads that were behind
/// at all, and old values that were served as such.
fn hammer(role: &str, reads: u64, variables: &[(&str, &str)]) -> [u64; 5] {
    let server = RedisServer::start();
    let (url, ledger) = (server.url(), Ledger::create(server.dir()));
    let start = |number: u64| {
        let (number, reads) = (number.to_string(), reads.to_string());
        let mut all = vec![
            ("FLEET_URL", &*url),
            ("FLEET_LEDGER", &ledger),
            ("FLEET_NUMBER", &number),
            ("FLEET_READS", &reads),
        ];
        all.extend(variables);
        // The first two only read.
        if number != "0" && number != "1" {
            all.push(("FLEET_WRITES", "1"));
        }
        Member::start(role, &all)
    };
    let mut fleet: Vec<_> = (0..5).map(start).collect();
    for member in &mut fleet {
        member.order("go");
    }
    for member in &fleet {
        member.hear_numbers("read");
    }
    let mut sums = [0; 5];
    for member in &mut fleet {
        member.order("stop");
        for (sum, number) in sums.iter_mut().zip(member.hear_numbers("read")) {
            *sum += number;
        }
    }
    sums
}

#[test]
fn no_read_is_stale_after_an_invalidation_by_any_process() {
    let [reads, stale, refused, ..] = hammer("hammer", 60_800, &[("FLEET_PAUSE_MS", "2")]);
    println!("{reads} reads, {stale} stale, {refused} fills refused");
    assert!(reads >= 300_000);
    assert_eq!(stale, 0);
    assert!(refused >= 2000, "{refused}");
}

#[test]
fn no_old_value_is_older_than_an_invalidation_by_any_process() {
    let [reads, stale, _, _, old] = hammer("ageing", 8_000, &[("FLEET_PAUSE_MS", "20")]);
    println!("{reads} reads, {stale} from before an invalidation, {old} of old values");
    assert!(reads >= 40_000);
    assert_eq!(stale, 0);
    assert!(old >= 1000, "{old}");
}

#[test]
fn the_same_load_on_get_set_and_del_reads_stale_values() {
    let [reads, stale, ..] = hammer("naive", 10_000, &[("FLEET_PAUSE_MS", "2")]);
    println!("{reads} reads, {stale} stale");
    assert!(stale > 0);
}

#[test]
fn memory_serves_what_another_process_invalidated_for_max_staleness_at_most() {
    let variables = [
        ("FLEET_PAUSE_MS", "500"),
        ("FLEET_MAX_STALENESS_MS", "100"),
        // What may pass between the look at the clock and the read on a busy machine does not
        // count: a read that starts later finds something newer.
        ("FLEET_AGE_MS", "600"),
        ("FLEET_REST_MS", "1"),
    ];
    let [reads, stale, _, behind, _] = hammer("remembering", 64_000, &variables);
    println!("{reads} reads, {stale} stale, {behind} of what had been invalidated");
    assert_eq!(stale, 0);
    assert!(behind > 0, "no memory served anything that another process had invalidated");
}

// A writer that dies.

#[invalidates(remembered(database, id))]
async fn change(database: &Clients, id: u64) {
    commit_and_hang(database, id).await;
}

#[invalidates(remembered(database, id), hold = "1s")]
async fn change_held(database: &Clients, id: u64) {
    commit_and_hang(database, id).await;
}

/// It says when it has begun, and commits when it is told to.
async fn commit_and_hang(database: &Clients, id: u64) {
    say("begun");
    while database.number(&["GET", "commit"]).await == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    database.number(&["INCR", &format!("version:{id}")]).await;
    say("committed");
    std::future::pending::<()>().await;
}

/// Orders: `change <id>` and `change_held <id>`; `read <id>`, answered with `read <version>`.
async fn play_changer() {
    let url: String = variable("FLEET_URL").unwrap();
    install_cache(&url);
    let database = Arc::new(Clients::new(&url));
    let mut orders = member::orders();
    while let Some(order) = orders.recv().await {
        let (what, id) = order.split_once(' ').unwrap();
        let (id, database) = (id.parse().unwrap(), Arc::clone(&database));
        match what {
            "change" => drop(tokio::spawn(async move { change(&database, id).await })),
            "change_held" => drop(tokio::spawn(async move { change_held(&database, id).await })),
            "read" => say(&format!("read {}", remembered(&database, id).await)),
            _ => panic!("{order} is no order"),
        }
    }
}

/// What two readers find after a writer was killed between its COMMIT and the invalidation.
fn after_a_crash(order: &str) -> [[u64; 2]; 2] {
    let server = RedisServer::start();
    let url = server.url();
    let start = || Member::start("changer", &[("FLEET_URL", &url)]);
    let (mut writer, mut readers) = (start(), [start(), start()]);
    let mut read = |reader: usize| {
        readers[reader].order("read 1");
        readers[reader].hear_numbers("read")[0]
    };
    // One has it in memory, and the other one reads it in the middle of the change.
    assert_eq!(read(0), 0);
    writer.order(&format!("{order} 1"));
    assert_eq!(writer.hear(), "begun");
    assert_eq!([read(0), read(1)], [0, 0]);
    server.command(&["SET", "commit", "1"]);
    assert_eq!(writer.hear(), "committed");
    writer.kill();
    let at_once = [read(0), read(1)];
    while server.command(&["PTTL", "fleet:remembered:1"]).parse::<i64>().unwrap() < 10_000 {
        // The hold ends, and somebody stores what the database has.
        std::thread::sleep(Duration::from_millis(50));
        let _ = [read(0), read(1)];
    }
    [at_once, [read(0), read(1)]]
}

#[test]
fn a_writer_that_dies_after_its_commit_leaves_nothing_old_under_a_hold() {
    assert_eq!(after_a_crash("change_held"), [[1, 1], [1, 1]]);
}

#[test]
fn a_writer_that_dies_after_its_commit_leaves_what_is_old_without_a_hold() {
    assert_eq!(after_a_crash("change"), [[0, 0], [0, 0]]);
}
