//! D1 under load: no read that starts after a completed invalidation finds data from before it,
//! whatever the network does meanwhile.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::{task::JoinSet, time::sleep};

use super::{
    super::connection::tests::{
        proxy::{Mode, Proxy},
        server::RedisServer,
    },
    tests::{settings, value},
    *,
};
use crate::remote::{Found, Seen};

/// For one command on a network that does what it likes, and on one that does not: no fact about that
/// is about its budget, and the machine may be busy.
const BUDGETS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

const KEYS: usize = 4;
const PROCESSES: usize = 3;
const READERS: usize = 16;

/// What the functions read, and how old a read may be.
struct World {
    budget: Duration,
    database: [AtomicU64; KEYS],
    /// By process: what its reads have to find at least.
    floors: [[AtomicU64; KEYS]; PROCESSES],
    over: AtomicBool,
    reads: AtomicU64,
    hits: AtomicU64,
    refused: AtomicU64,
    invalidations: AtomicU64,
    failed: AtomicU64,
}

fn world(budget: Duration) -> Arc<World> {
    Arc::new(World {
        budget,
        database: Default::default(),
        floors: Default::default(),
        over: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        hits: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        invalidations: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    })
}

fn parse(found: &Found) -> u64 {
    std::str::from_utf8(&found.payload).unwrap().parse().unwrap()
}

impl World {
    /// A call of the function, cached.
    async fn read(&self, tier: &RedisTier, key: usize) -> u64 {
        let name = format!("shop:{key}");
        let token = Token(u128::from(fastrand::u64(1..)) << 64);
        let mut seen = Seen::Nothing;
        loop {
            if seen == Seen::Nothing {
                match tier.read(&name, self.budget).await {
                    Ok(Got::Found(found)) => {
                        self.hits.fetch_add(1, SeqCst);
                        return parse(&found);
                    }
                    Ok(Got::Rejected(rejected)) => seen = Seen::Rejected(rejected),
                    Ok(_) => {}
                    Err(_) => return self.run(key).await,
                }
            }
            match tier.ask(&name, token, seen, self.budget).await {
                Ok(Leased::Found(found)) => return parse(&found),
                Ok(Leased::Granted { .. }) => break,
                Ok(Leased::Busy | Leased::Stale { .. }) => {
                    seen = Seen::Nothing;
                    tier.changed(&name).await.unwrap();
                }
                Ok(_) | Err(_) => return self.run(key).await,
            }
        }
        let found = self.run(key).await;
        if matches!(tier.put(&name, token, value(&found.to_string()), self.budget).await, Ok(false))
        {
            self.refused.fetch_add(1, SeqCst);
        }
        found
    }

    async fn run(&self, key: usize) -> u64 {
        let found = self.database[key].load(SeqCst);
        sleep(Duration::from_millis(fastrand::u64(0..5))).await;
        found
    }

    async fn keep_reading(self: Arc<Self>, process: usize, tier: Arc<RedisTier>) {
        while !self.over.load(SeqCst) {
            let key = fastrand::usize(..KEYS);
            let floor = self.floors[process][key].load(SeqCst);
            let found = self.read(&tier, key).await;
            assert!(found >= floor, "{found} after {floor} was invalidated");
            self.reads.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    }

    async fn keep_writing(self: Arc<Self>, process: usize, tier: Arc<RedisTier>) {
        while !self.over.load(SeqCst) {
            sleep(Duration::from_millis(fastrand::u64(1..8))).await;
            let key = fastrand::usize(..KEYS);
            let written = self.database[key].fetch_add(1, SeqCst) + 1;
            // What all keys are at least, once it is cleared.
            let cleared: Vec<_> = self.database.iter().map(|value| value.load(SeqCst)).collect();
            let done = if fastrand::u8(..16) == 0 {
                let done = tier.clear().await.is_ok();
                if done {
                    for (floor, value) in self.floors[process].iter().zip(cleared) {
                        floor.fetch_max(value, SeqCst);
                    }
                }
                done
            } else {
                let done = super::tests::invalidate(&tier, &format!("shop:{key}")).await.is_ok();
                if done {
                    for floors in &self.floors {
                        floors[key].fetch_max(written, SeqCst);
                    }
                }
                done
            };
            let counter = if done { &self.invalidations } else { &self.failed };
            counter.fetch_add(1, SeqCst);
        }
    }
}

async fn run(for_: Duration, chaos: bool) -> Arc<World> {
    let server = RedisServer::start();
    let world = world(BUDGETS[usize::from(!chaos)]);
    let mut tasks = JoinSet::new();
    let mut proxies = Vec::new();
    for process in 0..PROCESSES {
        let proxy = Proxy::before(server.port());
        let settings = TierSettings { budget: world.budget, ..settings(&proxy.url()) };
        let tier = Arc::new(RedisTier::new(settings));
        for _ in 0..READERS {
            tasks.spawn(Arc::clone(&world).keep_reading(process, Arc::clone(&tier)));
        }
        tasks.spawn(Arc::clone(&world).keep_writing(process, tier));
        proxies.push(proxy);
    }
    let until = Instant::now() + for_;
    while Instant::now() < until {
        sleep(Duration::from_millis(fastrand::u64(50..150))).await;
        if chaos {
            let delay = Duration::from_millis(fastrand::u64(10..130));
            let modes = [Mode::Cut, Mode::Drop, Mode::BlackHole, Mode::Delay(delay)];
            let mode = modes.get(fastrand::usize(..8)).copied().unwrap_or(Mode::Pass);
            proxies[fastrand::usize(..PROCESSES)].set(mode);
        }
    }
    world.over.store(true, SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_after_an_invalidation() {
    let world = run(Duration::from_secs(2), false).await;
    assert!(world.reads.load(SeqCst) > 1000 && world.hits.load(SeqCst) > 100);
    assert!(world.refused.load(SeqCst) > 10, "fills and invalidations meet");
    assert_eq!(world.failed.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_on_a_network_that_does_what_it_likes() {
    let world = run(Duration::from_secs(5), true).await;
    assert!(world.reads.load(SeqCst) > 1000 && world.hits.load(SeqCst) > 100);
    assert!(world.invalidations.load(SeqCst) > 100 && world.failed.load(SeqCst) > 10);
}
