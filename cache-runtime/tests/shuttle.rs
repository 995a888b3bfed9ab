//! The flights under a model checker, which explores the orders in which tasks may take their
//! steps: `scripts/test-models`.
//!
//! Without a runtime there are no timers here, so that a wake-up that is lost is a deadlock, which
//! the checker reports, and no wait that ends after a lease hides it.

#![cfg(shuttle)]

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use larder::{Cache, Options, Source, cached};
use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn, yield_now},
    rand::{Rng as _, thread_rng},
    scheduler::{PctScheduler, RandomScheduler},
};

/// Explores a model: in orders at random, and in orders with few but arbitrary preemptions.
fn explore(model: fn()) {
    // Without optimisation the frames of a call need more than the 32 KiB that a task has else.
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    Runner::new(RandomScheduler::new(1_500), config.clone()).run(model);
    for depth in [2, 4] {
        Runner::new(PctScheduler::new(depth, 750), config.clone()).run(model);
    }
}

/// A cache, and a function behind it. Tasks take their steps one by one, so what is counted here
/// is exact.
struct World {
    cache: Cache,
    /// Lives as long as the cache does.
    alive: Weak<()>,
    /// Moments: each run and each change begins at one of its own.
    now: AtomicU32,
    runs: AtomicU32,
    /// Runs that are under way.
    running: AtomicU32,
    most: AtomicU32,
    /// The first so many runs fail.
    failing: u32,
}

impl World {
    fn new() -> Arc<Self> {
        Self::failing(0)
    }

    fn failing(failing: u32) -> Arc<Self> {
        let alive = Arc::new(());
        let weak = Arc::downgrade(&alive);
        let random = move || Arc::strong_count(&alive) as u64;
        Arc::new(Self {
            cache: Cache::builder("test").random(random).build().unwrap(),
            alive: weak,
            now: AtomicU32::new(0),
            runs: AtomicU32::new(0),
            running: AtomicU32::new(0),
            most: AtomicU32::new(0),
            failing,
        })
    }

    fn moment(&self) -> u32 {
        self.now.fetch_add(1, SeqCst) + 1
    }

    fn now(&self) -> u32 {
        self.now.load(SeqCst)
    }

    fn runs(&self) -> u32 {
        self.runs.load(SeqCst)
    }

    /// A run: the moment at which it began, as a value or as an error.
    async fn run(&self) -> Result<u32, u32> {
        struct Running<'a>(&'a AtomicU32);

        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }

        let began = self.moment();
        let run = self.runs.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(self.running.fetch_add(1, SeqCst) + 1, SeqCst);
        let _running = Running(&self.running);
        for _ in 0..thread_rng().gen_range(0..3) {
            yield_now().await;
        }
        if run <= self.failing { Err(began) } else { Ok(began) }
    }

    /// What holds once nothing is under way: the gauges are back, and a call ends that has to run.
    async fn at_rest(self: &Arc<Self>) {
        self.no_one_waits();
        value(Arc::clone(self)).invalidate().await.unwrap();
        let runs = self.runs();
        let last = value(Arc::clone(self)).with_source().await;
        assert_eq!((last, self.runs()), ((self.now(), Source::Function), runs + 1));
        self.no_one_waits();
    }

    /// Once nothing is under way, the cache goes with its last handle: a flight that was left in
    /// it would keep it.
    fn ends(self: Arc<Self>) {
        self.no_one_waits();
        let alive = self.alive.clone();
        drop(self);
        assert_eq!(alive.strong_count(), 0);
    }

    fn no_one_waits(&self) {
        for row in self.cache.stats().functions {
            assert_eq!((row.inflight_requests, row.waiters), (0, 0), "{}", row.function);
        }
    }
}

#[cached(ttl = 60, key = "value", cache = world.cache, skip(world))]
async fn value(world: Arc<World>) -> u32 {
    match world.run().await {
        Ok(began) | Err(began) => began,
    }
}

/// The same, with a tag.
#[cached(ttl = 60, key = "tagged", tags("all"), cache = world.cache, skip(world))]
async fn tagged(world: Arc<World>) -> u32 {
    match world.run().await {
        Ok(began) | Err(began) => began,
    }
}

