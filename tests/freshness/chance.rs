//! Calls, changes, failures and breaks in an order that is drawn: whatever it is, nobody gets a value that is older than
//! it may be, or from before a change that was complete when the call began.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Mutex, atomic::AtomicBool},
};

use super::*;
use crate::common::{
    Process, Server,
    Verb::{self, Fill, Get, Hold, Invalidate, Lease, Release, Settle},
    dice::Dice,
    origin::seeded,
};

const TTL: Duration = Duration::from_secs(10);

type Output = (Result<u32, u32>, Source);

/// A call of one of the functions, awaited or refreshed.
type Function = fn(Database, bool) -> Pin<Box<dyn Future<Output = Output> + Send>>;

macro_rules! functions {
    ($($name:ident($($database:tt)*), $key:literal, $past:literal $(, $option:ident $(= $value:expr)?)*;)*) => {
        $(
            #[cached(ttl = 10, key = $key, skip(database) $(, $option $(= $value)?)*)]
            async fn $name(database: $($database)*) -> Result<u32, u32> {
                database.run().await
            }
        )*

        /// The functions, and for how many seconds past their lives they serve values. Those that keep them in memory
        /// have one entry together, and the others another.
        const FUNCTIONS: &[(&str, Function, u32)] = &[$((
            stringify!($name),
            |database, is_refresh| Box::pin(async move {
                let call = $name(give!(database, $($database)*));
                if is_refresh {
                    (call.refresh().await, Source::Function)
                } else {
                    call.with_source().await
                }
            }),
            $past,
        )),*];
    };
}

macro_rules! give {
    ($value:ident, &$type:ident) => {
        &$value
    };
    ($value:ident, $type:ident) => {
        $value
    };
}

functions! {
    plain(Database), "row", 0;
    stale_owned(Database), "row", 5, stale = 5;
    stale_borrowed(&Database), "row", 5, stale = 5;
    for_errors(Database), "row", 20, stale_if_error = 20;
    both(Database), "row", 20, stale = 5, stale_if_error = 20, refresh_early;
    both_borrowed(&Database), "row", 20, stale = 5, stale_if_error = 20, refresh_early;
    bounded(Database), "row", 20, stale = 5, stale_if_error = 20, max_wait = "300ms";
    detached(Database), "row", 20, stale = 5, stale_if_error = 20, detached;
    far(Database), "far", 20, stale = 5, stale_if_error = 20, refresh_early, local = false;
    far_borrowed(&Database), "far", 20, stale = 5, stale_if_error = 20, local = false;
    far_bounded(Database), "far", 20, stale_if_error = 20, max_wait = "300ms", local = false;
}

/// What is behind the functions. A run returns its number, by which everything else about it is known.
#[derive(Debug, Clone, Default)]
struct Database(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How often it was changed.
    version: u32,
    runs: Vec<Run>,
    /// How long the next run takes, and how it ends.
    next: Vec<(Duration, Act)>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    ended: Option<Instant>,
    version: u32,
}

impl Database {
    fn draw(&self, dice: &mut Dice) {
        let takes = Duration::from_millis([1, 100, 1_000, 4_000][dice.below(4) as usize]);
        let end = match dice.below(10) {
            0..6 => Act::Answer,
            6..9 => Act::Fail,
            _ => Act::Panic,
        };
        self.0.lock().unwrap().next.push((takes, end));
    }

    async fn run(&self) -> Result<u32, u32> {
        let (takes, end) = self.0.lock().unwrap().next.pop().unwrap_or((RUN, Act::Answer));
        let number = self.begin(None);
        sleep(takes).await;
        self.0.lock().unwrap().runs[number as usize].ended = Some(Instant::now());
        match end {
            Act::Fail => Err(number),
            Act::Panic => panic!("as it was drawn"),
            _ => Ok(number),
        }
    }

    fn begin(&self, ended: Option<Instant>) -> u32 {
        let mut state = self.0.lock().unwrap();
        let version = state.version;
        state.runs.push(Run { ended, version });
        state.runs.len() as u32 - 1
    }

    fn of(&self, run: u32) -> Run {
        self.0.lock().unwrap().runs[run as usize]
    }

