//! What is behind a function: its runs do what a test says.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How long a run takes, in virtual time.
pub(crate) const RUN: Duration = Duration::from_secs(1);

/// And one that is slow: no longer than a lease.
pub(crate) const SLOW: Duration = Duration::from_secs(5);

/// What a run does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Act {
    #[default]
    Answer,
    /// As `Answer`, in five times the time.
    AnswerSlowly,
    Fail,
    /// As `Fail`, in five times the time.
    FailSlowly,
    Panic,
}

impl Act {
    /// How long it takes.
    pub(crate) fn time(self) -> Duration {
        match self {
            Self::Answer | Self::Fail | Self::Panic => RUN,
            Self::AnswerSlowly | Self::FailSlowly => SLOW,
        }
    }
}

/// The origin of a function's values: the number of the run, as a value or as an error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin(Arc<Runs>);

#[derive(Debug, Default)]
struct Runs {
    acts: Mutex<VecDeque<Act>>,
    began: Mutex<Vec<Instant>>,
    under_way: AtomicU32,
    /// The most that were under way at once.
    most: AtomicU32,
}

impl Origin {
    /// Its runs do these things one after another, and then the last of them.
    pub(crate) fn new(acts: &[Act]) -> Self {
        let origin = Self::default();
        origin.0.acts.lock().unwrap().extend(acts);
        origin
    }

    /// From now on its runs do this.
    pub(crate) fn turn(&self, act: Act) {
        *self.0.acts.lock().unwrap() = [act].into();
    }

    pub(crate) async fn run(&self) -> Result<u32, u32> {
        let act = {
            let mut acts = self.0.acts.lock().unwrap();
            let act = acts.front().copied().unwrap_or_default();
            if acts.len() > 1 {
                acts.pop_front();
            }
            act
        };
        let number = {
            let mut began = self.0.began.lock().unwrap();
            began.push(Instant::now());
            began.len() as u32
        };
        let under_way = UnderWay::of(&self.0);
        sleep(act.time()).await;
        drop(under_way);
        match act {
            Act::Answer | Act::AnswerSlowly => Ok(number),
            Act::Fail | Act::FailSlowly => Err(number),
            Act::Panic => panic!("as the test says"),
        }
    }

    pub(crate) fn runs(&self) -> u32 {
        self.began().len() as u32
    }

    /// When each run began.
    pub(crate) fn began(&self) -> Vec<Instant> {
        self.0.began.lock().unwrap().clone()
    }

    /// The most runs that were under way at once.
    pub(crate) fn most_at_once(&self) -> u32 {
        self.0.most.load(SeqCst)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.under_way.load(SeqCst) > 0
    }
}

/// A run, until it ends or is dropped.
struct UnderWay<'a>(&'a Runs);

impl<'a> UnderWay<'a> {
    fn of(runs: &'a Runs) -> Self {
        let under_way = runs.under_way.fetch_add(1, SeqCst) + 1;
        runs.most.fetch_max(under_way, SeqCst);
        Self(runs)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

/// Draws that say at each read that the value is to be refreshed before its time, or at none. No two of them are
/// the same, for leases are named by draws too. For the processes of one fleet.
pub(crate) fn draws(is_early: bool) -> impl Fn() -> u64 + Clone + Send + Sync + 'static {
    let count = Arc::new(AtomicU64::new(0));
    move || {
        // The 53 bits that decide are above these.
        let other = count.fetch_add(1, SeqCst) % (1 << 11);
        if is_early { other } else { u64::MAX << 11 | other }
    }
}

/// Draws by chance that is the same in every run, for the processes of one fleet: splitmix64, of which no number
/// comes twice.
pub(crate) fn seeded(seed: u64) -> impl Fn() -> u64 + Clone + Send + Sync + 'static {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    let state = Arc::new(AtomicU64::new(seed));
    move || {
        let mut draw = state.fetch_add(STEP, SeqCst).wrapping_add(STEP);
        draw = (draw ^ draw >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        draw = (draw ^ draw >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        draw ^ draw >> 31
    }
}
