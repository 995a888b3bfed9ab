//! What each caller gets, from where, how long it waits and how often the function runs: by the state of the entry,
//! by what the function does, and by how many call it, in one process and in several.
//!
//! The tables are what is compared with. A test that fails prints the one that it has found.

mod common;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use common::{
    Process, Server,
    Verb::{Fill, Get, Hold, Invalidate, Lease, Release, Settle},
    origin::{Act, Origin, draws},
    time::Virtual,
};
use larder::{Cache, Source, cached};
use tokio::{
    task::JoinHandle,
    time::{Instant, advance, sleep, sleep_until},
};

// A row is for each of its states, and for each thing that the function does. A cell has the number of runs, then what
// the callers get and how long they wait for it, in times that a run takes: `1: old 0x3 1` is one run, and four callers
// that get the old value, three at once and one after the run. Behind it stands what one more caller gets when all is
// over, which in the fleet is one in the process that asked last.
//
//   hit      the value, which is fresh: from memory, or from the tier that is shared
//   new      the same, of a value that was stored since
//   shared   the value, as it was read for another caller
//   old      the value, past its life
//   ran      what the function returned to this caller
//   joined   what it returned to another
//   error    this caller's or another's
//
// The values live for 60 s. They are served for 30 s more while somebody refreshes them, and after an error for 600 s
// more. A slow run takes 5 s, any other 1 s. What is dropped is invalidated after a fifth of the run.

/// With arguments that are owned: who refreshes a value that may be served does not wait.
const OWNED: &str = "
state                        | function      | one caller | four callers         | then    | six in three processes         | then
absent, expired, invalidated | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | new 0   | 1: joined 1x3, new 1x2, ran 1  | new 0
absent, expired, invalidated | fails         | 1: error 1 | 1: error 1x4         | error 1 | 3: error 1x2 2x4               | error 1
absent, expired, invalidated | panics        | 1: panic 1 | 4: panic 1 2 3 4     | panic 1 | 6: panic 1 2 3x2 4 5           | panic 1
held                         | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | ran 1   | 3: joined 1x3, ran 1x3         | ran 1
held                         | fails         | 1: error 1 | 1: error 1x4         | error 1 | 3: error 1x6                   | error 1
held                         | panics        | 1: panic 1 | 4: panic 1 2 3 4     | panic 1 | 6: panic 1x3 2x3               | panic 1
fresh                        | any           | 0: hit 0   | 0: hit 0x4           | hit 0   | 0: hit 0x5, shared 0           | hit 0
early                        | ok, slow      | 1: hit 0   | 1: hit 0x4           | new 0   | 1: hit 0x6                     | hit 0
early                        | fails, panics | 1: hit 0   | 1: hit 0x4           | hit 0   | 1: hit 0x6                     | hit 0
stale                        | ok, slow      | 1: old 0   | 1: old 0x4           | new 0   | 1: old 0x6                     | old 0
stale                        | fails, panics | 1: old 0   | 1: old 0x4           | old 0   | 1: old 0x6                     | old 0
for errors                   | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | new 0   | 1: joined 1x3, new 1x2, ran 1  | new 0
for errors                   | fails, panics | 1: old 1   | 1: old 1x4           | old 0   | 1: old 1x6                     | old 0
stale/dropped                | ok, slow      | 1: old 0   | 1: old 0x4           | ran 1   | 1: old 0x6                     | ran 1
stale/dropped                | fails         | 1: old 0   | 1: old 0x4           | error 1 | 1: old 0x6                     | error 1
stale/dropped                | panics        | 1: old 0   | 1: old 0x4           | panic 1 | 1: old 0x6                     | panic 1
for errors/dropped           | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | ran 1   | 3: joined 1 1.2x2, ran 1 1.2x2 | new 0
for errors/dropped           | fails         | 1: error 1 | 1: error 1x4         | error 1 | 3: error 1x2 1.2x4             | error 1
for errors/dropped           | panics        | 1: panic 1 | 4: panic 1 2 3 4     | panic 1 | 6: panic 1 1.2x2 2.2 3.2x2     | panic 1
";

