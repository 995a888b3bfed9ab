//! With real processes and a real Redis: nobody is granted more than the limit says.
//!
//! Compared are the moments at which the server granted something, by its own clock and to the
//! microsecond: all of them, as they went by on their way to the processes, whether or not anybody
//! has heard of them. The processes count what they were granted, which is the same number.

use std::{collections::HashMap, fs, path::PathBuf, time::Instant};

use larder::Clock;
use tokio::{task::JoinSet, time::sleep};

use super::{tap::Tap, *};
use crate::common::{
    member::{self, Member, say, variable},
    redis::RedisServer,
};

const PROCESSES: u64 = 4;
const TASKS: u32 = 64;

/// A limit that the whole fleet asks of.
#[derive(Debug, Clone, Copy)]
struct Case {
    algorithm: Algorithm,
    limit: u32,
    per: Duration,
    burst: u32,
    /// Each grant is one of so many: a machine of two cores makes no 100,000 round trips.
    cost: u32,
    /// How long the fleet asks.
    time: Duration,
}

impl Case {
    fn new(algorithm: Algorithm, limit: u32, per: Duration, cost: u32) -> Self {
        let burst = if algorithm == Algorithm::Gcra { (limit / 10).max(1) } else { limit };
        Self { algorithm, limit, per, burst, cost, time: 4 * SECOND }
    }

    fn name(self) -> String {
        format!("{:?}-{}-{}", self.algorithm, self.limit, self.per.as_micros())
    }

    fn order(self) -> String {
        let Self { algorithm, limit, per, burst, cost, time } = self;
        let (per, time) = (per.as_micros(), time.as_micros());
        let algorithm = ALGORITHMS.iter().position(|one| *one == algorithm).unwrap();
        format!("{algorithm} {limit} {per} {burst} {cost} {time}")
    }

    fn of_order(order: &str) -> Self {
        let numbers: Vec<u64> = order.split(' ').map(|word| word.parse().unwrap()).collect();
        let [algorithm, limit, per, burst, cost, time] = numbers[..] else {
            panic!("{order} is no order");
        };
        Self {
            algorithm: ALGORITHMS[algorithm as usize],
            limit: limit as u32,
            per: Duration::from_micros(per),
            burst: burst as u32,
            cost: cost as u32,
            time: Duration::from_micros(time),
        }
    }

    /// How long a task pauses for all of them to ask five times as often as they may. Of the slowest
    /// limits more often, or nobody would ask.
    fn pause(self) -> Duration {
        let asking = TASKS * PROCESSES as u32;
        (self.per * asking * self.cost / 5 / self.limit).min(Duration::from_millis(250))
    }
}

/// A clock that is hours off, and goes at another speed.
struct Skewed {
    began: Instant,
    ahead: Duration,
    speed: f64,
}

impl Skewed {
    fn of(process: u64) -> Self {
        let speed = [1.0, 0.5, 2.0, 1.01][process as usize % 4];
        Self { began: Instant::now(), ahead: HOUR * 5 * process as u32, speed }
    }
}

impl Clock for Skewed {
    fn now(&self) -> Duration {
        self.ahead + self.began.elapsed().mul_f64(self.speed)
    }
}

/// A process: each of its orders is a case, and is answered with its name, how many were granted, and
/// how many answers were not there in time. What went by is in a file by then.
pub(crate) fn play() {
    if member::role().is_none() {
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut orders = member::orders();
        while let Some(order) = orders.recv().await {
            tokio::spawn(ask(Case::of_order(&order)));
        }
    });
}

async fn ask(case: Case) {
    let (server, process) =
        (variable("FLEET_PORT").unwrap(), variable::<u64>("FLEET_PROCESS").unwrap());
    let tap = Tap::before(server).await;
    let cache = Cache::builder("fleet")
        .redis(tap.url())
        .redis_budget(MINUTE)
        .clock(Skewed::of(process))
        .build()
        .unwrap();
    let limiter = Limiter::new(&cache, &case.name(), case.limit, case.per)
        .algorithm(case.algorithm)
        .burst(case.burst)
        .when_down(WhenDown::Deny);
    let ends = Instant::now() + case.time;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            let mut granted = 0;
            // They do not come all at once.
            sleep(case.pause() * task / TASKS).await;
            while Instant::now() < ends {
                granted += u64::from(limiter.check_n("all", case.cost).await.is_ok());
                sleep(case.pause()).await;
            }
            granted
        });
    }
    let granted: u64 = tasks.join_all().await.iter().sum();
    let bytes: Vec<u8> = tap.grants().iter().flat_map(|grant| grant.to_le_bytes()).collect();
    fs::write(file(&variable::<String>("FLEET_DIR").unwrap(), process, case), bytes).unwrap();
    say(&format!("{} {granted} {}", case.name(), cache.stats().redis.timeouts));
}

