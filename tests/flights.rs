//! One load per key, whoever fails, panics, is cancelled or waits for itself.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use larder::{Cache, Shared, Source, cached};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// How long a run takes, in virtual time.
const RUN: Duration = Duration::from_millis(100);

/// What the runs of a function do, in their order, and how many there were.
#[derive(Default)]
struct Script {
    runs: AtomicU32,
    failing: u32,
    panicking: u32,
}

impl Script {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The first so many runs fail.
    fn failing(failing: u32) -> Arc<Self> {
        Arc::new(Self { failing, ..Self::default() })
    }

    /// The first so many runs panic.
    fn panicking(panicking: u32) -> Arc<Self> {
        Arc::new(Self { panicking, ..Self::default() })
    }

    /// A run: its number, or its number as an error.
    async fn play(&self) -> Result<u32, u32> {
        let run = self.runs.fetch_add(1, SeqCst) + 1;
        sleep(RUN).await;
        assert!(run > self.panicking, "as the script says");
        if run <= self.failing { Err(run) } else { Ok(run) }
    }

    fn runs(&self) -> u32 {
        self.runs.load(SeqCst)
    }
}

/// An error that is shared because it is `Clone`.
#[derive(Debug, Clone, PartialEq)]
struct Cloned(u32);

/// One that is shared because it can be made of another's text.
#[derive(Debug, PartialEq)]
enum FromShared {
    Own(u32),
    Others(String),
}

impl From<Shared> for FromShared {
    fn from(shared: Shared) -> Self {
        Self::Others(shared.to_string())
    }
}

impl fmt::Display for FromShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One that is shared by `share_error` alone, and one that is not shared.
#[derive(Debug, PartialEq)]
struct Bare(u32);

/// Starts so many calls, in order, and lets them get to where they wait.
async fn started<T: Send + 'static>(
    count: usize,
    call: impl Fn() -> JoinHandle<T>,
) -> Vec<JoinHandle<T>> {
    let mut calls = Vec::new();
    for _ in 0..count {
        calls.push(call());
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_millis(1)).await;
    calls
}

async fn outputs<T>(calls: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut outputs = Vec::new();
    for call in calls {
        outputs.push(call.await.unwrap());
    }
    outputs
}