/// With arguments that are borrowed: who refreshes waits for the run.
const BORROWED: &str = "
state                        | function      | one caller | four callers         | then    | six in three processes         | then
absent, expired, invalidated | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | new 0   | 1: joined 1x3, new 1x2, ran 1  | new 0
absent, expired, invalidated | fails         | 1: error 1 | 1: error 1x4         | error 1 | 3: error 1x2 2x4               | error 1
absent, expired, invalidated | panics        | 1: panic 1 | 4: panic 1 2 3 4     | panic 1 | 6: panic 1 2 3x2 4 5           | panic 1
held                         | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | ran 1   | 3: joined 1x3, ran 1x3         | ran 1
held                         | fails         | 1: error 1 | 1: error 1x4         | error 1 | 3: error 1x6                   | error 1
held                         | panics        | 1: panic 1 | 4: panic 1 2 3 4     | panic 1 | 6: panic 1x3 2x3               | panic 1
fresh                        | any           | 0: hit 0   | 0: hit 0x4           | hit 0   | 0: hit 0x5, shared 0           | hit 0
early                        | ok, slow      | 1: ran 1   | 1: hit 0x3, ran 1    | new 0   | 1: hit 0x5, ran 1              | new 0
early                        | fails, panics | 1: hit 1   | 1: hit 0x3 1         | hit 0   | 1: hit 0x5 1                   | hit 0
stale                        | ok, slow      | 1: ran 1   | 1: old 0x3, ran 1    | new 0   | 1: old 0x5, ran 1              | new 0
stale                        | fails, panics | 1: old 1   | 1: old 0x3 1         | old 0   | 1: old 0x5 1                   | old 0
for errors                   | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | new 0   | 1: joined 1x3, new 1x2, ran 1  | new 0
for errors                   | fails, panics | 1: old 1   | 1: old 1x4           | old 0   | 1: old 1x6                     | old 0
stale/dropped                | ok, slow      | 1: ran 1   | 1: old 0x3, ran 1    | ran 1   | 1: old 0x5, ran 1              | ran 1
stale/dropped                | fails         | 1: error 1 | 1: error 1, old 0x3  | error 1 | 1: error 1, old 0x5            | error 1
stale/dropped                | panics        | 1: panic 1 | 1: old 0x3, panic 1  | panic 1 | 1: old 0x5, panic 1            | panic 1
for errors/dropped           | ok, slow      | 1: ran 1   | 1: joined 1x3, ran 1 | ran 1   | 3: joined 1 1.2x2, ran 1 1.2x2 | new 0
for errors/dropped           | fails         | 1: error 1 | 1: error 1x4         | error 1 | 3: error 1x2 1.2x4             | error 1
for errors/dropped           | panics        | 1: panic 1 | 4: panic 1 2 3 4     | panic 1 | 6: panic 1 1.2x2 2.2 3.2x2     | panic 1
";

/// With arguments that are owned, and `max_wait = 2`: less than a slow run takes, and more than another.
const BOUNDED: &str = "
state                             | function      | one caller  | four callers         | then    | six in three processes        | then
absent, expired, invalidated      | ok, slow      | 1: ran 1    | 1: joined 1x3, ran 1 | new 0   | 1: joined 1x3, new 1x2, ran 1 | new 0
absent, expired, invalidated      | fails         | 1: error 1  | 1: error 1x4         | error 1 | 3: error 1x2 2x4              | error 1
absent, expired, invalidated      | panics        | 1: panic 1  | 4: panic 1 2 3 4     | panic 1 | 6: panic 1 2 3x2 4 5          | panic 1
held                              | ok, slow      | 1: ran 1    | 1: joined 1x3, ran 1 | ran 1   | 3: joined 1x3, ran 1x3        | ran 1
held                              | fails         | 1: error 1  | 1: error 1x4         | error 1 | 3: error 1x6                  | error 1
held                              | panics        | 1: panic 1  | 4: panic 1 2 3 4     | panic 1 | 6: panic 1x3 2x3              | panic 1
fresh                             | any           | 0: hit 0    | 0: hit 0x4           | hit 0   | 0: hit 0x5, shared 0          | hit 0
early                             | ok, slow      | 1: hit 0    | 1: hit 0x4           | new 0   | 1: hit 0x6                    | new 0
early                             | fails, panics | 1: hit 0    | 1: hit 0x4           | hit 0   | 1: hit 0x6                    | hit 0
stale, for errors                 | ok            | 1: joined 1 | 1: joined 1x4        | new 0   | 1: joined 1x6                 | new 0
stale, for errors                 | slow          | 1: old 0.4  | 1: old 0.4x4         | new 0   | 1: old 0.4x6                  | new 0
stale, for errors                 | fails, panics | 1: old 1    | 1: old 1x4           | old 0   | 1: old 1x6                    | old 0
stale/dropped, for errors/dropped | ok, slow      | 1: joined 1 | 1: joined 1x4        | ran 1   | 3: joined 1x2 1.2x4           | new 0
stale/dropped, for errors/dropped | fails         | 1: error 1  | 1: error 1x4         | error 1 | 3: error 1x2 1.2x4            | error 1
stale/dropped, for errors/dropped | panics        | 1: panic 1  | 4: panic 1 2 3 4     | panic 1 | 6: panic 1 1.2x2 2.2 3.2x2    | panic 1
";

