//! What writers do to entries while others load, write, crash or do not hear of it: in memory alone, with
//! a tier that a fleet shares, and with a second process's memory.

mod common;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{
    At, Message, Process, Server, State, Verb,
    node::{Failed, KEY, LEASE, MOMENT, Node, Script, alone, job, pair},
};
use larder::{__private::Change, Cache, Error, ManualClock, cached, invalidates, updates};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// What a database has, one row of it.
#[derive(Debug, Default)]
struct Database(AtomicU32);

impl Database {
    fn commit(&self, version: u32) {
        self.0.store(version, SeqCst);
    }

    fn version(&self) -> u32 {
        self.0.load(SeqCst)
    }
}

/// How long a part of a run or of a change takes.
const STEP: Duration = Duration::from_millis(3);

#[cached(ttl = 60, key = "row:{id}", skip(database))]
async fn row(database: Arc<Database>, id: u64) -> Result<u32, Failed> {
    sleep(STEP).await;
    let version = database.version();
    sleep(STEP).await;
    Ok(version)
}

const ROW: &str = "test:row:1";

/// Puts the value that it has committed into the entry.
#[updates(row(Arc::clone(database), 1))]
async fn update(
    database: &Arc<Database>,
    commit: impl Future<Output = Result<u32, Failed>>,
) -> Result<u32, Failed> {
    commit.await
}

#[invalidates(row(Arc::clone(database), 1))]
async fn change(database: &Arc<Database>, commit: impl Future<Output = ()>) {
    commit.await;
}

#[invalidates(row(Arc::clone(database), 1), hold = "1s")]
async fn change_held(database: &Arc<Database>, commit: impl Future<Output = ()>) {
    commit.await;
}

/// Everywhere that an entry can be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum World {
    Memory,
    OneProcess,
    TwoProcesses,
}

const WORLDS: [World; 3] = [World::Memory, World::OneProcess, World::TwoProcesses];

/// A writer's and a reader's cache, which are one but in a world of two processes.
struct Fleet {
    server: Arc<Server>,
    nodes: Vec<Arc<Process>>,
    writer: Cache,
    reader: Cache,
    database: Arc<Database>,
}

impl Fleet {
    fn new(world: World) -> Self {
        let server = Server::new();
        let mut nodes = Vec::new();
        let mut cache = |name| {
            let builder =
                Cache::builder("test").clock(ManualClock::new()).capacity(10).lease(LEASE);
            let builder = if world == World::Memory {
                builder
            } else {
                let process = server.connect(name);
                // So that each of them is a step of its own.
                for verb in [Verb::Get, Verb::Lease, Verb::Fill, Verb::Invalidate, Verb::Hold] {
                    process.delay(verb, MOMENT);
                }
                process.delay(Verb::Settle, MOMENT);
                nodes.push(Arc::clone(&process));
                builder.remote(process)
            };
            builder.build().unwrap()
        };
        let writer = cache("w");
        let reader = if world == World::TwoProcesses { cache("r") } else { writer.clone() };
        Self { server, nodes, writer, reader, database: Arc::default() }
    }

    async fn read(&self) -> u32 {
        let database = Arc::clone(&self.database);
        self.reader.scope(async { row(database, 1).await }).await.unwrap()
    }

    async fn refresh(&self) -> u32 {
        let database = Arc::clone(&self.database);
        self.reader.scope(async { row(database, 1).refresh().await }).await.unwrap()
    }

    /// A change that takes a while, and leaves this version.
    async fn write(&self, how: Write, version: u32) -> Result<(), Error> {
        let database = &self.database;
        let commit = async {
            sleep(STEP).await;
            database.commit(version);
            sleep(STEP).await;
        };
        self.writer
            .scope(async {
                let call = row(Arc::clone(database), 1);
                match how {
                    Write::Invalidate => {
                        change(database, commit).await;
                        Ok(())
                    }
                    Write::Hold => {
                        change_held(database, commit).await;
                        Ok(())
                    }
                    Write::Explicit => {
                        let invalidation = Cache::current().invalidation().entry(call);
                        let invalidation = invalidation.hold(SECOND).await?;
                        commit.await;
                        invalidation.complete().await
                    }
                    Write::Update => {
                        let commit = async {
                            commit.await;
                            Ok(version)
                        };
                        update(database, commit).await.unwrap();
                        Ok(())
                    }
                    Write::Put => {
                        commit.await;
                        call.put(version).await
                    }
                    Write::Fail => {
                        let commit = async {
                            sleep(STEP).await;
                            Err(Failed(1))
                        };
                        update(database, commit).await.unwrap_err();
                        Ok(())
                    }
                }
            })
            .await
    }

