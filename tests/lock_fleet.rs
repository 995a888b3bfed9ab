//! Locks with real processes and a real Redis: what is under one is done by one at a time, by a clock that
//! all of them share, though holders freeze, die, lose their connections and are cancelled.

#![cfg(feature = "redis")]

mod common;

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{
    dice::Dice,
    member::{self, Member, say, variable},
    proxy::{Mode, Proxy},
    redis::RedisServer,
};
use larder::{
    __private::{KeyBytes, LockSite, lock_on},
    Cache, LockError, fence,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

/// Plays a role in the fleet of another test.
#[test]
fn a_process_of_the_fleet() {
    let Some(role) = member::role() else {
        return;
    };
    assert_eq!(role, "worker");
    // On one thread: when it freezes, no body is between its look at the clock and what it does then.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(play_worker());
}

const LEASE: Duration = Duration::from_millis(500);

/// `#[locked(key = "job:{id}", …)]`.
static SITE: LockSite = LockSite::new("job:{}").lease(500).wait(60_000);

const KEY: &str = ":lock:fleet:job:7";

/// The file of what was done under the lock, in the order in which it was.
struct Log(File);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Enter,
    Work,
    Leave,
}

/// Who did what, under which fence, and when.
#[derive(Debug, Clone, Copy)]
struct Done {
    act: Act,
    process: u8,
    fence: u64,
    nanos: u64,
}

const LENGTH: usize = 18;

impl Log {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    fn note(&self, process: u8, act: Act, fence: u64) {
        let time = clock_gettime(ClockId::Monotonic);
        let nanos = (time.tv_sec * 1_000_000_000 + time.tv_nsec).cast_unsigned();
        let mut bytes = [act as u8, process].to_vec();
        bytes.extend(fence.to_be_bytes());
        bytes.extend(nanos.to_be_bytes());
        // In one go, so that the order in the file is the one in which it was done.
        assert_eq!((&self.0).write(&bytes).unwrap(), LENGTH);
    }

    fn read(path: &Path) -> Vec<Done> {
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        let done = |bytes: &[u8]| Done {
            act: [Act::Enter, Act::Work, Act::Leave][usize::from(bytes[0])],
            process: bytes[1],
            fence: number(&bytes[2..10]),
            nanos: number(&bytes[10..18]),
        };
        std::fs::read(path).unwrap().chunks_exact(LENGTH).map(done).collect()
    }
}

/// One process: its tasks work under the lock until it is told to stop.
struct Worker {
    process: u8,
    log: Log,
    thaws: PathBuf,
    cache: Cache,
    has_stopped: AtomicBool,
    /// The next body is to stay, and what is to become of it; 0 for none.
    stays: AtomicU64,
}

const FREEZES: u64 = 2;

/// Orders: `stay`, and the next body says `inside` and goes on until it is lost; `freeze inside`, the same,
/// and freezes there; `freeze`, wherever its tasks are; `stop`, answered with `done <entered by each task>`.
async fn play_worker() {
    let url: String = variable("FLEET_URL").unwrap();
    let path: PathBuf = variable("FLEET_FILE").unwrap();
    let tasks = variable("FLEET_TASKS").unwrap();
    let process = variable("FLEET_PROCESS").unwrap();
    let worker = Arc::new(Worker {
        process,
        log: Log::open(&path),
        thaws: thaws(&path, process),
        cache: Cache::builder("fleet").redis(url).build().unwrap(),
        has_stopped: AtomicBool::new(false),
        stays: AtomicU64::new(0),
    });
    let mut working = JoinSet::new();
    for task in 0..tasks {
        working.spawn(work(Arc::clone(&worker), task));
    }
    let mut orders = member::orders();
    while let Some(order) = orders.recv().await {
        match order.as_str() {
            "stay" => worker.stays.store(1, SeqCst),
            "freeze inside" => worker.stays.store(FREEZES, SeqCst),
            "freeze" => freeze(&worker.thaws, "frozen"),
            "stop" => break,
            _ => panic!("{order} is no order"),
        }
    }
    worker.has_stopped.store(true, SeqCst);
    let entered: BTreeMap<u64, u64> = working.join_all().await.into_iter().collect();
    let entered: Vec<_> = entered.values().map(u64::to_string).collect();
    worker.cache.shutdown().await.unwrap();
    say(&format!("done {}", entered.join(" ")));
    // What it has said is to be heard.
    orders.recv().await;
}

