//! Thousands of rounds in virtual time, with everything that can go wrong.

use std::sync::atomic::AtomicU64;

use super::*;
use common::dice::Dice;

/// What the lock is for.
#[derive(Debug, Default)]
struct Resource {
    /// How many are inside. Of processes that were frozen, one may be that does nothing any more.
    inside: AtomicU32,
    is_frozen_at_times: bool,
    /// The fence of the last that came in.
    last: AtomicU64,
    entered: AtomicU32,
    /// Bodies that have come to their end.
    done: AtomicU32,
}

/// One that is inside, until it is dropped.
struct Inside {
    resource: Arc<Resource>,
    fence: u64,
}

impl Inside {
    fn enter(resource: &Arc<Resource>) -> Self {
        let fence = fence().unwrap();
        let inside = resource.inside.fetch_add(1, SeqCst);
        assert!(inside == 0 || resource.is_frozen_at_times, "two are inside");
        let last = resource.last.swap(fence, SeqCst);
        assert!(fence > last, "{fence} after {last}");
        resource.entered.fetch_add(1, SeqCst);
        Self { resource: Arc::clone(resource), fence }
    }

    fn act(&self) {
        assert_eq!(self.resource.last.load(SeqCst), self.fence, "somebody came in after it");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.resource.inside.fetch_sub(1, SeqCst);
    }
}

const VERBS: [Verb; 2] = [Verb::Acquire, Verb::Unlock];

/// What becomes of the connection of a process.
async fn weather(process: Arc<Process>, mut dice: Dice) {
    loop {
        sleep(Duration::from_millis(dice.below(8_000))).await;
        let verb = VERBS[dice.below(2) as usize];
        match dice.below(8) {
            0 => process.fail(verb),
            1 => process.lose_answer(verb),
            2 => process.hang(verb),
            3 => process.cut_off(),
            4 => process.delay(verb, Duration::from_millis(dice.below(1_500))),
            5 => process.delay_answer(verb, Duration::from_millis(dice.below(1_500))),
            6 => drop(process.hold(verb, At::Answered)),
            _ => {}
        }
        sleep(Duration::from_millis(dice.below(3_000))).await;
        for verb in VERBS {
            process.answer(verb);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_two_are_inside_whatever_becomes_of_their_connections() {
    rounds(Resource::default()).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_acts_after_another_has_come_in_though_all_are_frozen_at_times() {
    rounds(Resource { is_frozen_at_times: true, ..Resource::default() }).await;
}

const ROUNDS: u32 = 5_000;

static SITE: LockSite = LockSite::new("job:{}").lease(2_000).wait(4_000);

async fn rounds(resource: Resource) {
    let (server, resource) = (Server::new(), Arc::new(resource));
    let mut weathers = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let node = Node::new(&server, name);
        node.remote.give(SECOND);
        let number = number as u64;
        weathers.push(tokio::spawn(weather(Arc::clone(&node.remote), Dice::new(number, 99))));
        for task in 0..3 {
            let (cache, resource) = (node.cache.clone(), Arc::clone(&resource));
            let mut dice = Dice::new(number, task);
            tasks.spawn(async move {
                let (mut lost, mut refused, mut cancelled) = (0, 0, 0);
                while resource.entered.load(SeqCst) < ROUNDS {
                    let inside = Arc::clone(&resource);
                    let (steps, pause) = (dice.below(5), dice.below(100) * dice.below(12));
                    let run = locked(&cache, &SITE).run(async move {
                        let entered = Inside::enter(&inside);
                        for _ in 0..steps {
                            sleep(Duration::from_millis(pause)).await;
                            entered.act();
                        }
                        inside.done.fetch_add(1, SeqCst);
                        drop(entered);
                    });
                    let patience = match dice.below(4) {
                        0 => Duration::from_millis(dice.below(3_000)),
                        _ => Duration::from_secs(3_600),
                    };
                    match tokio::time::timeout(patience, run).await {
                        Ok(Ok(())) => {}
                        Ok(Err(LockError::Lost)) => lost += 1,
                        Ok(Err(_)) => refused += 1,
                        Err(_) => cancelled += 1,
                    }
                    sleep(Duration::from_millis(dice.below(50))).await;
                }
                (lost, refused, cancelled)
            });
        }
    }
    // All are frozen at once, now and then.
    let mut dice = Dice::new(9, 9);
    let freezes = resource.is_frozen_at_times.then(|| {
        tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(dice.below(30_000))).await;
                tokio::time::advance(Duration::from_millis(dice.below(5_000))).await;
            }
        })
    });
    let came = tasks.join_all().await;
    let sum = |of: fn(&(u32, u32, u32)) -> u32| came.iter().map(of).sum::<u32>();
    let (lost, refused, cancelled) = (sum(|came| came.0), sum(|came| came.1), sum(|came| came.2));
    let done = resource.done.load(SeqCst);
    println!("{done} done, {lost} lost, {refused} refused, {cancelled} cancelled");
    // It was not all fair weather.
    assert!(done > ROUNDS / 2 && lost > 10 && refused > 50 && cancelled > 200);
    for task in freezes.into_iter().chain(weathers) {
        task.abort();
    }
    // What could not be given back ends by itself.
    sleep(3 * SECOND).await;
    assert_free(&server);
}