    /// Nothing is left of the past, wherever one looks.
    async fn assert_at_rest(&self, when: &str) {
        self.writer.shutdown().await.unwrap();
        self.reader.shutdown().await.unwrap();
        // A hold that was dropped ends by itself.
        sleep(2 * LEASE).await;
        for cache in [&self.writer, &self.reader] {
            let database = Arc::clone(&self.database);
            let found = cache.scope(async { row(database, 1).peek().await }).await;
            let version = self.database.version();
            assert!(found.as_ref().is_none_or(|found| *found == Ok(version)), "{found:?} {when}");
        }
        let state = self.server.state(ROW);
        assert!(matches!(state, State::Absent | State::Value(..)), "{state:?} {when}");
        assert_eq!(self.read().await, self.database.version(), "{when}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Write {
    Invalidate,
    Hold,
    /// As `Hold`, without an attribute.
    Explicit,
    Update,
    Put,
    /// An update whose body changes nothing.
    Fail,
}

const WRITES: [Write; 6] =
    [Write::Invalidate, Write::Hold, Write::Explicit, Write::Update, Write::Put, Write::Fail];

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Nobody can order what two of these do by themselves.
fn is_ordered(one: Write, other: Write) -> bool {
    // A `put` may be older than a write that its caller did not see.
    one != Write::Put && other != Write::Put
}

mod races {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_load_that_meets_a_change_leaves_no_old_value_and_no_read_after_it_is_old() {
        for (world, write) in
            WORLDS.into_iter().flat_map(|world| WRITES.map(|write| (world, write)))
        {
            for start in (0..40).step_by(2) {
                for is_refresh in [false, true] {
                    let fleet = Fleet::new(world);
                    let reading = async {
                        sleep(millis(start)).await;
                        if is_refresh { fleet.refresh().await } else { fleet.read().await }
                    };
                    let writing = async {
                        sleep(millis(15)).await;
                        fleet.write(write, 1).await.unwrap();
                        fleet.read().await
                    };
                    let (_, after) = tokio::join!(reading, writing);
                    let when = format!("{world:?} {write:?} at {start}, refresh {is_refresh}");
                    assert_eq!(after, fleet.database.version(), "{when}");
                    fleet.assert_at_rest(&when).await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_changes_and_a_load_leave_no_old_value() {
        for world in WORLDS {
            for (one, other) in WRITES.into_iter().flat_map(|one| WRITES.map(|other| (one, other)))
            {
                if !is_ordered(one, other) {
                    continue;
                }
                for start in (0..24).step_by(4) {
                    for read in [0, 13, 21] {
                        let fleet = Fleet::new(world);
                        let reading = async {
                            sleep(millis(read)).await;
                            fleet.read().await
                        };
                        let first = async {
                            sleep(millis(10)).await;
                            fleet.write(one, 1).await.unwrap();
                        };
                        let second = async {
                            sleep(millis(start)).await;
                            fleet.write(other, 2).await.unwrap();
                        };
                        tokio::join!(reading, first, second);
                        let when = format!("{world:?} {one:?} {other:?} at {start}, {read}");
                        fleet.assert_at_rest(&when).await;
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_dropped_at_any_moment_leaves_no_old_value() {
        for (world, write) in
            WORLDS.into_iter().flat_map(|world| WRITES.map(|write| (world, write)))
        {
            // Until it has landed it has no guard.
            if write == Write::Put {
                continue;
            }
            for end in 0..20 {
                for read in (0..20).step_by(5) {
                    let fleet = Fleet::new(world);
                    fleet.read().await;
                    let reading = async {
                        sleep(millis(read)).await;
                        fleet.read().await
                    };
                    let writing = timeout(millis(end), fleet.write(write, 1));
                    let _ = tokio::join!(reading, writing);
                    let when = format!("{world:?} {write:?} until {end}, read at {read}");
                    fleet.assert_at_rest(&when).await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_whose_answers_are_lost_leaves_no_old_value() {
        for write in WRITES {
            for lost in [vec![Verb::Hold], vec![Verb::Settle], vec![Verb::Invalidate]] {
                for read in 0..20 {
                    let fleet = Fleet::new(World::TwoProcesses);
                    for verb in &lost {
                        fleet.nodes[0].lose_answer(*verb);
                    }
                    let reading = async {
                        sleep(millis(read)).await;
                        fleet.read().await
                    };
                    let writing = async {
                        // It may say that it failed.
                        let _ = fleet.write(write, 1).await;
                        sleep(STEP).await;
                        fleet.database.commit(1);
                    };
                    tokio::join!(reading, writing);
                    for verb in &lost {
                        fleet.nodes[0].answer(*verb);
                    }
                    let when = format!("{write:?}, {lost:?} lost, read at {read}");
                    // One that could not be held was not begun.
                    if write != Write::Fail && !(write == Write::Explicit && lost == [Verb::Hold]) {
                        fleet.assert_at_rest(&when).await;
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_late_or_twice_leaves_no_old_value() {
        for write in WRITES {
            for (late, twice) in [(0, true), (1, false), (7, false), (7, true), (30, true)] {
                for read in (0..30).step_by(3) {
                    let fleet = Fleet::new(World::TwoProcesses);
                    let reader = &fleet.nodes[1];
                    reader.keep_messages();
                    let delivering = async {
                        for _ in 0..100 {
                            let messages = reader.kept_messages();
                            sleep(millis(late)).await;
                            for message in &messages {
                                reader.listen(message);
                                if twice {
                                    reader.listen(message);
                                }
                            }
                            sleep(MOMENT).await;
                        }
                    };
                    let reading = async {
                        sleep(millis(read)).await;
                        fleet.read().await
                    };
                    let writing = async {
                        sleep(millis(10)).await;
                        fleet.write(write, 1).await.unwrap();
                    };
                    tokio::join!(delivering, reading, writing);
                    reader.deliver();
                    let when = format!("{write:?}, {late} late, twice {twice}, read at {read}");
                    fleet.assert_at_rest(&when).await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_lost_in_a_break_leaves_no_old_value_once_it_is_noticed() {
        for write in WRITES {
            for broken in (0..20).step_by(3) {
                for read in (0..30).step_by(4) {
                    let fleet = Fleet::new(World::TwoProcesses);
                    let reader = &fleet.nodes[1];
                    let breaking = async {
                        sleep(millis(broken)).await;
                        reader.go_deaf();
                        sleep(millis(20)).await;
                        reader.notice_break();
                        sleep(millis(5)).await;
                        reader.subscribe();
                    };
                    let reading = async {
                        sleep(millis(read)).await;
                        fleet.read().await
                    };
                    let writing = async {
                        sleep(millis(10)).await;
                        fleet.write(write, 1).await.unwrap();
                    };
                    tokio::join!(breaking, reading, writing);
                    let when = format!("{write:?}, deaf at {broken}, read at {read}");
                    fleet.assert_at_rest(&when).await;
                }
            }
        }
    }
}

/// The shortest orders of steps that broke simpler protocols, by their numbers in its review.
mod traces {
    use super::*;

    /// An update of `job`, which takes its steps when it is told to.
    struct Update {
        change: Change,
        entry: larder::Entry<Result<u32, Failed>>,
        node: Cache,
    }

    impl Update {
        async fn begin(node: &Node) -> Self {
            let mut change = Change::new();
            let call = node.cache.scope(async { job(Script::new(), 1).into_entry() }).await;
            let entry = change.updates(call);
            change.begin().await;
            Self { change, entry, node: node.cache.clone() }
        }

        async fn end(mut self, value: u32) {
            self.change.put(&self.entry, value);
            let change = self.change;
            self.node.scope(change.succeeded()).await;
        }
    }

    fn nodes(world: World) -> (Arc<Server>, Node, Node) {
        let server = Server::new();
        let a = Node::new(&server, "a");
        let b = if world == World::TwoProcesses { Node::new(&server, "b") } else { a.clone() };
        (server, a, b)
    }

    #[tokio::test(start_paused = true)]
    async fn trace_1_of_two_updates_that_overlap_neither_is_stored() {
        for world in [World::OneProcess, World::TwoProcesses] {
            let (server, a, b) = nodes(world);
            let (one, two) = (Update::begin(&a).await, Update::begin(&b).await);
            // In the database `one` was first.
            two.end(2).await;
            assert!(matches!(server.state(KEY), State::Hold(..)), "the other one is not done");
            one.end(1).await;
            assert_eq!(server.state(KEY), State::Absent);
            assert_eq!((a.kept().await, b.kept().await), (None, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trace_1_an_update_that_is_alone_is_stored_and_kept() {
        let (server, a, b) = nodes(World::TwoProcesses);
        b.job(&Script::new()).await.unwrap();
        Update::begin(&a).await.end(7).await;
        assert_eq!(server.value(KEY).unwrap().payload, b"7");
        assert_eq!(a.kept().await, Some(Ok(7)));
        assert_eq!(b.kept().await, None);
        assert_eq!(b.job(&Script::new()).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn trace_1_an_update_during_which_another_process_invalidates_is_not_stored() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let update = Update::begin(&a).await;
        let gate = b.remote.hold(Verb::Invalidate, At::Answered);
        let invalidation = b.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        update.end(1).await;
        gate.open();
        invalidation.await.unwrap().unwrap();
        assert_eq!(server.state(KEY), State::Absent);
        assert_eq!((a.kept().await, b.kept().await), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn trace_1_a_settlement_that_comes_late_stores_nothing() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let update = Update::begin(&a).await;
        let gate = a.remote.lag(Verb::Settle);
        update.end(1).await;
        // Nobody waits for it any more, and another process changes the entry.
        b.invalidate().await.unwrap();
        b.job(&Script::new()).await.unwrap();
        gate.open();
        a.cache.shutdown().await.unwrap();
        sleep(MOMENT).await;
        assert_eq!(server.state(KEY), State::Absent);
        assert_eq!((a.kept().await, b.kept().await), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn trace_2_of_two_holds_the_first_to_end_leaves_the_other() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let one = hold(&a, LEASE).await.unwrap();
        let two = hold(&b, LEASE).await.unwrap();
        one.complete().await.unwrap();
        assert!(matches!(server.state(KEY), State::Hold(..)));
        assert_eq!(a.job(&Script::new()).await, Ok(1));
        assert_eq!(a.kept().await, None, "the other one is in the middle of its change");
        two.complete().await.unwrap();
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn trace_2_a_hold_outlives_its_length_while_the_body_runs() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let held = hold(&a, 3 * SECOND).await.unwrap();
        server.forget();
        sleep(10 * SECOND).await;
        let renewals = server.log_of(KEY).len();
        assert!((5..=10).contains(&renewals), "{renewals} in ten seconds");
        held.complete().await.unwrap();
        sleep(10 * SECOND).await;
        assert_eq!(server.log_of(KEY).len(), renewals + 1, "and then no more");
        drop(b);
    }

    #[tokio::test(start_paused = true)]
    async fn trace_2_an_invalidation_by_another_writer_leaves_the_hold() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let held = hold(&a, LEASE).await.unwrap();
        b.invalidate().await.unwrap();
        assert!(matches!(server.state(KEY), State::Hold(..)));
        b.job(&Script::new()).await.unwrap();
        assert_eq!((b.kept().await, server.value(KEY)), (None, None));
        held.complete().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn trace_2_memory_elsewhere_is_told_when_a_hold_begins() {
        let (_server, a, b) = nodes(World::TwoProcesses);
        b.job(&Script::new()).await.unwrap();
        let held = hold(&a, LEASE).await.unwrap();
        assert_eq!(b.kept().await, None);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_does_not_find_its_hold_keeps_a_reader_from_storing() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let update = Update::begin(&a).await;
        // It has ended by itself, and a reader is in the middle of a load.
        server.set(KEY, State::Absent);
        let script = Script::new();
        let reader = b.started(&script).await;
        sleep(LEASE / 2).await;
        assert!(matches!(server.state(KEY), State::Hold(_, true)), "{:?}", server.state(KEY));
        reader.await.unwrap().unwrap();
        update.end(7).await;
        assert_eq!(server.state(KEY), State::Absent, "somebody may have changed it meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_settlement_whose_hold_has_ended_removes_what_stands_there() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let update = Update::begin(&a).await;
        server.set(KEY, State::Absent);
        b.job(&Script::new()).await.unwrap();
        assert!(server.value(KEY).is_some());
        update.end(7).await;
        assert_eq!(server.state(KEY), State::Absent);
        assert_eq!((a.kept().await, b.kept().await), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_settlement_that_finds_the_hold_of_another_leaves_it_contended() {
        let (server, a, b) = nodes(World::TwoProcesses);
        let one = Update::begin(&a).await;
        server.set(KEY, State::Absent);
        let two = Update::begin(&b).await;
        one.end(1).await;
        assert!(matches!(server.state(KEY), State::Hold(_, true)));
        two.end(2).await;
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn trace_5_a_value_that_was_kept_before_the_confirmation_is_outdated_by_it() {
        let (_server, a, _) = nodes(World::OneProcess);
        a.job(&Script::new()).await.unwrap();
        let gate = a.remote.hold(Verb::Invalidate, At::Sent);
        let invalidation = a.spawn(async { job(Script::new(), 1).invalidate().await });
        sleep(MOMENT).await;
        assert_eq!(a.kept().await, None, "outdated before it is sent");
        a.job(&Script::new()).await.unwrap();
        gate.open();
        invalidation.await.unwrap().unwrap();
        assert_eq!(a.kept().await, None, "and when it is confirmed");
    }

    #[tokio::test(start_paused = true)]
    async fn trace_8_a_body_that_is_dropped_during_its_commit_invalidates() {
        for world in WORLDS {
            let fleet = Fleet::new(world);
            fleet.read().await;
            let body = change(&fleet.database, async {
                // The COMMIT is on its way when the client hangs up.
                fleet.database.commit(1);
                sleep(SECOND).await;
            });
            assert!(timeout(millis(5), fleet.writer.scope(body)).await.is_err());
            fleet.assert_at_rest(&format!("{world:?}")).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trace_22_of_several_keys_all_are_attempted_and_those_that_failed_are_listed() {
        let (server, a) = alone();
        let calls = async {
            for id in 1..=4 {
                job(Script::new(), id).await.unwrap();
            }
            a.remote.refuse("test:job:2");
            a.remote.refuse("test:job:4");
            let mut invalidation = Cache::current().invalidation();
            for id in 1..=3 {
                invalidation = invalidation.entry(job(Script::new(), id));
            }
            invalidation.key("job:4").await?.complete().await
        };
        let error = a.cache.scope(calls).await.unwrap_err();
        let Error::NotLanded { mut keys, source } = error else { panic!("{error}") };
        keys.sort();
        assert_eq!(keys, ["job:2", "job:4"]);
        assert!(matches!(*source, Error::Refused));
        assert_eq!(server.state("test:job:1"), State::Absent);
        assert_eq!(server.state("test:job:3"), State::Absent);
        // Each of them is repaired by itself.
        assert_eq!(a.cache.stats().redis.pending_repairs, 2);
        a.remote.refuse_nothing();
        a.cache.shutdown().await.unwrap();
        assert_eq!(server.state("test:job:2"), State::Absent);
        assert_eq!(server.state("test:job:4"), State::Absent);
    }
}

async fn hold(node: &Node, term: Duration) -> Result<larder::Invalidation, Error> {
    let held =
        async { Cache::current().invalidation().entry(job(Script::new(), 1)).hold(term).await };
    node.cache.scope(held).await
}

mod holds {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn during_a_hold_nothing_is_stored_anywhere_and_callers_share_a_run() {
        let (server, a, b) = pair();
        let held = hold(&a, LEASE).await.unwrap();
        for node in [&a, &b] {
            let script = Script::new();
            let calls = [node.started(&script).await, node.started(&script).await];
            for call in calls {
                assert_eq!(call.await.unwrap(), Ok(1));
            }
            assert_eq!(node.kept().await, None);
            assert!(matches!(server.state(KEY), State::Hold(..)));
        }
        held.complete().await.unwrap();
        a.job(&Script::new()).await.unwrap();
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_in_memory_alone_keeps_readers_from_storing() {
        let cache = Cache::memory();
        let calls = async {
            let script = Script::new();
            let held = Cache::current().invalidation().entry(job(Arc::clone(&script), 1));
            let held = held.hold(SECOND).await.unwrap();
            job(Arc::clone(&script), 1).await.unwrap();
            assert_eq!(job(Arc::clone(&script), 1).peek().await, None);
            held.complete().await.unwrap();
            job(Arc::clone(&script), 1).await.unwrap();
            assert_eq!(job(script, 1).peek().await, Some(Ok(2)));
        };
        cache.scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_held_is_counted_and_its_value_is_not_stored() {
        let (server, a) = alone();
        a.remote.fail(Verb::Hold);
        let put = async { job(Script::new(), 1).put(7).await };
        assert!(matches!(a.cache.scope(put).await, Err(Error::Unavailable)));
        assert_eq!((server.state(KEY), a.kept().await), (State::Absent, None));
        assert_eq!(a.cache.stats().redis.unheld, 1);
        // It was invalidated instead.
        assert_eq!(a.cache.stats().redis.pending_repairs, 0);
        assert_eq!(server.log_of(KEY)[..2], ["a HOLD", "a SETTLE"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_was_taken_late_stores_no_value() {
        let (server, a, b) = pair();
        let late = a.remote.lag(Verb::Hold);
        let mut change = Change::new();
        let entry = a.cache.scope(async { job(Script::new(), 1).into_entry() }).await;
        let entry = change.updates(entry);
        change.begin().await;
        // Another writer comes and goes, and then the hold is taken after all.
        b.cache.scope(async { job(Script::new(), 1).put(2).await }).await.unwrap();
        late.open();
        sleep(MOMENT).await;
        assert!(matches!(server.state(KEY), State::Hold(..)));
        change.put(&entry, 1);
        change.succeeded().await;
        assert_eq!((server.state(KEY), a.kept().await), (State::Absent, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_is_required_and_cannot_be_is_an_error_and_ends() {
        let (server, a) = alone();
        a.remote.lose_answer(Verb::Hold);
        assert!(matches!(hold(&a, LEASE).await, Err(Error::Unavailable)));
        a.cache.shutdown().await.unwrap();
        assert_eq!(server.state(KEY), State::Absent, "it was taken, and is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_is_dropped_lasts_for_its_term_whenever_that_is() {
        // Right after it was had, before the first renewal, and before the second.
        for dropped in [Duration::ZERO, 3 * LEASE / 10, 6 * LEASE / 10] {
            let (server, a, b) = pair();
            let script = Script::new();
            a.job(&script).await.unwrap();
            let held = hold(&a, LEASE).await.unwrap();
            sleep(dropped).await;
            drop(held);
            // Its COMMIT may be on its way: whatever is read until then may be old.
            sleep(9 * LEASE / 10).await;
            assert_eq!((b.job(&script).await, a.job(&script).await), (Ok(2), Ok(3)), "{dropped:?}");
            assert_eq!((a.kept().await, b.kept().await, server.value(KEY)), (None, None, None));
            sleep(6 * LEASE / 10).await;
            assert_eq!((a.job(&script).await, b.job(&script).await), (Ok(4), Ok(4)));
            assert_eq!(a.kept().await, Some(Ok(4)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_died_does_not_hold_the_key_while_others_come_and_go() {
        let (server, a, b) = pair();
        drop(hold(&b, LEASE).await.unwrap());
        for _ in 0..20 {
            a.cache.scope(async { job(Script::new(), 1).put(7).await }).await.unwrap();
            sleep(LEASE / 10).await;
        }
        assert_eq!(server.value(KEY).unwrap().payload, b"7");
        assert_eq!(a.kept().await, Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_drop_invalidates_does_not_wait_for_the_term() {
        let (server, a) = alone();
        let held = hold(&a, LEASE).await.unwrap();
        server.forget();
        drop(held);
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a INVALIDATE"]);
        assert_eq!(a.cache.stats().redis.pending_repairs, 0);
        sleep(2 * LEASE).await;
        assert_eq!(server.log(), ["a INVALIDATE"], "neither renewed nor ended");
    }

    #[tokio::test(start_paused = true)]
    async fn in_memory_alone_a_hold_that_is_dropped_lasts_as_long() {
        let cache = Cache::memory();
        let script = Script::new();
        let held = async {
            Cache::current().invalidation().entry(job(Script::new(), 1)).hold(LEASE).await
        };
        drop(cache.scope(held).await.unwrap());
        let job = || cache.scope(async { job(Arc::clone(&script), 1).await });
        sleep(9 * LEASE / 10).await;
        assert_eq!((job().await, job().await), (Ok(1), Ok(2)));
        sleep(LEASE).await;
        assert_eq!((job().await, job().await), (Ok(3), Ok(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn of_holds_that_are_required_those_that_were_had_end_at_once() {
        let (server, a) = alone();
        a.remote.refuse("test:job:2");
        let calls = async {
            let invalidation = Cache::current().invalidation();
            let both = invalidation.entry(job(Script::new(), 1)).entry(job(Script::new(), 2));
            both.hold(LEASE).await
        };
        assert!(matches!(a.cache.scope(calls).await, Err(Error::Refused)));
        a.remote.refuse_nothing();
        a.cache.shutdown().await.unwrap();
        assert_eq!(server.state(KEY), State::Absent, "nothing was changed under it");
        a.job(&Script::new()).await.unwrap();
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_settlement_that_fails_is_repaired_and_opens_the_key() {
        let (server, a) = alone();
        let held = hold(&a, LEASE).await.unwrap();
        a.remote.fail(Verb::Settle);
        held.complete().await.unwrap_err();
        assert_eq!(a.cache.stats().redis.pending_repairs, 1);
        assert!(matches!(server.state(KEY), State::Hold(..)));
        a.remote.answer(Verb::Settle);
        a.cache.shutdown().await.unwrap();
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_is_not_renewed_once_its_end_is_on_its_way() {
        let (server, a) = alone();
        let held = hold(&a, LEASE).await.unwrap();
        // A renewal is on its way, and the end comes after it.
        let renewal = a.remote.hold(Verb::Hold, At::Sent);
        sleep(LEASE / 2).await;
        let end = a.remote.hold(Verb::Settle, At::Answered);
        let ending = tokio::spawn(held.complete());
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a HOLD", "a HOLD"]);
        renewal.open();
        sleep(MOMENT).await;
        assert_eq!(server.log(), ["a HOLD", "a HOLD", "a SETTLE"]);
        assert_eq!(server.state(KEY), State::Absent);
        sleep(LEASE).await;
        assert_eq!(server.log().len(), 3, "while nobody knows that it has ended");
        end.open();
        ending.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_comes_while_a_change_lands_joins_no_run_from_before_it() {
        let (_server, a) = alone();
        let held = hold(&a, LEASE).await.unwrap();
        let script = Script::new();
        let first = a.started(&script).await;
        let gate = a.remote.hold(Verb::Settle, At::Answered);
        let landing = tokio::spawn(held.complete());
        sleep(MOMENT).await;
        let second = a.started(&script).await;
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(1), Ok(2)));
        gate.open();
        landing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalidation_that_is_not_awaited_does_nothing() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        let builder = async { Cache::current().invalidation().entry(job(Script::new(), 1)) };
        drop(a.cache.scope(builder).await.hold(LEASE));
        a.cache.shutdown().await.unwrap();
        assert!(server.value(KEY).is_some());
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_of_no_time_is_one_of_a_millisecond() {
        let (server, a) = alone();
        let held = hold(&a, Duration::ZERO).await.unwrap();
        sleep(20 * MOMENT).await;
        assert!(server.log().len() <= 22, "{} commands in 20 ms", server.log().len());
        held.complete().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_fails_ends_its_hold_at_once() {
        let (server, a) = alone();
        let change = async {
            let mut change = Change::new().hold(10_000);
            change.target(job(Script::new(), 1));
            change.begin().await;
            change.failed().await;
        };
        a.cache.scope(change).await;
        assert_eq!(server.state(KEY), State::Absent);
        a.job(&Script::new()).await.unwrap();
        assert_eq!(a.kept().await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn several_entries_are_one_command_of_each_kind() {
        let (server, a) = alone();
        let calls = async {
            let mut invalidation = Cache::current().invalidation();
            for id in 0..100 {
                invalidation = invalidation.entry(job(Script::new(), id));
            }
            let held = invalidation.hold(LEASE).await.unwrap();
            let gate = a.remote.hold(Verb::Settle, At::Sent);
            // All of them wait at one gate.
            let completing = tokio::spawn(held.complete());
            sleep(MOMENT).await;
            gate.let_one_go();
            completing.await.unwrap().unwrap();
        };
        a.cache.scope(calls).await;
        assert_eq!(server.log().len(), 200);
        for id in 0..100 {
            assert_eq!(server.state(&format!("test:job:{id}")), State::Absent);
        }
    }
}

mod puts {
    use super::*;

    async fn put(node: &Node, value: u32) -> Result<(), Error> {
        node.cache.scope(async { job(Script::new(), 1).put(value).await }).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_is_stored_and_kept_and_told() {
        let (server, a, b) = pair();
        b.job(&Script::new()).await.unwrap();
        server.forget();
        put(&a, 7).await.unwrap();
        assert_eq!(server.log(), ["a HOLD", "a SETTLE"]);
        assert_eq!(server.value(KEY).unwrap().payload, b"7");
        assert_eq!(server.value(KEY).unwrap().life, 60 * SECOND);
        assert_eq!((a.kept().await, b.kept().await), (Some(Ok(7)), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_into_an_entry_that_another_writer_holds_is_an_invalidation() {
        let (server, a, b) = pair();
        let held = hold(&b, LEASE).await.unwrap();
        put(&a, 7).await.unwrap();
        assert!(matches!(server.state(KEY), State::Hold(_, true)));
        assert_eq!(a.kept().await, None);
        held.complete().await.unwrap();
        assert_eq!(server.state(KEY), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_in_memory_alone_into_an_entry_that_another_writer_holds_is_an_invalidation() {
        let calls = async {
            let held = Cache::current().invalidation().entry(job(Script::new(), 1));
            let held = held.hold(SECOND).await.unwrap();
            job(Script::new(), 1).put(7).await.unwrap();
            assert_eq!(job(Script::new(), 1).peek().await, None);
            held.complete().await.unwrap();
            assert_eq!(job(Script::new(), 1).peek().await, None);
            job(Script::new(), 1).put(8).await.unwrap();
            assert_eq!(job(Script::new(), 1).peek().await, Some(Ok(8)));
        };
        Cache::memory().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_of_a_value_that_stays_in_memory_is_kept_here_and_told() {
        #[cached(ttl = 60, key = "here:{id}", remote = false)]
        async fn here(id: u64) -> u64 {
            id
        }
        let (server, a, b) = pair();
        b.cache.scope(async { here(1).await }).await;
        a.cache.scope(async { here(1).put(7).await }).await.unwrap();
        assert_eq!(a.cache.scope(async { here(1).peek().await }).await, Some(7));
        assert_eq!(b.cache.scope(async { here(1).peek().await }).await, None);
        assert_eq!(server.state("test:here:1"), State::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_between_a_put_and_its_answer_keeps_it_out_of_memory() {
        for what in ["invalidation", "clear", "clear here", "break"] {
            let (_server, a, b) = pair();
            let gate = a.remote.hold(Verb::Settle, At::Answered);
            let putting = a.spawn(a.cache.scope(async { job(Script::new(), 1).put(7).await }));
            sleep(MOMENT).await;
            match what {
                "invalidation" => b.invalidate().await.unwrap(),
                "clear" => b.cache.clear().await.unwrap(),
                "clear here" => a.cache.clear().await.unwrap(),
                _ => {
                    a.remote.notice_break();
                    a.remote.subscribe();
                }
            }
            gate.open();
            putting.await.unwrap().unwrap();
            assert_eq!(a.kept().await, None, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_function_would_not_store_removes_the_entry() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        let call = async { job(Script::new(), 1).put(Err(Failed(1))).await };
        a.cache.scope(call).await.unwrap();
        assert_eq!((a.kept().await, server.state(KEY)), (None, State::Absent));
    }
}

mod messages {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_empties_memory_and_asks_nothing() {
        let (server, a, b) = pair();
        b.job(&Script::new()).await.unwrap();
        a.invalidate().await.unwrap();
        server.forget();
        assert_eq!(b.kept().await, None);
        assert_eq!(server.log(), ["b GET"], "only the look of this test");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_of_another_service_or_of_no_key_is_nothing() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        for key in ["", "test", "other:job:1", "tests:job:1", "test:job:2"] {
            server.say(&Message::Invalidated(key.to_owned()));
        }
        assert_eq!(a.kept().await, Some(Ok(1)));
        server.say(&Message::Invalidated(KEY.to_owned()));
        assert_eq!(a.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_reaches_a_key_that_is_too_long_to_be_readable() {
        #[cached(ttl = 60, key = "name:{name}")]
        async fn length(name: &str) -> usize {
            name.len()
        }
        let (_server, a, b) = pair();
        let name = "x".repeat(1_000);
        b.cache.scope(async { length(&name).await }).await;
        a.cache.scope(async { length(&name).invalidate().await }).await.unwrap();
        assert_eq!(b.cache.scope(async { length(&name).peek().await }).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_empties_the_memory_of_others() {
        let (_server, a, b) = pair();
        b.job(&Script::new()).await.unwrap();
        a.cache.clear().await.unwrap();
        assert_eq!(b.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_break_outdates_all_when_it_is_noticed_and_again_when_it_is_over() {
        let (_server, a, b) = pair();
        b.job(&Script::new()).await.unwrap();
        b.remote.notice_break();
        assert_eq!(b.kept().await, None);
        b.job(&Script::new()).await.unwrap();
        assert_eq!(b.kept().await, Some(Ok(1)), "as young as what nobody need vouch for");
        // Nobody tells it.
        a.invalidate().await.unwrap();
        b.remote.subscribe();
        assert_eq!(b.kept().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_before_a_break_is_not_kept() {
        let (server, a, b) = pair();
        let call = b.started(&Script::new()).await;
        b.remote.notice_break();
        b.remote.subscribe();
        assert_eq!(call.await.unwrap(), Ok(1));
        assert_eq!(b.kept().await, None);
        assert!(server.value(KEY).is_some(), "its lease stood, and Redis knows");
        drop(a);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_what_was_dropped() {
        let (server, a) = alone();
        a.job(&Script::new()).await.unwrap();
        let mut change = Change::new();
        a.cache.scope(async { change.target(job(Script::new(), 1)) }).await;
        change.begin().await;
        drop(change);
        a.cache.shutdown().await.unwrap();
        assert_eq!(server.state(KEY), State::Absent);
    }
}