/// Says so, and waits to be frozen and thawed. Until then its only thread does nothing else: a signal that
/// stops a process stops its threads one by one.
fn freeze(thaws: &Path, said: &str) {
    say(said);
    while std::fs::remove_file(thaws).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is there when a process may go on that was frozen.
fn thaws(log: &Path, process: impl std::fmt::Display) -> PathBuf {
    log.with_extension(format!("thaws-{process}"))
}

async fn work(worker: Arc<Worker>, task: u64) -> (u64, u64) {
    let mut dice = Dice::new(u64::from(worker.process), task);
    let is_cancelled_at_times = variable("FLEET_CANCELS").unwrap_or(false);
    let mut entered = 0;
    while !worker.has_stopped.load(SeqCst) {
        let mut key = KeyBytes::new();
        key.writer().part(&7_u64);
        let body = async {
            let fence = fence().unwrap();
            let note = |act| worker.log.note(worker.process, act, fence);
            note(Act::Enter);
            match worker.stays.swap(0, SeqCst) {
                0 => {}
                FREEZES => {
                    freeze(&worker.thaws, "inside");
                    yield_now().await;
                    note(Act::Work);
                    panic!("it has gone on under a lock that was lost");
                }
                _ => {
                    say("inside");
                    loop {
                        sleep(Duration::from_millis(5)).await;
                        note(Act::Work);
                    }
                }
            }
            for _ in 0..dice.below(3) {
                sleep(Duration::from_millis(dice.below(2))).await;
                note(Act::Work);
            }
            note(Act::Leave);
        };
        let patience = if is_cancelled_at_times && entered % 7 == 0 {
            Duration::from_millis(entered % 30)
        } else {
            Duration::from_secs(600)
        };
        let ran = timeout(patience, lock_on(&worker.cache, &SITE, key).run(body)).await;
        match ran {
            Ok(Ok(()) | Err(LockError::Lost | LockError::Unavailable { .. })) | Err(_) => {}
            Ok(Err(error)) => panic!("{error:?}"),
        }
        entered += 1;
    }
    (task, entered)
}

/// What was done under the lock, checked, and how often it was entered.
fn check(path: &Path) -> (Vec<Done>, usize) {
    let all = Log::read(path);
    let (mut last, mut entered) = (0, 0);
    for (at, done) in all.iter().enumerate() {
        let context = || format!("{:?}", &all[at.saturating_sub(3)..=at]);
        if done.act == Act::Enter {
            assert!(done.fence > last, "fences do not rise: {}", context());
            last = done.fence;
            entered += 1;
        } else {
            assert_eq!(done.fence, last, "it acts though another has come in: {}", context());
        }
    }
    (all, entered)
}

/// The middle of the times from one leaving to the next entering, and the greatest, in microseconds.
fn handoffs(all: &[Done]) -> (u64, u64) {
    let pairs = all.windows(2).filter(|pair| pair[0].act == Act::Leave);
    let of_two = pairs.filter(|pair| pair[0].process != pair[1].process);
    let mut times: Vec<_> = of_two.map(|pair| (pair[1].nanos - pair[0].nanos) / 1000).collect();
    times.sort_unstable();
    (times[times.len() / 2], *times.last().unwrap())
}

fn start(process: u8, url: &str, path: &Path, tasks: u64, cancels: bool) -> Member {
    Member::start(
        "worker",
        &[
            ("FLEET_URL", url),
            ("FLEET_FILE", path.to_str().unwrap()),
            ("FLEET_PROCESS", &process.to_string()),
            ("FLEET_TASKS", &tasks.to_string()),
            ("FLEET_CANCELS", &cancels.to_string()),
        ],
    )
}

/// Whether nobody has the lock or waits for it.
fn is_free(server: &RedisServer) -> bool {
    let script = "local b = redis.call('GET', KEYS[1]) or '' \
        return #b == 41 and b:sub(2, 17) == string.rep('\\0', 16) and 1 or 0";
    server.command(&["EVAL", script, "1", KEY]) == "1"
}

#[test]
fn none_of_eight_starves_in_five_seconds() {
    let server = RedisServer::start();
    let path = server.dir().join("log");
    // Two processes with one task, and two with three.
    let mut fleet: Vec<_> = [1, 1, 3, 3]
        .into_iter()
        .zip(0..)
        .map(|(tasks, process)| start(process, &server.url(), &path, tasks, false))
        .collect();
    std::thread::sleep(Duration::from_secs(5));
    for member in &mut fleet {
        member.order("stop");
    }
    let entered: Vec<_> = fleet.iter().map(|member| member.hear_numbers("done")).collect();
    let (all, count) = check(&path);
    let (median, longest) = handoffs(&all);
    println!("{count} entered: {entered:?}; a handoff {median} us, at most {longest} us");
    // Turns are taken by process, and in a process by task.
    let by_process: Vec<u64> = entered.iter().map(|tasks| tasks.iter().sum()).collect();
    for counts in entered.iter().chain([&by_process]) {
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 0 && 2 * least >= *most, "{entered:?}");
    }
    assert!(is_free(&server));
}