/// A call of one of them.
type Called = Pin<Box<dyn Future<Output = u32> + Send>>;

fn plain(world: Arc<World>) -> Called {
    Box::pin(value(world))
}

fn with_tag(world: Arc<World>) -> Called {
    Box::pin(tagged(world))
}

/// Its error is not shared: it has no `Clone`.
#[derive(Debug, PartialEq)]
struct Failed(u32);

#[cached(ttl = 60, key = "unshared", cache = world.cache, skip(world))]
async fn unshared(world: Arc<World>) -> Result<u32, Failed> {
    world.run().await.map_err(Failed)
}

#[cached(ttl = 60, key = "unkept", cache_if = |_| false, cache = world.cache, skip(world))]
async fn unkept(world: Arc<World>) -> Result<u32, u32> {
    world.run().await
}

#[cached(ttl = 60, key = "shared", cache = world.cache, skip(world))]
async fn shared(world: Arc<World>) -> Result<u32, u32> {
    world.run().await
}

/// Polls a call a few times at most, and drops it then: between any two of its steps, woken or
/// not.
async fn cut<F: Future>(call: F) -> Option<F::Output> {
    let mut call = Box::pin(call);
    for _ in 0..thread_rng().gen_range(0..5) {
        if let Poll::Ready(output) = poll_once(call.as_mut()).await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

async fn poll_once<F: Future>(mut call: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await
}

/// So many tasks.
fn tasks<F>(count: usize, task: impl Fn() -> F) -> Vec<JoinHandle<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    (0..count).map(|_| spawn(task())).collect()
}

async fn outputs<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

#[test]
fn all_callers_of_a_key_get_the_value_of_one_run() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let calls = tasks(4, || value(Arc::clone(&world)));
            assert_eq!(outputs(calls).await, [1; 4]);
            assert_eq!(world.runs(), 1);
            world.at_rest().await;
        });
    });
}

#[test]
fn all_loads_of_a_key_get_the_value_of_one_load() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let loads = tasks(3, || {
                let world = Arc::clone(&world);
                async move {
                    let options = Options::ttl(Duration::from_secs(60));
                    world.cache.get_or_load("value", options, world.run()).await
                }
            });
            assert_eq!(outputs(loads).await, [Ok(1); 3]);
            assert_eq!(world.runs(), 1);
        });
        world.ends();
    });
}

#[test]
fn a_leader_that_is_dropped_hands_over_to_one_follower() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let cuts = tasks(2, || cut(value(Arc::clone(&world))));
            let calls = tasks(2, || value(Arc::clone(&world)));
            outputs(cuts).await;
            let values = outputs(calls).await;
            // The last run is the one that landed, and never did two run at once.
            assert_eq!(values, [world.now(); 2]);
            assert_eq!(world.most.load(SeqCst), 1);
            world.at_rest().await;
        });
    });
}

#[test]
fn whoever_is_dropped_in_whatever_order_leaves_nothing_behind() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let cuts = tasks(4, || cut(value(Arc::clone(&world))));
            outputs(cuts).await;
            assert!(world.most.load(SeqCst) <= 1);
            world.at_rest().await;
        });
    });
}

#[test]
fn whoever_is_dropped_in_whatever_order_leaves_no_flight() {
    explore(|| {
        let world = World::new();
        block_on(outputs(tasks(4, || cut(value(Arc::clone(&world))))));
        world.ends();
    });
}

#[test]
fn a_follower_that_is_not_polled_does_not_keep_a_vacant_flight_to_itself() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let call = || crossed(Arc::clone(&world), 1, 1, 0);
            let mut leader = Box::pin(call());
            assert!(poll_once(leader.as_mut()).await.is_pending());
            let mut parked = pin!(call());
            assert!(poll_once(parked.as_mut()).await.is_pending());
            let calls = tasks(2, call);
            yield_now().await;
            drop(leader);
            assert_eq!(outputs(calls).await, [1; 2]);
            assert_eq!(parked.await, 1);
        });
        world.ends();
    });
}

