//! Many tasks on several threads, whose batches overlap.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{Cache, cached};
use tokio::{task::JoinSet, time::timeout};

use crate::common::dice::Dice;

const IDS: usize = 24;

/// How often each element was loaded.
#[derive(Default)]
struct Loads([AtomicU32; IDS]);

impl Loads {
    async fn load(&self, ids: &[usize]) -> HashMap<usize, usize> {
        for id in ids {
            self.0[*id].fetch_add(1, SeqCst);
        }
        tokio::task::yield_now().await;
        ids.iter().map(|id| (*id, id * 10)).collect()
    }
}

#[cached(ttl = 60, key = "number:{id}", skip(loads), each(id in ids))]
async fn load_numbers(loads: &Loads, ids: &[usize]) -> HashMap<usize, usize> {
    loads.load(ids).await
}

#[cached(ttl = 60, key = "number:{id}", skip(loads))]
async fn get_number(loads: &Loads, id: usize) -> usize {
    loads.load(&[id]).await[&id]
}

/// One task's share of a round.
async fn ask(loads: &Loads, mut dice: Dice) {
    let mut ids: Vec<usize> = (0..IDS).collect();
    dice.shuffle(&mut ids);
    ids.truncate(1 + dice.below(IDS as u64) as usize);
    if dice.below(4) == 0 {
        let id = ids[0];
        assert_eq!(get_number(loads, id).await, id * 10);
    } else {
        let expected = ids.iter().map(|id| (*id, id * 10)).collect();
        assert_eq!(load_numbers(loads, &ids).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_overlaps_every_element_is_loaded_once() {
    for round in 0..500 {
        let loads = Arc::new(Loads::default());
        let cache = Cache::memory();
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let loads = Arc::clone(&loads);
            let dice = Dice::new(round, task);
            tasks.spawn(cache.scope(async move { ask(&loads, dice).await }));
        }
        timeout(Duration::from_secs(5), tasks.join_all()).await.unwrap();
        for (id, count) in loads.0.iter().enumerate() {
            let count = count.load(SeqCst);
            assert!(count <= 1, "round {round}: {id} was loaded {count} times");
        }
    }
}
