//! A table that the functions of these tests read, several rows at once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use larder::{Cache, CacheBuilder, cached};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::common::time::Virtual;

/// How long a run takes, in virtual time.
pub(crate) const RUN: Duration = Duration::from_millis(100);

/// For whatever needs no time to happen.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Rows from here on are not there.
pub(crate) const END: u64 = 1000;

/// A handle of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Db(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What each run was asked for.
    runs: Mutex<Vec<Vec<u64>>>,
    acts: Mutex<VecDeque<Act>>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Answer,
    Slow(Duration),
    Fail,
    Panic,
}

pub(crate) type Rows = HashMap<u64, String>;

impl Db {
    /// The runs do this, one after another, and the others answer.
    pub(crate) fn acting(acts: &[Act]) -> Self {
        let acts = Mutex::new(acts.iter().copied().collect());
        Self(Arc::new(Inner { acts, ..Inner::default() }))
    }

    /// From now on.
    pub(crate) fn act(&self, acts: &[Act]) {
        self.0.acts.lock().unwrap().extend(acts);
    }

    /// A run: of each row what it is and in which run it was read, or which run has failed.
    pub(crate) async fn load(&self, ids: &[u64]) -> Result<Rows, String> {
        let run = {
            let mut runs = self.0.runs.lock().unwrap();
            runs.push(ids.to_vec());
            runs.len()
        };
        let act = self.0.acts.lock().unwrap().pop_front().unwrap_or(Act::Answer);
        sleep(if let Act::Slow(time) = act { time } else { RUN }).await;
        match act {
            Act::Answer | Act::Slow(_) => Ok(rows(run, ids)),
            Act::Fail => Err(format!("run {run}")),
            Act::Panic => panic!("as the test says"),
        }
    }

    pub(crate) async fn load_one(&self, id: u64) -> Result<Option<String>, String> {
        Ok(self.load(&[id]).await?.remove(&id))
    }

    pub(crate) fn runs(&self) -> Vec<Vec<u64>> {
        self.0.runs.lock().unwrap().clone()
    }
}

/// What a run has read.
pub(crate) fn row(run: usize, id: u64) -> String {
    format!("{id} of run {run}")
}

pub(crate) fn rows(run: usize, ids: &[u64]) -> Rows {
    ids.iter().filter(|id| **id < END).map(|id| (*id, row(run, *id))).collect()
}

/// What several runs have read.
pub(crate) fn rows_of(all: &[(usize, &[u64])]) -> Rows {
    all.iter().flat_map(|(run, ids)| rows(*run, ids)).collect()
}

#[cached(ttl = 60, key = "row:{id}", skip(db), each(id in ids))]
pub(crate) async fn load_rows(db: &Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

#[cached(ttl = 60, key = "row:{id}", skip(db))]
pub(crate) async fn get_row(db: &Db, id: u64) -> Result<String, String> {
    db.load_one(id).await?.ok_or_else(|| "nobody".to_owned())
}

/// A cache whose time is virtual.
pub(crate) fn memory() -> CacheBuilder {
    Cache::builder("test").clock(Virtual::new())
}

/// Whatever the function, in a cache of its own.
pub(crate) async fn alone<T>(test: impl Future<Output = T>) -> T {
    memory().build().unwrap().scope(test).await
}

/// A call on a task of its own, which has got to where it waits.
pub(crate) async fn started<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let call = tokio::spawn(Cache::current().scope(call));
    sleep(MOMENT).await;
    call
}

pub(crate) async fn started_rows(db: &Db, ids: &[u64]) -> JoinHandle<Result<Rows, String>> {
    let (db, ids) = (db.clone(), ids.to_vec());
    started(async move { load_rows(&db, &ids).await }).await
}

pub(crate) async fn started_row(db: &Db, id: u64) -> JoinHandle<Result<String, String>> {
    let db = db.clone();
    started(async move { get_row(&db, id).await }).await
}

/// How long it takes.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let output = future.await;
    (output, began.elapsed())
}