    fn commit(&self) -> u32 {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        state.version
    }
}

/// One process.
struct Member {
    cache: Cache,
    remote: Option<Arc<Process>>,
    /// Messages do not reach it, and it does not know.
    is_late: AtomicBool,
    /// Who calls it from now on gets no older version, of the entry that may be in memory and of the other.
    floors: [AtomicU32; 2],
    /// The same of the first, were it not late.
    owed: AtomicU32,
}

const VERBS: [Verb; 7] = [Get, Lease, Fill, Release, Invalidate, Hold, Settle];

impl Member {
    fn new(name: &'static str, server: Option<&Arc<Server>>, seed: u64) -> Self {
        let cache = Cache::builder("test").clock(Virtual::new()).random(seeded(seed));
        // Without a link that is proven, memory has nothing.
        let cache = cache.unproven(Duration::ZERO).lease(3 * SECOND).background_runs(2);
        let remote = server.map(|server| server.connect(name));
        let cache = match &remote {
            Some(remote) => cache.remote(Arc::clone(remote) as _),
            None => cache,
        };
        let cache = cache.build().unwrap();
        let floors = [0, 0].map(AtomicU32::new);
        let (is_late, owed) = (AtomicBool::default(), AtomicU32::default());
        let member = Self { cache, remote, is_late, floors, owed };
        member.answer();
        member
    }

    fn answer(&self) {
        for verb in VERBS {
            if let Some(remote) = &self.remote {
                remote.answer(verb);
                remote.delay(verb, MOMENT);
            }
        }
    }

    fn disturb(&self, dice: &mut Dice) {
        let Some(remote) = &self.remote else { return };
        let verb = VERBS[dice.below(VERBS.len() as u64) as usize];
        match dice.below(3) {
            0 => remote.fail(verb),
            1 => remote.lose_answer(verb),
            // The others are answered in time, whatever it is.
            _ if matches!(verb, Get | Lease | Fill) => remote.hang(verb),
            _ => remote.fail(verb),
        }
    }

    fn disturb_link(&self, dice: &mut Dice) {
        let Some(remote) = &self.remote else { return };
        match dice.below(3) {
            0 => remote.keep_messages(),
            1 => remote.notice_break(),
            _ => remote.subscribe(),
        }
        self.is_late.store(remote.keeps_messages(), SeqCst);
        if !self.is_late.load(SeqCst) {
            // Everything in memory is outdated.
            self.floors[0].fetch_max(self.owed.load(SeqCst), SeqCst);
        }
    }
}

/// Changes what both entries are of, with nothing or a hold around it, or puts what is there.
async fn change(members: Arc<Vec<Member>>, who: usize, database: Database, how: u64) {
    let cache = &members[who].cache;
    let (version, landed) = match how {
        0 => {
            sleep(100 * MOMENT).await;
            let version = database.commit();
            let landed = cache.invalidate("row").await.is_ok();
            (version, [landed, cache.invalidate("far").await.is_ok()])
        }
        1 => {
            // Where it is not held, it does not take place.
            let change = cache.invalidation().key("row").key("far").hold(2 * SECOND);
            let Ok(change) = change.await else { return };
            sleep(100 * MOMENT).await;
            let version = database.commit();
            (version, [change.complete().await.is_ok(); 2])
        }
        _ => {
            let run = database.begin(Some(Instant::now()));
            let landed = cache.scope(async { plain(database.clone()).put(run).await }).await;
            (database.of(run).version, [landed.is_ok(), false])
        }
    };
    for (other, member) in members.iter().enumerate() {
        if landed[0] {
            member.owed.fetch_max(version, SeqCst);
            if other == who || !member.is_late.load(SeqCst) {
                member.floors[0].fetch_max(version, SeqCst);
            }
        }
        if landed[1] {
            member.floors[1].fetch_max(version, SeqCst);
        }
    }
}

/// A call that was made.
struct Made {
    what: String,
    began: Instant,
    floor: u32,
    past: Duration,
    call: JoinHandle<(Output, Instant)>,
}