/// The cells of one column: an error type, and whether followers get a copy of it.
macro_rules! column {
    ($column:ident, $error:ty, $make:expr, shared: $shared:expr $(, $option:ident = $value:expr)*) => {
        mod $column {
            use super::*;

            #[cached(ttl = 60, key = "called:{id}", skip(script) $(, $option = $value)*)]
            async fn called(script: Arc<Script>, id: u64) -> Result<u32, $error> {
                script.play().await.map_err($make)
            }

            #[cached(ttl = 60, key = "detached:{id}", skip(script), detached $(, $option = $value)*)]
            async fn detached(script: Arc<Script>, id: u64) -> Result<u32, $error> {
                script.play().await.map_err($make)
            }

            #[cached(ttl = 60, key = "nested:{id}", skip(script, depth) $(, $option = $value)*)]
            async fn nested(script: Arc<Script>, id: u64, depth: u32) -> Result<u32, $error> {
                if depth > 0 {
                    let inner = nested(Arc::clone(&script), id, depth - 1);
                    Box::pin(inner).await?;
                }
                script.play().await.map_err($make)
            }

            fn call(cache: &Cache, script: &Arc<Script>) -> JoinHandle<Result<u32, $error>> {
                let script = Arc::clone(script);
                tokio::spawn(cache.scope(async move { called(script, 1).await }))
            }

            fn call_detached(
                cache: &Cache,
                script: &Arc<Script>,
            ) -> JoinHandle<Result<u32, $error>> {
                let script = Arc::clone(script);
                tokio::spawn(cache.scope(async move { detached(script, 1).await }))
            }

            async fn stored(cache: &Cache) -> Option<Result<u32, $error>> {
                cache.scope(async { called(Script::new(), 1).peek().await }).await
            }

            #[tokio::test(start_paused = true)]
            async fn a_value_goes_to_all_who_waited_and_is_stored() {
                let (cache, script) = (Cache::memory(), Script::new());
                let calls = started(10, || call(&cache, &script)).await;
                assert_eq!(outputs(calls).await, (0..10).map(|_| Ok(1)).collect::<Vec<_>>());
                assert_eq!(script.runs(), 1);
                assert_eq!(stored(&cache).await, Some(Ok(1)));
            }

            #[tokio::test(start_paused = true)]
            async fn an_error_is_shared_or_each_runs_for_itself_at_once() {
                let (cache, script) = (Cache::memory(), Script::failing(100));
                let began = Instant::now();
                let calls = started(10, || call(&cache, &script)).await;
                let outputs = outputs(calls).await;
                assert!(outputs.iter().all(Result::is_err));
                assert_eq!(outputs[0], Err($make(1)));
                assert_eq!(script.runs(), if $shared { 1 } else { 10 });
                // Nobody waits for more than two runs.
                assert!(began.elapsed() <= 2 * RUN + Duration::from_millis(5));
                assert_eq!(stored(&cache).await, None);
            }

            #[tokio::test(start_paused = true)]
            async fn after_a_panic_one_follower_runs_for_the_others() {
                let (cache, script) = (Cache::memory(), Script::panicking(1));
                let mut calls = started(10, || call(&cache, &script)).await;
                assert!(calls.remove(0).await.unwrap_err().is_panic());
                assert_eq!(outputs(calls).await, (0..9).map(|_| Ok(2)).collect::<Vec<_>>());
                assert_eq!(script.runs(), 2);
                assert_eq!(stored(&cache).await, Some(Ok(2)));
            }

            #[tokio::test(start_paused = true)]
            async fn a_panic_of_a_detached_run_reaches_its_caller_alone() {
                let (cache, script) = (Cache::memory(), Script::panicking(1));
                let mut calls = started(10, || call_detached(&cache, &script)).await;
                assert!(calls.remove(0).await.unwrap_err().is_panic());
                assert_eq!(outputs(calls).await, (0..9).map(|_| Ok(2)).collect::<Vec<_>>());
                assert_eq!(script.runs(), 2);
            }

            #[tokio::test(start_paused = true)]
            async fn after_a_cancellation_one_follower_runs_for_the_others() {
                let (cache, script) = (Cache::memory(), Script::new());
                let mut calls = started(10, || call(&cache, &script)).await;
                sleep(RUN / 2).await;
                calls.remove(0).abort();
                let cancelled = Instant::now();
                assert_eq!(outputs(calls).await, (0..9).map(|_| Ok(2)).collect::<Vec<_>>());
                assert!(cancelled.elapsed() <= RUN + Duration::from_millis(5));
                assert_eq!(script.runs(), 2);
                assert_eq!(stored(&cache).await, Some(Ok(2)));
            }

            #[tokio::test(start_paused = true)]
            async fn a_detached_run_survives_its_caller() {
                let (cache, script) = (Cache::memory(), Script::new());
                let mut calls = started(10, || call_detached(&cache, &script)).await;
                sleep(RUN / 2).await;
                calls.remove(0).abort();
                assert_eq!(outputs(calls).await, (0..9).map(|_| Ok(1)).collect::<Vec<_>>());
                assert_eq!(script.runs(), 1);
            }

            #[tokio::test(start_paused = true)]
            async fn a_run_that_was_invalidated_is_not_joined_and_not_stored() {
                let (cache, script) = (Cache::memory(), Script::new());
                let before = started(2, || call(&cache, &script)).await;
                sleep(RUN / 2).await;
                cache.scope(async { called(Script::new(), 1).invalidate().await }).await.unwrap();
                let after = started(2, || call(&cache, &script)).await;
                assert_eq!(outputs(before).await, [Ok(1), Ok(1)]);
                assert_eq!(stored(&cache).await, None);
                assert_eq!(outputs(after).await, [Ok(2), Ok(2)]);
                assert_eq!(stored(&cache).await, Some(Ok(2)));
                assert_eq!(script.runs(), 2);
                assert_eq!(cache.stats().functions[0].fills_refused, 1);
            }

            #[tokio::test(start_paused = true)]
            async fn a_put_during_the_run_wins() {
                let (cache, script) = (Cache::memory(), Script::new());
                let before = started(2, || call(&cache, &script)).await;
                sleep(RUN / 2).await;
                cache.scope(async { called(Script::new(), 1).put(99).await }).await.unwrap();
                assert_eq!(outputs(before).await, [Ok(1), Ok(1)]);
                assert_eq!(stored(&cache).await, Some(Ok(99)));
                assert_eq!(script.runs(), 1);
            }

            #[tokio::test(start_paused = true)]
            async fn a_run_that_calls_itself_does_not_wait_for_itself() {
                let (cache, script) = (Cache::memory(), Script::new());
                let call = cache.scope(async { nested(Arc::clone(&script), 1, 2).await });
                // Far below the lease, which ends every wait in any case. The innermost run ends
                // first, and only the outermost is stored.
                assert_eq!(timeout(4 * RUN, call).await.unwrap(), Ok(3));
                assert_eq!(script.runs(), 3);
                let kept = cache.scope(async { nested(Script::new(), 1, 0).peek().await }).await;
                assert_eq!(kept, Some(Ok(3)));
            }

            #[cached(ttl = 60, key = "crossed:{id}", skip(script) $(, $option = $value)*)]
            async fn crossed(script: Arc<Script>, id: u64) -> Result<u32, $error> {
                sleep(RUN / 2).await;
                if script.runs() < 8 {
                    let other = crossed(Arc::clone(&script), 3 - id);
                    script.runs.fetch_add(1, SeqCst);
                    Box::pin(other).await?;
                }
                script.play().await.map_err($make)
            }

            #[tokio::test(start_paused = true)]
            async fn two_runs_that_wait_for_each_other_both_end() {
                let (cache, script) = (Cache::memory(), Script::new());
                let calls = [1, 2].map(|id| {
                    let script = Arc::clone(&script);
                    tokio::spawn(cache.scope(async move { crossed(script, id).await }))
                });
                for call in calls {
                    assert!(timeout(20 * RUN, call).await.unwrap().unwrap().is_ok());
                }
            }
        }
    };
}