#[test]
fn a_value_that_is_not_stored_goes_to_all_who_wait() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let cuts = tasks(1, || cut(unkept(Arc::clone(&world))));
            let calls = tasks(3, || unkept(Arc::clone(&world)));
            outputs(cuts).await;
            for output in outputs(calls).await {
                assert!((1..=4).contains(&output.unwrap()));
            }
        });
        world.ends();
    });
}

#[test]
fn an_error_that_is_not_shared_costs_each_caller_a_run_of_its_own() {
    explore(|| {
        let world = World::failing(u32::MAX);
        block_on(async {
            let calls = tasks(3, || unshared(Arc::clone(&world)));
            let mut outputs = outputs(calls).await;
            outputs.sort_by_key(|output| output.as_ref().map_err(|error| error.0).copied());
            assert_eq!(outputs, [Err(Failed(1)), Err(Failed(2)), Err(Failed(3))]);
            assert_eq!(world.runs(), 3);
        });
        world.ends();
    });
}

#[test]
fn after_an_error_that_is_not_shared_everybody_ends() {
    explore(|| {
        let world = World::failing(2);
        block_on(async {
            let cuts = tasks(2, || cut(unshared(Arc::clone(&world))));
            let calls = tasks(3, || unshared(Arc::clone(&world)));
            outputs(cuts).await;
            outputs(calls).await;
            world.at_rest().await;
        });
    });
}

#[test]
fn an_error_that_is_shared_goes_to_all_who_wait() {
    explore(|| {
        let world = World::failing(1);
        block_on(async {
            let cuts = tasks(1, || cut(shared(Arc::clone(&world))));
            let calls = tasks(3, || shared(Arc::clone(&world)));
            outputs(cuts).await;
            let outputs = outputs(calls).await;
            // One run failed at most, and at most one more was made that did not.
            let values: Vec<_> = outputs.iter().filter_map(|output| output.ok()).collect();
            assert!(values.iter().all(|value| *value == values[0]));
            assert!(outputs.iter().all(|output| output.is_ok() || *output == Err(1)));
            assert!(world.runs() <= 3);
            world.at_rest().await;
        });
    });
}

/// Calls that race with a change, which says when it began and ended, and after it. What a call
/// gets that starts after the end comes from a run that began after the beginning, or is `put`.
fn after<C>(of: fn(Arc<World>) -> Called, changes: usize, change: fn(Arc<World>) -> C)
where
    C: Future<Output = Change> + Send + 'static,
{
    let world = World::new();
    block_on(async {
        let cuts = tasks(1, || cut(of(Arc::clone(&world))));
        let calls = tasks(2, || of(Arc::clone(&world)));
        let changes = tasks(changes, || {
            let world = Arc::clone(&world);
            async move {
                let change = change(Arc::clone(&world)).await;
                let later = of(Arc::clone(&world)).await;
                assert!(change.allows(later), "{change:?}, then {later}");
                change
            }
        });
        outputs(cuts).await;
        outputs(calls).await;
        let changes = outputs(changes).await;
        // At rest, too.
        let stored = of(Arc::clone(&world)).await;
        for change in changes {
            assert!(change.allows(stored), "{change:?}, then at rest {stored}");
        }
        world.at_rest().await;
    });
}

/// What was done to an entry, and when.
#[derive(Debug)]
struct Change {
    /// Only a run that began later gives a value to a call that comes after the change.
    since: u32,
}

impl Change {
    fn allows(&self, value: u32) -> bool {
        value > self.since
    }
}

#[test]
fn after_an_invalidation_no_call_gets_a_value_from_before() {
    explore(|| {
        after(plain, 2, |world| async move {
            let since = world.moment();
            value(world).invalidate().await.unwrap();
            Change { since }
        });
    });
}

#[test]
fn after_an_invalidation_by_text_no_call_gets_a_value_from_before() {
    explore(|| {
        after(plain, 2, |world| async move {
            let since = world.moment();
            world.cache.invalidate("value").await.unwrap();
            Change { since }
        });
    });
}

