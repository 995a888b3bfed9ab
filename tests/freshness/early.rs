//! Refreshes of values that are fresh still: by chance, the likelier the nearer the end of their lives is and the
//! longer their runs take, as Vattani, Chierichetti and Lowenstein have it (VLDB 2015).
//!
//! All chance is seeded, so what is compared with the formula is the same in every run; the bounds are such that a
//! draw of another seed would pass too, but for one in a thousand.

use super::*;
use crate::common::{
    At, Server, State, Verb,
    node::Node,
    origin::{draws, seeded},
};

#[cached(ttl = 60, refresh_early, key = "early:{id}", skip(origin))]
async fn early(origin: Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, refresh_early, local = false, key = "far:{id}", skip(origin))]
async fn far(origin: Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

/// Where the values are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Memory,
    /// And in the tier behind it.
    Both,
    Tier,
}

const PLACES: [Place; 3] = [Place::Memory, Place::Both, Place::Tier];

/// The processes of a fleet, or the one that there is where nothing is shared.
struct Fleet {
    place: Place,
    origin: Origin,
    caches: Vec<Cache>,
    server: Arc<Server>,
}

impl Fleet {
    fn new(
        place: Place,
        processes: usize,
        draw: impl Fn() -> u64 + Clone + Send + Sync + 'static,
    ) -> Self {
        const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

        let server = Server::new();
        let caches =
            NAMES[..if place == Place::Memory { 1 } else { processes }].iter().map(|name| {
                let cache = Cache::builder("test").clock(Virtual::new()).random(draw.clone());
                // So that nobody has to wait.
                let cache = cache.background_runs(1_000_000);
                let cache = match place {
                    Place::Memory => cache,
                    Place::Both | Place::Tier => cache.remote(server.connect(name)),
                };
                cache.build().unwrap()
            });
        Self { place, origin: Origin::default(), caches: caches.collect(), server }
    }

    /// A call in one of its processes, in turn where there are fewer.
    fn call(
        &self,
        process: usize,
        id: u64,
    ) -> impl Future<Output = (Result<u32, u32>, Source)> + Send + use<> {
        let (place, origin) = (self.place, self.origin.clone());
        self.caches[process % self.caches.len()].scope(async move {
            match place {
                Place::Memory | Place::Both => early(origin, id).with_source().await,
                Place::Tier => far(origin, id).with_source().await,
            }
        })
    }

    /// Loads so many keys at once, and has them in the memory of all.
    async fn load(&self, keys: u64) {
        for process in 0..self.caches.len() {
            let loads: Vec<_> = (0..keys).map(|id| tokio::spawn(self.call(process, id))).collect();
            for load in loads {
                load.await.unwrap().0.unwrap();
            }
        }
    }
}

/// What a run costs, in seconds.
const COST: f64 = 1.0;

/// The chance of a read so many seconds before the end.
fn chance(left: f64) -> f64 {
    (-left / COST).exp()
}