column!(cloned_errors, Cloned, Cloned, shared: true);
column!(errors_from_shared, FromShared, FromShared::Own, shared: true);
column!(errors_by_share_error, Bare, Bare, shared: true, share_error = |error| Bare(error.0));
column!(unshareable_errors, Bare, Bare, shared: false);

#[cached(ttl = 60, key = "job:{id}", skip(script))]
async fn job(script: Arc<Script>, id: u64) -> Result<u32, Cloned> {
    script.play().await.map_err(Cloned)
}

fn job_of(cache: &Cache, script: &Arc<Script>) -> JoinHandle<(Result<u32, Cloned>, Source)> {
    let script = Arc::clone(script);
    tokio::spawn(cache.scope(async move { job(script, 1).with_source().await }))
}

#[tokio::test(start_paused = true)]
async fn followers_say_that_the_value_was_shared() {
    let (cache, script) = (Cache::memory(), Script::new());
    let outputs = outputs(started(2, || job_of(&cache, &script)).await).await;
    assert_eq!(outputs, [(Ok(1), Source::Function), (Ok(1), Source::Shared)]);
}

#[tokio::test(start_paused = true)]
async fn a_shared_text_is_the_whole_chain() {
    #[cached(ttl = 60, key = "anyhow")]
    async fn failing() -> anyhow::Result<u32> {
        sleep(RUN).await;
        anyhow::Context::context(Err(anyhow::anyhow!("cause")), "what")
    }

    let cache = Cache::memory();
    let run = || tokio::spawn(cache.scope(async { format!("{:#}", failing().await.unwrap_err()) }));
    assert_eq!(outputs(started(2, run).await).await, ["what: cause", "what: cause"]);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_cancellations_among_waiters_does_not_matter() {
    let (cache, script) = (Cache::memory(), Script::new());
    let mut calls = started(10, || job_of(&cache, &script)).await;
    // The leader goes, then each that took over or was about to.
    for _ in 0..9 {
        calls.remove(0).abort();
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.remove(0).await.unwrap().0, Ok(script.runs()));
    assert!(script.runs() <= 10);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_waiters_of_a_cancelled_leader_cost_one_more_run() {
    let (cache, script) = (Cache::memory(), Script::new());
    let mut calls = started(101, || job_of(&cache, &script)).await;
    calls.remove(0).abort();
    let cancelled = Instant::now();
    assert!(outputs(calls).await.iter().all(|(output, _)| *output == Ok(2)));
    assert_eq!(script.runs(), 2);
    assert!(cancelled.elapsed() <= RUN + Duration::from_millis(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_on_a_cold_key_are_one_run() {
    static RUNS: AtomicU32 = AtomicU32::new(0);

    #[cached(ttl = 60, key = "cold", skip(cache))]
    async fn cold(cache: &Cache) -> u32 {
        // Until all of the others wait for this run.
        while cache.stats().functions[0].waiters < 9_999 {
            tokio::task::yield_now().await;
        }
        RUNS.fetch_add(1, SeqCst) + 1
    }

    let cache = Cache::memory();
    let calls: Vec<_> = (0..10_000)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(cache.clone().scope(async move { cold(&cache).await }))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 1);
    }
    let stats = cache.stats();
    let row = stats.function("cold").unwrap();
    assert_eq!((row.runs, row.cache_misses, row.waiters), (1, 10_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_join_an_older_run_which_then_stores_nothing() {
    let (cache, script) = (Cache::memory(), Script::new());
    let older = job_of(&cache, &script);
    sleep(RUN / 2).await;
    let refreshed = {
        let script = Arc::clone(&script);
        tokio::spawn(cache.scope(async move { job(script, 1).refresh().await }))
    };
    sleep(Duration::from_millis(1)).await;
    // A later call joins the refresh.
    let later = job_of(&cache, &script);
    assert_eq!(older.await.unwrap().0, Ok(1));
    assert_eq!(cache.scope(async { job(Script::new(), 1).peek().await }).await, None);
    assert_eq!(refreshed.await.unwrap(), Ok(2));
    assert_eq!(later.await.unwrap(), (Ok(2), Source::Shared));
    assert_eq!(cache.scope(async { job(Script::new(), 1).peek().await }).await, Some(Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_serves_the_old_value_meanwhile_and_keeps_it_after_an_error() {
    let cache = Cache::memory();
    cache
        .scope(async {
            job(Script::new(), 1).await.unwrap();
            let refresh = tokio::spawn(job(Script::failing(1), 1).refresh());
            sleep(RUN / 2).await;
            let (output, source) = job(Script::new(), 1).with_source().await;
            assert_eq!(output, Ok(1));
            assert!(matches!(source, Source::Memory { .. }));
            assert_eq!(refresh.await.unwrap(), Err(Cloned(1)));
            assert_eq!(job(Script::new(), 1).peek().await, Some(Ok(1)));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_the_lease_and_all_whose_wait_ended_share_one_run() {
    let cache = Cache::builder("test").lease(RUN * 6 / 10).build().unwrap();
    let script = Script::new();
    let calls = started(10, || job_of(&cache, &script)).await;
    let outputs: Vec<_> = outputs(calls).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(outputs[..2], [Ok(1), Ok(2)]);
    // The first run landed before the lease of the second had ended.
    assert_eq!(outputs[2..], (0..8).map(|_| Ok(1)).collect::<Vec<_>>());
    assert_eq!(script.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_task_that_calls_it_ends_after_the_lease() {
    #[cached(ttl = 60, key = "spawning", skip(depth))]
    async fn spawning(depth: u32) -> u32 {
        if depth > 0 {
            // The task does not know that it is part of a run.
            tokio::spawn(boxed(depth - 1)).await.unwrap();
        }
        depth
    }

    fn boxed(depth: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
        Box::pin(spawning(depth))
    }

    let began = Instant::now();
    let call = Cache::memory().scope(async { spawning(1).await });
    assert_eq!(timeout(Duration::from_secs(30), call).await.unwrap(), 1);
    assert!(began.elapsed() >= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_nobody_polls_does_not_keep_the_others_waiting() {
    let (cache, script) = (Cache::memory(), Script::new());
    let call = || Box::pin(cache.scope(async { job(Arc::clone(&script), 1).await }));
    // As the branch of a `select!` that is borrowed, while the body of another one runs.
    let (mut leader, mut parked) = (call(), call());
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(parked.as_mut()).is_pending());
    let other = started(1, || job_of(&cache, &script)).await.remove(0);
    drop(leader);
    let dropped = Instant::now();
    assert_eq!(other.await.unwrap().0, Ok(2));
    assert!(dropped.elapsed() <= RUN + Duration::from_millis(5));
    assert_eq!(parked.await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_cancelled_and_invalidated_run_stores_its_own() {
    let (cache, script) = (Cache::memory(), Script::new());
    let mut calls = started(3, || job_of(&cache, &script)).await;
    cache.invalidate("job:1").await.unwrap();
    calls.remove(0).abort();
    assert!(outputs(calls).await.iter().all(|(output, _)| *output == Ok(2)));
    assert_eq!(cache.scope(async { job(Script::new(), 1).peek().await }).await, Some(Ok(2)));
}

fn poll_once<F: Future>(call: Pin<&mut F>) -> Poll<F::Output> {
    call.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_wait_goes_on_outside_of_the_runtime_that_it_began_in() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (cache, script) = (Cache::memory(), Script::new());
    let call = || Box::pin(cache.scope(async { job(Arc::clone(&script), 1).await }));
    let (mut leader, mut one, mut other) = (call(), call(), call());
    {
        let _inside = runtime.enter();
        assert!(poll_once(leader.as_mut()).is_pending());
        assert!(poll_once(one.as_mut()).is_pending());
        assert!(poll_once(other.as_mut()).is_pending());
        drop(leader);
        // It runs now.
        assert!(poll_once(one.as_mut()).is_pending());
    }
    // It was woken, and waits on.
    assert!(poll_once(other.as_mut()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_lease_may_be_as_long_as_can_be() {
    let cache = Cache::builder("test").lease(Duration::MAX).build().unwrap();
    let calls = started(2, || job_of(&cache, &Script::new())).await;
    assert_eq!(outputs(calls).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_starts_over_is_one_miss() {
    #[cached(ttl = 60, key = "unshared", skip(script))]
    async fn unshared(script: Arc<Script>) -> Result<u32, Bare> {
        script.play().await.map_err(Bare)
    }

    let cache = Cache::builder("test").lease(RUN * 3 / 2).build().unwrap();
    // After the first has failed, the others run, all at once, and two of them fail too.
    let script = Script::failing(3);
    let call = || {
        let script = Arc::clone(&script);
        tokio::spawn(cache.scope(async move { unshared(script).await }))
    };
    let outputs = outputs(started(5, call).await).await;
    assert_eq!(outputs.iter().filter(|output| output.is_ok()).count(), 2);
    let stats = cache.stats();
    let row = stats.function("unshared").unwrap();
    assert_eq!((row.cache_misses, row.cache_hits_memory, row.runs), (5, 0, 5));
    assert_eq!((row.inflight_requests, row.waiters), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_stored_goes_to_those_who_waited() {
    static RUNS: AtomicU32 = AtomicU32::new(0);

    #[cached(ttl = 60, key = "odd", cache_if = |number| number % 2 == 0)]
    async fn odd() -> u32 {
        sleep(RUN).await;
        RUNS.fetch_add(1, SeqCst) * 2 + 1
    }

    let cache = Cache::memory();
    let calls = started(5, || tokio::spawn(cache.scope(async { odd().await }))).await;
    assert_eq!(outputs(calls).await, [1; 5]);
    assert_eq!(cache.scope(async { odd().peek().await }).await, None);
    assert_eq!(RUNS.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_runs_at_once_the_one_that_began_later_is_kept() {
    #[cached(ttl = 60, key = "slow:{id}", skip(value, millis))]
    async fn slow(id: u64, value: u32, millis: u64) -> u32 {
        sleep(Duration::from_millis(millis)).await;
        value
    }

    // The lease ends before the first run does; the second begins later and ends earlier.
    let cache = Cache::builder("test").lease(Duration::from_millis(50)).build().unwrap();
    let first = tokio::spawn(cache.scope(async { slow(1, 1, 300).await }));
    sleep(Duration::from_millis(1)).await;
    let second = tokio::spawn(cache.scope(async { slow(1, 2, 100).await }));
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 2));
    assert_eq!(cache.scope(async { slow(1, 3, 0).peek().await }).await, Some(2));
}

#[test]
fn hits_and_runs_need_no_runtime() {
    #[cached(ttl = 60, detached, key = "bare")]
    async fn bare() -> u32 {
        7
    }

    // A waker that does nothing: nothing here ever waits.
    let mut call = Box::pin(Cache::memory().scope(async { (bare().await, bare().await) }));
    assert_eq!(poll_once(call.as_mut()), Poll::Ready((7, 7)));
}