impl Made {
    async fn assert_right(self, database: &Database) {
        let Self { what, began, floor, past, call } = self;
        let ended = tokio::time::timeout(60 * SECOND, call).await;
        let Ok(((output, source), ended)) = ended.unwrap_or_else(|_| panic!("{what} hangs")) else {
            // It was cancelled, or its run has panicked.
            return;
        };
        let what = format!("{what}: {output:?} from {source:?} after {:?}", ended - began);
        let (Ok(run) | Err(run)) = output;
        let run = database.of(run);
        // A value that is put lives from the end of that on.
        let done = run.ended.unwrap();
        let lives = TTL + 10 * MOMENT;
        if output.is_err() {
            return assert!(done >= began, "{what}: an error from before");
        }
        assert!(run.version >= floor, "{what}: {} is older than {floor}", run.version);
        assert!(ended <= done.max(began) + lives + past, "{what}: too old");
        match source {
            Source::Memory { .. } | Source::Redis { .. } => {
                assert!(ended <= done + lives, "{what}: not fresh");
            }
            Source::Stale { .. } => assert!(ended >= done + TTL, "{what}: not old"),
            _ => {}
        }
    }
}

async fn play(seed: u64, processes: usize) {
    let mut dice = Dice::new(seed, processes as u64);
    let (server, database) = (Server::new(), Database::default());
    let server = (processes > 1).then_some(&server);
    let members = ["a", "b", "c"].into_iter().zip(seed * 3..).take(processes);
    let members: Vec<_> = members.map(|(name, seed)| Member::new(name, server, seed)).collect();
    let members = Arc::new(members);
    let (mut calls, mut changes) = (Vec::<Made>::new(), Vec::new());
    let (mut counts, mut is_counted) = (BTreeMap::<_, u64>::new(), true);
    for _ in 0..120 {
        sleep(MOMENT * [0, 1, 40, 300, 1_000, 3_000, 7_000][dice.below(7) as usize]).await;
        let who = dice.below(processes as u64) as usize;
        let member: &Member = &members[who];
        match dice.below(20) {
            0..13 => {
                let (name, call, past) = FUNCTIONS[dice.below(FUNCTIONS.len() as u64) as usize];
                database.draw(&mut dice);
                let is_refresh = dice.below(12) == 0;
                let what =
                    format!("seed {seed}, call {} of {name} by {who}, {is_refresh}", calls.len());
                let floor = member.floors[usize::from(name.starts_with("far"))].load(SeqCst);
                let database = database.clone();
                let call = member.cache.scope(async move {
                    let output = call(database, is_refresh).await;
                    (output, Instant::now())
                });
                let (began, call) = (Instant::now(), tokio::spawn(call));
                calls.push(Made { what, began, floor, past: past * SECOND, call });
                *counts.entry((who, name)).or_default() += 1;
            }
            13 | 14 => {
                let (members, database) = (Arc::clone(&members), database.clone());
                changes.push(tokio::spawn(change(members, who, database, dice.below(3))));
            }
            15 => {
                if let Some(made) = calls.last() {
                    is_counted = false;
                    made.call.abort();
                }
            }
            16 => member.disturb(&mut dice),
            17 | 18 => member.answer(),
            _ => member.disturb_link(&mut dice),
        }
    }
    for made in calls {
        made.assert_right(&database).await;
    }
    for change in changes {
        change.await.unwrap();
    }
    for (who, member) in members.iter().enumerate() {
        member.answer();
        tokio::time::timeout(600 * SECOND, member.cache.shutdown()).await.unwrap().unwrap();
        for row in &member.cache.stats().functions {
            let name = row.function.rsplit("::").next().unwrap();
            let made = counts.get(&(who, name)).copied().unwrap_or_default();
            let counted = row.cache_hits_memory + row.cache_hits_redis + row.stale_served;
            assert!(counted <= made, "seed {seed}, {made} calls: {row:?}");
            assert!(
                !is_counted || counted + row.cache_misses == made,
                "seed {seed}, {made} calls: {row:?}"
            );
            assert_eq!((row.inflight_requests, row.waiters), (0, 0), "seed {seed}: {row:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_older_than_it_may_be_in_one_process() {
    for seed in 0..50 {
        play(seed, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_older_than_it_may_be_in_a_fleet() {
    for seed in 0..150 {
        play(seed, 3).await;
    }
}