#[test]
fn after_a_clear_no_call_gets_a_value_from_before() {
    explore(|| {
        after(plain, 2, |world| async move {
            let since = world.moment();
            world.cache.clear().await.unwrap();
            Change { since }
        });
    });
}

#[test]
fn after_a_bump_no_call_gets_a_value_from_before() {
    explore(|| {
        after(with_tag, 2, |world| async move {
            let since = world.moment();
            world.cache.invalidate_tag("all").await.unwrap();
            Change { since }
        });
    });
}

#[test]
fn after_a_held_change_of_a_tag_no_call_gets_a_value_from_before_its_end() {
    explore(|| {
        after(with_tag, 2, |world| async move {
            let change = world.cache.invalidation().tag("all").hold(Duration::from_secs(1));
            let change = change.await.unwrap();
            yield_now().await;
            let since = world.moment();
            change.complete().await.unwrap();
            Change { since }
        });
    });
}

#[test]
fn while_a_tag_is_held_nothing_is_kept() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let calls = tasks(2, || tagged(Arc::clone(&world)));
            let change = world.cache.invalidation().tag("all").hold(Duration::from_secs(1));
            let change = change.await.unwrap();
            for _ in 0..3 {
                assert_eq!(tagged(Arc::clone(&world)).peek().await, None);
                yield_now().await;
            }
            outputs(calls).await;
            assert_eq!(tagged(Arc::clone(&world)).peek().await, None);
            change.complete().await.unwrap();
            world.at_rest().await;
        });
    });
}

#[test]
fn after_an_invalidation_of_what_has_a_tag_no_call_gets_a_value_from_before() {
    explore(|| {
        after(with_tag, 2, |world| async move {
            let since = world.moment();
            tagged(world).invalidate().await.unwrap();
            Change { since }
        });
    });
}

#[test]
fn after_a_refresh_no_call_gets_a_value_from_before() {
    explore(|| {
        after(plain, 1, |world| async move {
            let since = world.moment();
            value(world).refresh().await;
            Change { since }
        });
    });
}

#[test]
fn once_a_refresh_has_begun_no_older_run_is_joined_or_stored() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let calls = tasks(2, || value(Arc::clone(&world)));
            let since = world.moment();
            let mut refresh = Box::pin(value(Arc::clone(&world)).refresh());
            let refreshed = poll_once(refresh.as_mut()).await.is_ready();
            // What memory had by then is served on.
            let before = value(Arc::clone(&world)).peek().await;
            let later = spawn(value(Arc::clone(&world)));
            if !refreshed {
                cut(refresh).await;
            }
            let later = later.await.unwrap();
            assert!(later > since || Some(later) == before, "{later}, since {since}");
            outputs(calls).await;
            let stored = value(Arc::clone(&world)).peek().await;
            assert!(stored > Some(since) || stored == before, "{stored:?}, since {since}");
            world.at_rest().await;
        });
    });
}

#[test]
fn after_a_put_no_call_gets_the_value_of_a_run_from_before_its_end() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let calls = tasks(3, || cut(value(Arc::clone(&world))));
            let put = {
                let world = Arc::clone(&world);
                spawn(async move {
                    value(Arc::clone(&world)).put(0).await.unwrap();
                    let put = world.now();
                    let later = value(Arc::clone(&world)).await;
                    assert!(later == 0 || later > put, "put at {put}, then {later}");
                    put
                })
            };
            outputs(calls).await;
            let put = put.await.unwrap();
            let stored = value(Arc::clone(&world)).await;
            assert!(stored == 0 || stored > put, "put at {put}, then at rest {stored}");
            world.at_rest().await;
        });
    });
}

/// Calls another of them, as deep as it is told to.
#[cached(ttl = 60, key = "crossed:{id}", cache = world.cache, skip(world, of, depth))]
async fn crossed(world: Arc<World>, id: u32, of: u32, depth: u32) -> u32 {
    yield_now().await;
    if depth > 0 {
        let next = crossed(Arc::clone(&world), (id + 1) % of, of, depth - 1);
        Box::pin(next).await;
    }
    id
}