/// Where nothing is kept in memory.
const FAR: &str = "
state | function | one caller | four callers   | then  | six in three processes   | then
held  | ok, slow | 1: ran 1   | 4: ran 1 2 3 4 | ran 1 | 4: joined 1x2, ran 1x3 2 | ran 1
fresh | any      | 0: hit 0   | 0: hit 0x4     | hit 0 | 0: hit 0x6               | hit 0
";

const OWNED_FAR: &str = "
state | function | one caller | four callers | then  | six in three processes | then
early | ok, slow | 1: hit 0   | 1: hit 0x4   | new 0 | 1: hit 0x6             | new 0
stale | ok, slow | 1: old 0   | 1: old 0x4   | new 0 | 1: old 0x6             | new 0
";

macro_rules! function {
    ($function:ident, ($($origin:tt)*) $(, $option:ident = $value:expr)*) => {
        mod $function {
            use super::*;

            #[cached(
                ttl = 60,
                stale = 30,
                stale_if_error = 600,
                refresh_early,
                key = "called:{id}",
                skip(origin)
                $(, $option = $value)*
            )]
            async fn called(origin: $($origin)*, id: u64) -> Result<u32, u32> {
                origin.run().await
            }

            pub(crate) fn call(origin: Origin) -> Calling {
                Box::pin(async move { called(pass!(origin, $($origin)*), 1).with_source().await })
            }
        }
    };
}

macro_rules! pass {
    ($value:ident, &$origin:ident) => {
        &$value
    };
    ($value:ident, $origin:ident) => {
        $value
    };
}

const KEY: &str = "called:1";

function!(owned, (Origin));
function!(borrowed, (&Origin));
function!(bounded, (Origin), max_wait = 2);
function!(owned_far, (Origin), local = false);
function!(borrowed_far, (&Origin), local = false);
function!(bounded_far, (Origin), max_wait = 2, local = false);

type Output = (Result<u32, u32>, Source);
type Calling = Pin<Box<dyn Future<Output = Output> + Send>>;
type Call = fn(Origin) -> Calling;

#[tokio::test(start_paused = true)]
async fn owned_arguments_in_memory() {
    assert_table(&[OWNED], Place::Memory, owned::call).await;
}

#[tokio::test(start_paused = true)]
async fn owned_arguments_in_a_fleet() {
    assert_table(&[OWNED], Place::Fleet, owned::call).await;
}

#[tokio::test(start_paused = true)]
async fn owned_arguments_in_a_fleet_without_memory() {
    assert_table(&[OWNED, FAR, OWNED_FAR], Place::Fleet, owned_far::call).await;
}

#[tokio::test(start_paused = true)]
async fn borrowed_arguments_in_memory() {
    assert_table(&[BORROWED], Place::Memory, borrowed::call).await;
}

#[tokio::test(start_paused = true)]
async fn borrowed_arguments_in_a_fleet() {
    assert_table(&[BORROWED], Place::Fleet, borrowed::call).await;
}

#[tokio::test(start_paused = true)]
async fn borrowed_arguments_in_a_fleet_without_memory() {
    assert_table(&[BORROWED, FAR], Place::Fleet, borrowed_far::call).await;
}

#[tokio::test(start_paused = true)]
async fn bounded_waits_in_memory() {
    assert_table(&[BOUNDED], Place::Memory, bounded::call).await;
}

#[tokio::test(start_paused = true)]
async fn bounded_waits_in_a_fleet() {
    assert_table(&[BOUNDED], Place::Fleet, bounded::call).await;
}

#[tokio::test(start_paused = true)]
async fn bounded_waits_in_a_fleet_without_memory() {
    assert_table(&[BOUNDED, FAR], Place::Fleet, bounded_far::call).await;
}

/// What the entry is when the calls come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Absent,
    Expired,
    Invalidated,
    Fresh,
    /// Fresh, and the draws say that it is to be refreshed.
    Early,
    Stale,
    /// Too old to be served but after an error.
    ForErrors,
    /// Another writer is in the middle of a change.
    Held,
    /// And invalidated while those that wait do.
    StaleThenDropped,
    ForErrorsThenDropped,
}

use State::{
    Absent, Early, Expired, ForErrors, ForErrorsThenDropped, Fresh, Held, Invalidated, Stale,
    StaleThenDropped,
};