fn file(dir: &str, process: u64, case: Case) -> PathBuf {
    PathBuf::from(dir).join(format!("{process}-{}", case.name()))
}

/// What the fleet was granted of each case, in order, when all ask at the same time.
fn granted(cases: &[Case]) -> Vec<Vec<u64>> {
    let server = RedisServer::start();
    let (port, dir) = (server.port().to_string(), server.dir().to_str().unwrap().to_owned());
    let start = |process: u64| {
        let process = process.to_string();
        Member::start(
            "asker",
            &[("FLEET_PORT", &port), ("FLEET_DIR", &dir), ("FLEET_PROCESS", &process)],
        )
    };
    let mut fleet: Vec<_> = (0..PROCESSES).map(start).collect();
    for case in cases {
        for member in &mut fleet {
            member.order(&case.order());
        }
    }
    let mut heard = HashMap::<String, u64>::new();
    for member in &fleet {
        for _ in cases {
            let said = member.hear();
            let words: Vec<_> = said.split(' ').collect();
            assert_eq!(words[2], "0", "an answer was late");
            *heard.entry(words[0].to_owned()).or_default() += words[1].parse::<u64>().unwrap();
        }
    }
    let of_case = |case: &Case| {
        let mut grants = Vec::new();
        for process in 0..PROCESSES {
            let bytes = fs::read(file(&dir, process, *case)).unwrap();
            let words = bytes.chunks_exact(8);
            grants.extend(words.map(|word| u64::from_le_bytes(word.try_into().unwrap())));
        }
        grants.sort_unstable();
        assert_eq!(grants.len() as u64, heard[&case.name()], "{case:?}");
        grants
    };
    cases.iter().map(of_case).collect()
}

/// The most grants between one and what comes so much later, both included.
fn most_within(grants: &[u64], time: u64) -> usize {
    let from =
        |(at, first): (usize, &u64)| grants[at..].partition_point(|grant| *grant <= first + time);
    grants.iter().enumerate().map(from).max().unwrap_or(0)
}

/// The most grants in a window of those that follow each other by the server's clock.
fn most_in_a_window(grants: &[u64], per: u64) -> usize {
    grants.chunk_by(|one, other| one / per == other / per).map(<[u64]>::len).max().unwrap_or(0)
}

fn check(case: Case, grants: &[u64]) {
    let (per, cost) = (case.per.as_micros() as u64, case.cost as usize);
    let (limit, burst) = (case.limit as usize, case.burst as usize);
    let (in_any, in_a_window) =
        (most_within(grants, per) * cost, most_in_a_window(grants, per) * cost);
    let all = grants.len() * cost;
    println!("{}: {all} granted, {in_any} at most within {:?}", case.name(), case.per);
    match case.algorithm {
        Algorithm::Gcra => assert!(in_any <= limit + burst, "{case:?}: {in_any}"),
        Algorithm::FixedWindow => assert!(in_a_window <= limit, "{case:?}: {in_a_window}"),
        _ => {
            let in_less = most_within(grants, per - 1) * cost;
            println!("{}: {} % of the limit", case.name(), in_less * 100 / limit);
            assert!(in_a_window <= limit, "{case:?}: {in_a_window}");
            assert!(in_less <= 2 * limit, "{case:?}: {in_less}");
        }
    }
    // It was asked for more than there was.
    assert!(all >= burst, "{case:?}: {all}");
}

fn asked_for_five_times_as_often(rates: &[(u32, Duration, u32)]) {
    let of = |algorithm| {
        rates.iter().map(move |(limit, per, cost)| Case::new(algorithm, *limit, *per, *cost))
    };
    let cases: Vec<_> = ALGORITHMS.into_iter().flat_map(of).collect();
    for (case, grants) in cases.iter().zip(granted(&cases)) {
        check(*case, &grants);
    }
}

#[test]
fn a_fleet_that_asks_five_times_as_often_is_granted_what_the_limit_says() {
    let odd = Duration::from_millis(700);
    asked_for_five_times_as_often(&[
        (1, HOUR, 1),
        (20, SECOND, 1),
        (1_000, SECOND, 1),
        (333, odd, 1),
    ]);
}

#[test]
fn the_same_of_100_000_per_second_and_of_short_windows() {
    asked_for_five_times_as_often(&[(100_000, SECOND, 500), (200, Duration::from_millis(100), 1)]);
}
