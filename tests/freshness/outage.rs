//! An origin that is away for ten minutes: how often it is called, what callers get meanwhile and how long they wait
//! for it, and how soon they have new values afterwards.

use std::{fmt, pin::Pin};

use super::*;
use crate::common::{Server, node::Node};

/// How long the origin is away.
const OUTAGE: Duration = Duration::from_secs(600);

const PROCESSES: u32 = 4;

/// The processes call it in turn, each of them once in a second.
const PAUSE: Duration = Duration::from_millis(250);

#[cached(ttl = 60, key = "bare", skip(origin))]
async fn bare(origin: Origin) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, stale_if_error = "1h", key = "kept", skip(origin))]
async fn kept(origin: Origin) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, stale_if_error = "1h", max_wait = "200ms", key = "waiting", skip(origin))]
async fn waiting(origin: Origin) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, stale = "1h", key = "served", skip(origin))]
async fn served(origin: Origin) -> Result<u32, u32> {
    origin.run().await
}

type Output = (Result<u32, u32>, Source);

/// A call of one of these.
type Call = fn(Origin) -> Pin<Box<dyn Future<Output = Output> + Send>>;

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_away_for_ten_minutes_costs_no_caller_an_error() {
    let functions: [(&str, Call); 4] = [
        ("no options", |origin| Box::pin(bare(origin).with_source())),
        ("stale_if_error", |origin| Box::pin(kept(origin).with_source())),
        ("and max_wait = \"200ms\"", |origin| Box::pin(waiting(origin).with_source())),
        ("stale", |origin| Box::pin(served(origin).with_source())),
    ];
    println!(
        "ttl 60 s, old values for an hour, {PROCESSES} processes, each calls once in a second"
    );
    for failure in [Act::Fail, Act::FailSlowly] {
        println!("\na run fails after {:?}\n{HEAD}", failure.time());
        for (options, call) in functions {
            let figures = outage(failure, call).await;
            println!("{options:23}{figures}");
            let Figures { calls, errors, runs, .. } = figures;
            if options == "no options" {
                // What is fresh when it begins is so for less than a minute.
                assert!(calls - errors < 60 * PROCESSES as usize);
                assert!(2 * failure.time() * runs as u32 > PROCESSES * OUTAGE);
                continue;
            }
            assert_eq!(errors, 0, "{options}");
            // From the end of a run that failed on, nobody tries.
            let pause = failure.time() + THROTTLE;
            assert!(pause * runs as u32 <= OUTAGE && figures.shortest_pause >= pause, "{options}");
            assert!(figures.oldest <= OUTAGE + 60 * SECOND, "{options}");
            assert!(figures.last <= pause + 2 * SECOND, "{options}");
            match options {
                "stale" => assert_eq!(figures.waited, 0),
                "stale_if_error" => assert!(figures.longest <= failure.time()),
                _ => assert!(figures.longest <= Duration::from_millis(200)),
            }
        }
    }
}

async fn outage(failure: Act, call: Call) -> Figures {
    let server = Server::new();
    let nodes = ["a", "b", "c", "d"].map(|name| {
        Node::with(&server, name, |cache| cache.clock(Virtual::new()).redis_budget(60 * SECOND))
    });
    let origin = Origin::default();
    let began = Instant::now();
    let down = began + 150 * SECOND;
    let up = down + OUTAGE;
    let mut calls = Vec::new();
    for process in (0..nodes.len()).cycle() {
        let now = Instant::now();
        if now >= up + 120 * SECOND {
            break;
        }
        origin.turn(if (down..up).contains(&now) { failure } else { Act::Answer });
        let origin = origin.clone();
        let call = nodes[process].spawn(timed(async move { call(origin).await }));
        calls.push((now, process, call));
        // Whatever becomes of that one.
        sleep(PAUSE).await;
    }
    let mut made = Vec::new();
    for (at, process, call) in calls {
        let ((output, source), took) = call.await.unwrap();
        made.push(Made { at, process, output, source, took });
    }
    Figures::of(&made, &origin.began(), down, up)
}

/// A call that was made.
struct Made {
    at: Instant,
    process: usize,
    /// The number of the run, which is its value or its error.
    output: Result<u32, u32>,
    source: Source,
    took: Duration,
}

/// What came of an outage.
struct Figures {
    calls: usize,
    fresh: usize,
    old: usize,
    errors: usize,
    /// Calls that waited.
    waited: usize,
    longest: Duration,
    /// The oldest value that was served.
    oldest: Duration,
    /// Runs that failed.
    runs: usize,
    /// From the beginning of one to that of the next.
    shortest_pause: Duration,
    /// From the end of the outage until the first process had a new value, and the last.
    first: Duration,
    last: Duration,
}

impl Figures {
    fn of(made: &[Made], runs: &[Instant], down: Instant, up: Instant) -> Self {
        let during: Vec<_> = made.iter().filter(|call| (down..up).contains(&call.at)).collect();
        let count =
            |which: &dyn Fn(&Made) -> bool| during.iter().filter(|call| which(call)).count();
        let recovered = |process: usize| {
            let is_new = |call: &&Made| {
                call.process == process && call.output.is_ok_and(|run| runs[run as usize - 1] >= up)
            };
            let first = made.iter().find(is_new).unwrap();
            first.at + first.took - up
        };
        let recovered: Vec<_> = (0..PROCESSES as usize).map(recovered).collect();
        let age = |call: &&Made| match call.source {
            Source::Stale { age } => age,
            _ => Duration::ZERO,
        };
        let failed: Vec<_> = runs.iter().filter(|began| (down..up).contains(began)).collect();
        let pauses = failed.windows(2).map(|runs| *runs[1] - *runs[0]);
        Self {
            calls: during.len(),
            fresh: count(&|call| call.output.is_ok() && !is_stale(call.source)),
            old: count(&|call| is_stale(call.source)),
            errors: count(&|call| call.output.is_err()),
            waited: count(&|call| !call.took.is_zero()),
            longest: during.iter().map(|call| call.took).max().unwrap(),
            oldest: during.iter().copied().map(|call| age(&call)).max().unwrap(),
            runs: failed.len(),
            shortest_pause: pauses.min().unwrap(),
            first: recovered.iter().copied().min().unwrap(),
            last: recovered.iter().copied().max().unwrap(),
        }
    }
}

const HEAD: &str = "                        runs  calls  fresh    old  errors  waited  longest   oldest  new after";

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, fresh, old, errors, waited, runs, .. } = self;
        write!(f, "{runs:>5}  {calls:>5}  {fresh:>5}  {old:>5}  {errors:>6}  {waited:>6}")?;
        write!(f, "  {:>5.1} s  {:>5} s", self.longest.as_secs_f64(), self.oldest.as_secs())?;
        write!(f, "  {:.1} to {:.1} s", self.first.as_secs_f64(), self.last.as_secs_f64())
    }
}