#[tokio::test(start_paused = true)]
async fn the_chance_of_a_read_is_that_of_the_formula() {
    const KEYS: u32 = 1_000;
    const LEFT: [f64; 8] = [0.05, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0];
    /// Of a sum of eight squares of what is normally distributed, one in a thousand is larger.
    const BOUND: f64 = 26.1;

    for place in PLACES {
        let fleet = Fleet::new(place, 1, seeded(place as u64));
        let mut sum = 0.0;
        for left in LEFT {
            fleet.load(KEYS.into()).await;
            sleep(Duration::from_secs_f64(60.0 - left)).await;
            let before = fleet.origin.runs();
            for id in 0..u64::from(KEYS) {
                // It is served meanwhile.
                let source = fleet.call(0, id).await.1;
                assert!(matches!(source, Source::Memory { .. } | Source::Redis { .. }));
            }
            // All lives are over.
            sleep(120 * SECOND).await;
            let (expected, draws) = (chance(left), f64::from(KEYS));
            let refreshed = f64::from(fleet.origin.runs() - before);
            let deviation = refreshed - draws * expected;
            sum += deviation * deviation / (draws * expected * (1.0 - expected));
            println!(
                "{place:?}, {left} s before the end: {:.4} of the reads, by the formula {expected:.4}",
                refreshed / draws
            );
        }
        println!("{place:?}: chi-square {sum:.1} of at most {BOUND}");
        assert!(sum < BOUND, "{place:?}: {sum}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_refreshes_as_early_as_the_formula_says_and_each_key_once() {
    const KEYS: u32 = 500;
    const PROCESSES: usize = 4;
    const PAUSE: Duration = Duration::from_millis(200);
    /// Before the end. Earlier than this, 2 in 10,000 are refreshed.
    const FROM: Duration = Duration::from_secs(12);
    /// One in a thousand distributions is further away from what it is drawn from (Kolmogorov).
    const BOUND: f64 = 1.95;

    for place in PLACES {
        let fleet = Fleet::new(place, PROCESSES, seeded(2));
        fleet.load(KEYS.into()).await;
        let loaded = fleet.origin.began()[0];
        let end = loaded + RUN + 60 * SECOND;
        tokio::time::sleep_until(end - FROM).await;
        // For each moment of a read, the chance that nobody has refreshed by then.
        let mut expected = Vec::new();
        let mut none = 1.0;
        for _ in 0..FROM.as_millis() / PAUSE.as_millis() {
            for process in 0..PROCESSES {
                for id in 0..u64::from(KEYS) {
                    fleet.call(process, id).await.0.unwrap();
                }
                let now = Instant::now();
                none *= 1.0 - chance((end - now).as_secs_f64());
                expected.push((now, none));
                sleep(PAUSE / PROCESSES as u32).await;
            }
        }
        let mut began = fleet.origin.began();
        began.retain(|began| *began > loaded);
        let furthest = expected.iter().map(|(now, none)| {
            let by_then = began.iter().filter(|began| *began <= now).count() as u32;
            (f64::from(by_then) / f64::from(KEYS) - (1.0 - none)).abs()
        });
        let distance = furthest.fold(0.0, f64::max) * f64::from(KEYS).sqrt();
        let mut early: Vec<_> = began.iter().map(|began| end - *began).collect();
        early.sort_unstable();
        println!(
            "{place:?}: {} of {KEYS} refreshed before their end, half of them {:.1} s and more, by \
             {PROCESSES} processes that read every {PAUSE:?}; Kolmogorov's distance {distance:.2} \
             of at most {BOUND}",
            early.len(),
            early[early.len() / 2].as_secs_f64()
        );
        assert!(distance < BOUND, "{place:?}: {distance}");
        assert!(early.len() <= KEYS as usize, "{place:?}: {}", early.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_eight_has_one_run_for_each_life_and_nobody_waits() {
    const LIVES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(100);

    for place in PLACES {
        let fleet = Fleet::new(place, 8, seeded(3));
        fleet.load(1).await;
        let until = Instant::now() + LIVES * 60 * SECOND;
        let mut process = 0;
        while Instant::now() < until {
            let ((output, _), took) = timed(fleet.call(process, 0)).await;
            assert_eq!((output.is_ok(), took), (true, Duration::ZERO), "{place:?}");
            process += 1;
            sleep(PAUSE / 8).await;
        }
        assert_eq!(fleet.origin.most_at_once(), 1, "{place:?}");
        let began = fleet.origin.began();
        let lives: Vec<_> = began.windows(2).map(|runs| runs[1] - runs[0]).collect();
        println!(
            "{place:?}: {} runs in {LIVES} times 60 s, {:.1} to {:.1} s from one to the next",
            began.len(),
            lives.iter().min().unwrap().as_secs_f64(),
            lives.iter().max().unwrap().as_secs_f64()
        );
        // Each in the second half of the life of the one before.
        let life = RUN + 60 * SECOND;
        assert!(lives.iter().all(|lived| (life / 2..life).contains(lived)), "{place:?}: {lives:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_first_half_of_a_life_nothing_is_refreshed() {
    // As likely as can be, in all of the life of a value that costs so much.
    for place in PLACES {
        let fleet = Fleet::new(place, 2, draws(true));
        fleet.origin.turn(Act::AnswerSlowly);
        fleet.load(1).await;
        let loaded = fleet.origin.began()[0];
        let half = (SLOW + 60 * SECOND) / 2;
        while fleet.origin.runs() == 1 {
            for process in 0..2 {
                let source = fleet.call(process, 0).await.1;
                assert!(matches!(source, Source::Memory { .. } | Source::Redis { .. }));
            }
            sleep(100 * MOMENT).await;
        }
        let second = fleet.origin.began()[1] - loaded;
        // Memory looks closer in the last so many times the cost that fit into that half.
        assert!((half..half + SLOW).contains(&second), "{place:?}: {second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_took_no_time_is_not_repeated_early() {
    #[cached(ttl = 60, refresh_early, key = "free", skip(runs))]
    async fn free(runs: Arc<AtomicU32>) -> u32 {
        runs.fetch_add(1, SeqCst) + 1
    }

    let runs = Arc::new(AtomicU32::new(0));
    let calls = async {
        for _ in 0..60 {
            assert_eq!(free(Arc::clone(&runs)).await, 1);
            sleep(SECOND).await;
        }
        assert_eq!(free(Arc::clone(&runs)).await, 2);
    };
    cache().random(draws(true)).build().unwrap().scope(calls).await;
}

#[tokio::test(start_paused = true)]
async fn an_early_refresh_that_fails_leaves_the_value_and_is_not_tried_again_at_once() {
    for place in PLACES {
        let fleet = Fleet::new(place, 1, draws(true));
        fleet.load(1).await;
        fleet.origin.turn(Act::Fail);
        sleep(46 * SECOND).await;
        for _ in 0..10 {
            let ((output, source), took) = timed(fleet.call(0, 0)).await;
            assert_eq!((output, took), (Ok(1), Duration::ZERO), "{place:?}");
            assert!(matches!(source, Source::Memory { .. } | Source::Redis { .. }), "{source:?}");
            sleep(SECOND).await;
        }
        assert_eq!(fleet.origin.runs(), 2, "{place:?}");
        sleep(RUN).await;
        assert_eq!(fleet.call(0, 0).await.0, Ok(1));
        sleep(MOMENT).await;
        assert_eq!(fleet.origin.runs(), 3, "{place:?}");
    }
}

// It would have been a hit.
#[tokio::test(start_paused = true)]
async fn an_early_refresh_that_fails_leaves_the_value_also_where_the_tier_does_not_vouch_for_it() {
    #[cached(ttl = 60, refresh_early, key = "early", skip(origin))]
    async fn early(origin: &Origin) -> Result<u32, u32> {
        origin.run().await
    }

    for lost in [Some(Verb::Lease), Some(Verb::Release), None] {
        for act in [Act::Fail, Act::Panic] {
            let server = Server::new();
            let node = Node::with(&server, "a", |cache| {
                cache.clock(Virtual::new()).random(draws(true)).redis_budget(60 * SECOND)
            });
            let origin = Origin::new(&[Act::Answer, act]);
            let call = || timed(node.cache.scope(async { early(&origin).with_source().await }));
            call().await.0.0.unwrap();
            sleep(50 * SECOND).await;
            match lost {
                Some(verb) => node.remote.fail(verb),
                // Evicted: nobody has changed it.
                None => server.set("test:early", State::Absent),
            }
            let ((output, source), took) = call().await;
            assert_eq!((output, took), (Ok(1), RUN), "{lost:?}");
            assert!(is_memory(source), "{source:?}");
            // And nobody tries again for a while.
            assert_eq!(call().await.1, Duration::ZERO);
            assert_eq!(origin.runs(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_refresh_that_fails_does_not_leave_what_was_invalidated_meanwhile() {
    #[cached(ttl = 60, refresh_early, key = "early", skip(origin))]
    async fn early(origin: Origin) -> Result<u32, u32> {
        // Owned, and it stays with its caller all the same.
        origin.run().await
    }

    let server = Server::new();
    let node = Node::with(&server, "a", |cache| {
        let cache = cache.clock(Virtual::new()).random(draws(true)).background_runs(0);
        cache.redis_budget(60 * SECOND)
    });
    let origin = Origin::new(&[Act::Answer, Act::Fail]);
    node.cache.scope(async { early(origin.clone()).await }).await.unwrap();
    sleep(50 * SECOND).await;
    let refreshing = node.spawn({
        let origin = origin.clone();
        async move { early(origin).await }
    });
    sleep(MOMENT).await;
    // Neither by a message, nor is it known that none was lost.
    node.remote.keep_messages();
    server.set("test:early", State::Absent);
    assert_eq!(refreshing.await.unwrap(), Err(2));
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_refreshed_already_is_taken_and_not_refreshed_again() {
    for place in [Place::Both, Place::Tier] {
        let fleet = Fleet::new(place, 2, draws(true));
        fleet.load(1).await;
        sleep(50 * SECOND).await;
        assert_eq!(fleet.call(0, 0).await.0, Ok(1));
        sleep(2 * RUN).await;
        fleet.server.forget();
        // Its memory has the old one, which is to be refreshed as far as it knows.
        let before = if place == Place::Both { 1 } else { 2 };
        assert_eq!(fleet.call(1, 0).await.0, Ok(before), "{place:?}");
        sleep(2 * RUN).await;
        assert_eq!(fleet.call(1, 0).await.0, Ok(2), "{place:?}");
        let (asked, again) = if place == Place::Both { ("b LEASE early", 1) } else { ("b GET", 2) };
        assert_eq!(fleet.server.log(), vec![asked; again]);
        assert_eq!(fleet.origin.runs(), 2);
    }
}

// Between its look and its lease.
#[tokio::test(start_paused = true)]
async fn what_another_process_refreshes_just_then_is_not_refreshed_again() {
    let fleet = Fleet::new(Place::Tier, 1, draws(true));
    let other = Node::with(&fleet.server, "b", |cache| {
        cache.clock(Virtual::new()).random(draws(true)).redis_budget(60 * SECOND)
    });
    fleet.load(1).await;
    sleep(50 * SECOND).await;
    fleet.call(0, 0).await.0.unwrap();
    let gate = other.remote.hold(Verb::Lease, At::Sent);
    let origin = fleet.origin.clone();
    let served = other.cache.scope(async { far(origin, 0).await }).await;
    assert_eq!(served, Ok(1));
    sleep(2 * RUN).await;
    gate.open();
    sleep(2 * RUN).await;
    assert_eq!(fleet.origin.runs(), 2);
}
