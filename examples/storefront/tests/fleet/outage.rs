use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use example_servers::Redis;
use tokio::{
    task::{JoinHandle, block_in_place},
    time::sleep,
};

use super::{
    pair::{PROMISE, Pair, ROOM},
    things::{Thing, connect},
};
use crate::common::wait_until;

const THINGS: [Thing; 5] = [
    Thing::Price(51),
    Thing::PriceInAList(52),
    Thing::Name(53),
    Thing::Profile(54),
    Thing::Orders(55),
];

/// So many writes of each thing while Redis is away, and so many afterwards: longer than anything may be stale.
const WRITES: usize = 40;

/// From when its reader has asked, so it does not matter how long an answer takes. The room is for what one instance
/// cannot tell the other: on a machine that is busy, one may be without a Redis that the other has.
const LONGEST: Duration = PROMISE.saturating_add(ROOM);

/// What has become of Redis.
const BEFORE: usize = 0;
const AWAY: usize = 1;
const BACK: usize = 2;

/// A thing that is written through both in turn and read through both all the time, until it is told to end.
struct Watched {
    thing: Thing,
    /// When each was answered.
    written: Mutex<Vec<(Instant, i64)>>,
    reads: AtomicUsize,
    /// In each state of Redis.
    longest: Mutex<[Duration; 3]>,
    state: AtomicUsize,
    is_over: AtomicBool,
}

impl Watched {
    fn begin(thing: Thing, pair: &Pair) -> (Arc<Self>, Vec<JoinHandle<()>>) {
        let watched = Arc::new(Self {
            thing,
            written: Mutex::default(),
            reads: AtomicUsize::new(0),
            longest: Mutex::default(),
            state: AtomicUsize::new(BEFORE),
            is_over: AtomicBool::new(false),
        });
        let addresses = pair.both().map(|service| service.address);
        let writer = Arc::clone(&watched);
        let mut tasks = vec![tokio::spawn(async move {
            let mut clients = [connect(addresses[0]).await, connect(addresses[1]).await];
            while !writer.is_over.load(Relaxed) {
                let number = thing.write(&mut clients[0]).await;
                writer.written.lock().unwrap().push((Instant::now(), number));
                // What one writes over and over, the other has to hear of.
                if fastrand::u8(..10) == 0 {
                    clients.swap(0, 1);
                }
                // Also so long that readers keep it meanwhile.
                sleep(Duration::from_millis(fastrand::u64(..300))).await;
            }
        })];
        for address in addresses {
            let reader = Arc::clone(&watched);
            tasks.push(tokio::spawn(async move {
                let mut client = connect(address).await;
                while !reader.is_over.load(Relaxed) {
                    let asked = Instant::now();
                    let number = thing.read(&mut client).await;
                    reader.has_read(asked, number);
                    sleep(Duration::from_millis(10)).await;
                }
            }));
        }
        (watched, tasks)
    }

    fn has_read(&self, asked: Instant, number: i64) {
        self.reads.fetch_add(1, Relaxed);
        let written = self.written.lock().unwrap();
        // The numbers grow.
        let later = written.partition_point(|(_, written)| *written <= number);
        let Some((answered, _)) = written.get(later) else { return };
        let age = asked.saturating_duration_since(*answered);
        let longest = &mut self.longest.lock().unwrap()[self.state.load(Relaxed)];
        *longest = age.max(*longest);
    }

    fn writes(&self) -> usize {
        self.written.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_stopped_both_answer_and_what_they_answer_is_no_older_than_promised() {
    survive("stopped", Redis::stop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_killed_both_answer_and_what_they_answer_is_no_older_than_promised() {
    survive("killed", Redis::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_hangs_both_answer_and_what_they_answer_is_no_older_than_promised() {
    survive("hung", |redis| redis.hang()).await;
}

async fn survive(how: &str, blow: impl FnOnce(&mut Redis)) {
    let mut pair = Pair::open().await;
    let (watched, tasks): (Vec<_>, Vec<_>) =
        THINGS.map(|thing| Watched::begin(thing, &pair)).into_iter().unzip();
    more_writes(&watched, WRITES / 5).await;
    let redis = pair.one.backends.redis.as_mut().unwrap();
    block_in_place(|| blow(redis));
    is(&watched, AWAY);
    more_writes(&watched, WRITES).await;
    is(&watched, BACK);
    let redis = pair.one.backends.redis.as_mut().unwrap();
    block_in_place(|| {
        redis.wake();
        redis.start_again().unwrap();
    });
    pair.hear_each_other().await;
    more_writes(&watched, WRITES).await;
    for watched in &watched {
        watched.is_over.store(true, Relaxed);
    }
    for task in tasks.into_iter().flatten() {
        // No answer was an error, or it has panicked.
        task.await.unwrap();
    }
    for watched in &watched {
        let [before, away, back] = *watched.longest.lock().unwrap();
        let (reads, writes) = (watched.reads.load(Relaxed), watched.writes());
        let thing = watched.thing;
        println!(
            "Redis was {how}: {thing:?}, {writes} writes, {reads} reads, old for {before:.1?}, {away:.1?} and {back:.1?} at most, before, meanwhile and afterwards"
        );
        assert!(before.max(away).max(back) <= LONGEST, "{thing:?}");
    }
    are_coherent(&pair).await;
}

fn is(watched: &[Arc<Watched>], state: usize) {
    for watched in watched {
        watched.state.store(state, Relaxed);
    }
}

async fn more_writes(watched: &[Arc<Watched>], more: usize) {
    let writes = || watched.iter().map(|watched| watched.writes());
    let before: Vec<_> = writes().collect();
    for more in 1..=more {
        wait_until("one more is written", async || {
            writes().zip(&before).all(|(writes, before)| writes >= before + more)
        })
        .await;
    }
}

/// As they were before.
async fn are_coherent(pair: &Pair) {
    let (mut one, mut other) =
        (connect(pair.one.service.address).await, connect(pair.other.address).await);
    for thing in THINGS {
        for _ in 0..20 {
            thing.read(&mut other).await;
            let written = thing.write(&mut one).await;
            let began = Instant::now();
            while thing.read(&mut other).await < written {
                assert!(began.elapsed() < PROMISE + ROOM, "{thing:?} does not show");
                sleep(Duration::from_millis(1)).await;
            }
            std::mem::swap(&mut one, &mut other);
        }
    }
}