/// After each blow.
const ROUNDS: usize = 200;

/// How a holder comes to lose its lock.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// Wherever it is.
    Freeze,
    /// In the middle of what is under the lock.
    FreezeInside,
    Hang,
    Cut,
    LoseAnswers,
    Kill,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_rounds_with_holders_that_freeze_die_and_lose_their_connections() {
    use Blow::{Cut, Freeze, FreezeInside, Hang, Kill, LoseAnswers};

    let server = RedisServer::start();
    let path = server.dir().join("log");
    // One has its connections through a network that does what a test says, which is slower.
    let proxy = Proxy::before(server.port());
    let begin = |process: u8| {
        let url = if process == 0 { proxy.url() } else { server.url() };
        start(process, &url, &path, 2, true)
    };
    let mut fleet: Vec<_> = (0..4).map(begin).collect();
    let blows = [
        (FreezeInside, 1),
        (Kill, 2),
        (Hang, 0),
        (Freeze, 3),
        (Cut, 0),
        (FreezeInside, 2),
        (LoseAnswers, 0),
        (Kill, 3),
        (Freeze, 1),
        (Hang, 0),
        (Kill, 0),
        (Freeze, 2),
        (Cut, 0),
        (FreezeInside, 0),
        (Kill, 1),
        (Freeze, 0),
    ];
    for (blow, at) in blows {
        let member = &mut fleet[at];
        let before = Log::read(&path).len();
        match blow {
            Freeze | FreezeInside => {
                member.order(if let Freeze = blow { "freeze" } else { "freeze inside" });
                assert_eq!(member.hear(), if let Freeze = blow { "frozen" } else { "inside" });
                member.freeze();
                // It is while another has the lock.
                others_enter(&path, at, before).await;
                File::create(thaws(&path, at)).unwrap();
                member.thaw();
            }
            Hang | Cut | LoseAnswers => {
                member.order("stay");
                assert_eq!(member.hear(), "inside");
                proxy.set(match blow {
                    Hang => Mode::BlackHole,
                    Cut => Mode::Cut,
                    _ => Mode::Drop,
                });
                others_enter(&path, at, before).await;
                proxy.set(Mode::Pass);
            }
            Kill => {
                member.order("stay");
                assert_eq!(member.hear(), "inside");
                member.kill();
                others_enter(&path, at, before).await;
                *member = begin(at as u8);
            }
        }
        // And then they go on.
        let before = enters(&path);
        while enters(&path) < before + ROUNDS {
            sleep(LEASE / 10).await;
        }
    }
    for member in &mut fleet {
        member.order("stop");
    }
    for member in &fleet {
        member.hear_numbers("done");
    }
    let (all, count) = check(&path);
    let (median, longest) = handoffs(&all);
    println!("{count} entered; a handoff {median} us, at most {longest} us");
    assert!(count >= ROUNDS * blows.len(), "{count}");
    // What a connection has lost that was to be given back ends by itself.
    while !is_free(&server) {
        sleep(Duration::from_millis(5)).await;
    }
}

fn enters(path: &Path) -> usize {
    Log::read(path).iter().filter(|done| done.act == Act::Enter).count()
}

/// Until all others have entered, by what was done since.
async fn others_enter(path: &Path, but: usize, since: usize) {
    let began = std::time::Instant::now();
    loop {
        let all = Log::read(path);
        // What this one does is done before the first of the others comes in.
        let own = all.iter().rposition(|done| usize::from(done.process) == but).unwrap_or(0);
        let mut after: Vec<_> = all[own.max(since)..]
            .iter()
            .filter(|done| done.act == Act::Enter && usize::from(done.process) != but)
            .map(|done| done.process)
            .collect();
        after.sort_unstable();
        after.dedup();
        if after.len() == 3 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nobody else comes in: {after:?}");
        sleep(LEASE / 10).await;
    }
}