const STATES: [(State, &str); 10] = [
    (Absent, "absent"),
    (Expired, "expired"),
    (Invalidated, "invalidated"),
    (Held, "held"),
    (Fresh, "fresh"),
    (Early, "early"),
    (Stale, "stale"),
    (ForErrors, "for errors"),
    (StaleThenDropped, "stale/dropped"),
    (ForErrorsThenDropped, "for errors/dropped"),
];

const ACTS: [(Act, &str); 4] = [
    (Act::Answer, "ok"),
    (Act::AnswerSlowly, "slow"),
    (Act::Fail, "fails"),
    (Act::Panic, "panics"),
];

/// All of these.
const ANY: &str = "any";

impl State {
    /// When the calls come, since the value was stored.
    fn age(self) -> Duration {
        let seconds = match self {
            Absent => 0,
            Fresh => 30,
            Early => 50,
            Stale | Invalidated | Held | StaleThenDropped => 70,
            ForErrors | ForErrorsThenDropped => 100,
            Expired => 700,
        };
        Duration::from_secs(seconds)
    }

    fn is_dropped_meanwhile(self) -> bool {
        matches!(self, StaleThenDropped | ForErrorsThenDropped)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Memory,
    /// Three processes with a tier that they share. The third does not have the entry in memory.
    Fleet,
}

/// Who calls, by their processes.
const ONE: &[usize] = &[0];
const FOUR: &[usize] = &[0, 0, 0, 0];
const SIX: &[usize] = &[0, 0, 1, 1, 2, 2];

/// What a row has for one state and one thing that the function does.
type Row = Vec<String>;

/// That the table is the one that comes of the calls. What stands in a later one is in the place of that.
async fn assert_table(expected: &[&str], place: Place, call: Call) {
    let mut rows = BTreeMap::new();
    for line in expected.iter().flat_map(|table| table.lines()) {
        let cells: Vec<_> = line.split(" | ").map(str::trim).collect();
        let [states, acts, cells @ ..] = &cells[..] else { continue };
        for (state, act) in
            states.split(", ").flat_map(|state| acts_of(acts).map(move |act| (state, act)))
        {
            rows.insert((state, act), cells.iter().map(ToString::to_string).collect::<Row>());
        }
    }
    let mut found = Vec::new();
    let mut is_as_expected = true;
    for (state, state_name) in STATES {
        for (act, act_name) in ACTS {
            let row = row(call, place, state, act).await;
            let expected = rows.get(&(state_name, act_name)).map(Vec::as_slice).unwrap_or_default();
            is_as_expected &= expected.get(..row.len()) == Some(&row[..]);
            found.push((state_name, act_name, row));
        }
    }
    assert!(is_as_expected, "{}", Table(found));
}

fn acts_of(cell: &str) -> impl Iterator<Item = &str> {
    ACTS.iter()
        .map(|(_, name)| *name)
        .filter(move |name| cell == ANY || cell.split(", ").any(|act| act == *name))
}

async fn row(call: Call, place: Place, state: State, act: Act) -> Row {
    let (one, then) = outcome(call, place, state, act, ONE).await;
    let (four, then_four) = outcome(call, place, state, act, FOUR).await;
    let then = if then == then_four { then } else { format!("{then} / {then_four}") };
    let mut row = vec![one, four, then];
    if place == Place::Fleet {
        let (six, then) = outcome(call, place, state, act, SIX).await;
        row.extend([six, then]);
    }
    row
}

/// What comes of the calls of such callers, and of one after them.
async fn outcome(
    call: Call,
    place: Place,
    state: State,
    act: Act,
    callers: &[usize],
) -> (String, String) {
    let server = Server::new();
    let draws = draws(state == Early);
    let caches = ["a", "b", "c"].map(|name| {
        let cache = Cache::builder("test").clock(Virtual::new()).random(draws.clone());
        match place {
            Place::Memory => cache.build().unwrap(),
            Place::Fleet => cache.remote(connected(&server, name)).build().unwrap(),
        }
    });
    let origin = Origin::default();
    let call = |process: usize| {
        let origin = origin.clone();
        timed(tokio::spawn(caches[process].scope(async move { call(origin).await })))
    };
    if state != Absent {
        for process in 0..if place == Place::Fleet { 2 } else { 1 } {
            call(process).await.unwrap();
        }
        assert_eq!(origin.runs(), 1);
        advance(state.age()).await;
    }
    origin.turn(act);
    let seen = Seen { before: origin.runs(), act };
    if state == Invalidated {
        caches[0].invalidate(KEY).await.unwrap();
    }
    let change = caches[0].invalidation().key(KEY).hold(Duration::from_secs(60));
    let change = if state == Held { Some(change.await.unwrap()) } else { None };
    let began = Instant::now();
    let calls: Vec<_> = callers.iter().map(|process| call(*process)).collect();
    if state.is_dropped_meanwhile() {
        sleep(act.time() / 5).await;
        caches[0].invalidate(KEY).await.unwrap();
    }
    let mut got = Vec::new();
    for call in calls {
        got.push(call.await.unwrap());
    }
    // Whatever goes on without a caller has ended by then, and the pause after an error has not.
    sleep_until(began + Duration::from_secs(7)).await;
    let outcome = format!("{}: {}", origin.runs() - seen.before, seen.by_all(&got));
    if let Some(change) = change {
        change.complete().await.unwrap();
    }
    let last = call(callers[callers.len() - 1]).await.unwrap();
    (outcome, seen.by_all(&[last]))
}

fn connected(server: &Arc<Server>, name: &'static str) -> Arc<Process> {
    let process = server.connect(name);
    // So that each of them is a step of its own.
    for verb in [Get, Lease, Fill, Release, Invalidate, Hold, Settle] {
        process.delay(verb, Duration::from_millis(1));
    }
    process
}

/// What a caller got, which is nothing if it panicked, and how long it waited.
type Got = (Option<Output>, Duration);

fn timed(call: JoinHandle<Output>) -> JoinHandle<Got> {
    let began = Instant::now();
    tokio::spawn(async move { (call.await.ok(), began.elapsed()) })
}

/// How callers see it.
struct Seen {
    /// How often the function had run.
    before: u32,
    act: Act,
}

impl Seen {
    fn by_all(&self, all: &[Got]) -> String {
        let mut counts = BTreeMap::<_, BTreeMap<_, usize>>::new();
        for got in all {
            let (what, times) = self.by_one(got);
            *counts.entry(what).or_default().entry(times).or_default() += 1;
        }
        let with_count = |(times, count): (String, usize)| match count {
            1 => format!(" {times}"),
            _ => format!(" {times}x{count}"),
        };
        let shown = counts.into_iter().map(|(what, times)| {
            times.into_iter().map(with_count).fold(what, |all, one| all + &one)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    fn by_one(&self, (output, waited): &Got) -> (String, String) {
        let what = match output {
            None => "panic",
            Some((Err(_), Source::Function | Source::Shared)) => "error",
            Some((Ok(value), source)) => match (*value > self.before, source) {
                (false, Source::Memory { .. } | Source::Redis { .. }) => "hit",
                (true, Source::Memory { .. } | Source::Redis { .. }) => "new",
                (false, Source::Shared) => "shared",
                (true, Source::Shared) => "joined",
                (true, Source::Function) => "ran",
                (false, Source::Stale { .. }) => "old",
                _ => panic!("{output:?}"),
            },
            Some(_) => panic!("{output:?}"),
        };
        let times = waited.as_secs_f64() / self.act.time().as_secs_f64();
        (what.to_owned(), ((times * 10.0).round() / 10.0).to_string())
    }
}

/// What was found, as it is to stand above.
struct Table(Vec<(&'static str, &'static str, Row)>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Those of a state that are the same, and then states that are.
        let mut states: Vec<(String, Vec<(String, &Row)>)> = Vec::new();
        for (state, act, row) in &self.0 {
            match states.last_mut() {
                Some((last, rows)) if last == state => match rows.last_mut() {
                    Some((acts, same)) if *same == row => write!(acts, ", {act}")?,
                    _ => rows.push(((*act).to_owned(), row)),
                },
                _ => states.push(((*state).to_owned(), vec![((*act).to_owned(), row)])),
            }
        }
        for (_, rows) in &mut states {
            if let [(acts, _)] = &mut rows[..] {
                ANY.clone_into(acts);
            }
        }
        states.dedup_by(|(state, rows), (states, of)| {
            let is_same = rows == of;
            if is_same {
                *states += ", ";
                *states += state;
            }
            is_same
        });
        let lines = states.iter().flat_map(|(states, rows)| {
            let line =
                |(acts, row): &(String, &Row)| [&[states.clone(), acts.clone()], &row[..]].concat();
            rows.iter().map(line).collect::<Vec<_>>()
        });
        let lines: Vec<_> = lines.collect();
        for line in &lines {
            writeln!(f)?;
            for (at, cell) in line.iter().enumerate() {
                let width = lines.iter().map(|line| line[at].len()).max().unwrap_or_default();
                write!(f, "{}{cell:width$}", if at > 0 { " | " } else { "" })?;
            }
        }
        Ok(())
    }
}