#[test]
fn runs_that_wait_for_each_other_all_end() {
    for of in [1, 2, 3] {
        let model = move || {
            let world = World::new();
            block_on(async {
                let calls: Vec<_> =
                    (0..of).map(|id| spawn(crossed(Arc::clone(&world), id, of, 3))).collect();
                let cuts: Vec<_> =
                    (0..of).map(|id| spawn(cut(crossed(Arc::clone(&world), id, of, 3)))).collect();
                assert_eq!(outputs(calls).await, (0..of).collect::<Vec<_>>());
                outputs(cuts).await;
            });
            world.ends();
        };
        shuttle::check_random(model, 1_000);
        shuttle::check_pct(model, 1_000, 3);
    }
}

/// Many at once: of each element the moment at which the run began that it comes from.
#[cached(ttl = 60, key = "many:{id}", cache = world.cache, skip(world), each(id in ids))]
async fn many(world: Arc<World>, ids: Vec<u32>) -> HashMap<u32, u32> {
    let (Ok(began) | Err(began)) = world.run().await;
    ids.into_iter().map(|id| (id, began)).collect()
}

/// One of them.
#[cached(ttl = 60, key = "many:{id}", cache = world.cache, skip(world))]
async fn one_of_many(world: Arc<World>, id: u32) -> u32 {
    let (Ok(began) | Err(began)) = world.run().await;
    began
}

/// Elements of batches that overlap in every way, and in every order.
const OVERLAPPING: [&[u32]; 3] = [&[1, 2, 3], &[3, 1], &[2, 3]];

fn overlapping(world: &Arc<World>) -> Vec<JoinHandle<HashMap<u32, u32>>> {
    OVERLAPPING.iter().map(|ids| spawn(many(Arc::clone(world), ids.to_vec()))).collect()
}

#[test]
fn of_batches_that_overlap_every_element_is_loaded_once() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let single = spawn(one_of_many(Arc::clone(&world), 3));
            let batches = overlapping(&world);
            let mut loaded = BTreeMap::from([(3, single.await.unwrap())]);
            for (output, ids) in outputs(batches).await.into_iter().zip(OVERLAPPING) {
                assert_eq!(output.len(), ids.len());
                for (id, began) in output {
                    assert_eq!(*loaded.entry(id).or_insert(began), began, "{id}");
                }
            }
            assert!(world.runs() <= 4);
            world.no_one_waits();
        });
        world.ends();
    });
}

#[test]
fn of_batches_that_are_dropped_in_whatever_order_others_take_over() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let cut_off: Vec<_> = [&[1][..], &[2, 1], &[1, 2, 3]]
                .iter()
                .map(|ids| spawn(cut(many(Arc::clone(&world), ids.to_vec()))))
                .collect();
            let batches = overlapping(&world);
            let single = spawn(one_of_many(Arc::clone(&world), 1));
            outputs(cut_off).await;
            for (output, ids) in outputs(batches).await.into_iter().zip(OVERLAPPING) {
                assert_eq!(output.len(), ids.len());
            }
            single.await.unwrap();
            world.no_one_waits();
        });
        world.ends();
    });
}

#[test]
fn after_an_invalidation_no_batch_gets_an_element_from_before() {
    explore(|| {
        let world = World::new();
        block_on(async {
            let batches = overlapping(&world);
            let change = {
                let world = Arc::clone(&world);
                spawn(async move {
                    let since = world.moment();
                    many(Arc::clone(&world), vec![1, 3]).invalidate().await.unwrap();
                    let later = many(Arc::clone(&world), vec![2, 3, 1]).await;
                    assert!(later[&1] > since && later[&3] > since, "{later:?}, since {since}");
                    since
                })
            };
            outputs(batches).await;
            let since = change.await.unwrap();
            let stored = many(Arc::clone(&world), vec![1, 2, 3]).await;
            assert!(stored[&1] > since && stored[&3] > since, "{stored:?}, since {since}");
        });
        world.ends();
    });
}
