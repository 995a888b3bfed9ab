//! Every form of a function that loads many, at work.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hash},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{Cache, KeyPart, cached};
use tokio::time::{advance, sleep};

use crate::db::{Db, MOMENT, Rows, SECOND, alone, get_row, memory, row, rows, timed};

/// How many elements each run was for.
#[derive(Default)]
struct Runs(std::sync::Mutex<Vec<usize>>);

impl Runs {
    fn of<T>(&self, elements: &[T]) {
        self.0.lock().unwrap().push(elements.len());
    }

    fn all(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_vec_the_function_gets_what_is_missing() {
    #[cached(ttl = 60, key = "row:{id}", skip(db), each(id in ids))]
    async fn load(db: Db, mut ids: Vec<u64>) -> Result<Rows, String> {
        ids.reverse();
        db.load(&ids).await
    }
    alone(async {
        let db = Db::default();
        assert_eq!(get_row(&db, 2).await, Ok(row(1, 2)));
        load(db.clone(), vec![1, 2, 3, 1]).await.unwrap();
        assert_eq!(db.runs(), [vec![2], vec![3, 1]]);
        assert_eq!(load(db.clone(), vec![3]).await, Ok(rows(2, &[3])));
    })
    .await;
}

#[tokio::test]
async fn of_references() {
    #[cached(ttl = 60, key = "length:{word}", skip(runs), each(word in words))]
    async fn lengths<'a>(runs: &Runs, words: &[&'a str]) -> HashMap<&'a str, usize> {
        runs.of(words);
        words.iter().map(|word| (*word, word.len())).collect()
    }
    alone(async {
        let runs = Runs::default();
        let text = "to be or not to be".to_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let lengths_of = lengths(&runs, &words).await;
        assert_eq!(lengths_of, HashMap::from([("to", 2), ("be", 2), ("or", 2), ("not", 3)]));
        assert_eq!(
            lengths(&runs, &["not", "that"]).await,
            HashMap::from([("not", 3), ("that", 4)])
        );
        assert_eq!(runs.all(), [4, 1]);
    })
    .await;
}

#[tokio::test]
async fn of_strings_and_of_tuples() {
    #[cached(ttl = 60, key = "length:{word}", skip(runs), each(word in words))]
    async fn lengths(runs: &Runs, words: &[String]) -> HashMap<String, usize> {
        runs.of(words);
        words.iter().map(|word| (word.clone(), word.len())).collect()
    }
    #[cached(ttl = 60, key = "cell:{at.0}:{at.1}", skip(runs), each(at in cells))]
    async fn products(runs: &Runs, cells: Vec<(u32, u32)>) -> HashMap<(u32, u32), u32> {
        runs.of(&cells);
        cells.into_iter().map(|(x, y)| ((x, y), x * y)).collect()
    }
    alone(async {
        let runs = Runs::default();
        let words = ["a:b", "a%3Ab", ""].map(str::to_owned);
        assert_eq!(lengths(&runs, &words).await.len(), 3);
        assert_eq!(lengths(&runs, &words[..1]).await, HashMap::from([("a:b".to_owned(), 3)]));
        let products_of = products(&runs, vec![(1, 23), (12, 3)]).await;
        assert_eq!(products_of, HashMap::from([((1, 23), 23), ((12, 3), 36)]));
        assert_eq!(products(&runs, vec![(12, 3)]).keys(), ["cell:12:3"]);
        assert_eq!(products(&runs, vec![(12, 3)]).await[&(12, 3)], 36);
        assert_eq!(runs.all(), [3, 2]);
    })
    .await;
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, KeyPart)]
struct Id {
    tenant: u32,
    number: u64,
}

#[tokio::test]
async fn without_a_key_what_is_beside_the_elements_tells_them_apart() {
    #[cached(ttl = 60, skip(runs), each(id in ids))]
    async fn names(runs: &Runs, lang: &str, ids: &[Id]) -> HashMap<Id, String> {
        runs.of(ids);
        ids.iter().map(|id| (id.clone(), format!("{lang} {}", id.number))).collect()
    }
    alone(async {
        let runs = Runs::default();
        let ids = [1, 2, 3].map(|number| Id { tenant: 1, number });
        assert_eq!(names(&runs, "en", &ids[..2]).await[&ids[1]], "en 2");
        assert_eq!(names(&runs, "de", &ids[..2]).await[&ids[1]], "de 2");
        assert_eq!(names(&runs, "en", &ids).await[&ids[1]], "en 2");
        assert_eq!(runs.all(), [2, 2, 1]);
    })
    .await;
}

#[tokio::test]
async fn of_a_type_that_the_caller_chooses() {
    #[cached(ttl = 60, key = "show:{T}:{id}", skip(runs), each(id in ids))]
    async fn show<T>(runs: &Runs, ids: &[T]) -> HashMap<T, String>
    where
        T: KeyPart + Clone + Eq + Hash + ToString,
    {
        runs.of(ids);
        ids.iter().map(|id| (id.clone(), id.to_string())).collect()
    }
    alone(async {
        let runs = Runs::default();
        for _ in 0..2 {
            assert_eq!(show(&runs, &[1_u8, 2]).await[&2], "2");
            assert_eq!(show(&runs, &["1", "2"]).await["2"], "2");
        }
        assert_eq!(runs.all(), [2, 2]);
    })
    .await;
}

#[tokio::test]
async fn what_the_map_is_hashed_by_and_its_values_are_the_functions_own() {
    type Hasher = BuildHasherDefault<DefaultHasher>;

    #[cached(ttl = 60, key = "shared:{id}", skip(runs), each(id in ids))]
    async fn shared(runs: &Runs, ids: &[u64]) -> Result<HashMap<u64, Arc<str>, Hasher>, String> {
        runs.of(ids);
        Ok(ids.iter().map(|id| (*id, id.to_string().into())).collect())
    }
    #[cached(ttl = 60, key = "shared:{id}")]
    async fn shared_one(id: u64) -> Arc<str> {
        format!("{id} alone").into()
    }
    alone(async {
        let runs = Runs::default();
        let first = shared(&runs, &[1, 2]).await.unwrap();
        let second = shared(&runs, &[2]).await.unwrap();
        // No value was cloned.
        assert!(Arc::ptr_eq(&first[&2], &second[&2]));
        assert!(Arc::ptr_eq(&first[&1], &shared_one(1).await));
        assert_eq!(runs.all(), [2]);
    })
    .await;
}

#[tokio::test]
async fn what_stays_in_memory_needs_no_form_for_elsewhere() {
    #[derive(Debug, Clone, PartialEq)]
    struct Bare(u64);

    #[cached(ttl = 60, remote = false, key = "bare:{id}", skip(runs), each(id in ids))]
    async fn bare(runs: &Runs, ids: &[u64]) -> HashMap<u64, Bare> {
        runs.of(ids);
        ids.iter().map(|id| (*id, Bare(*id))).collect()
    }
    alone(async {
        let runs = Runs::default();
        for _ in 0..2 {
            assert_eq!(bare(&runs, &[1]).await[&1], Bare(1));
        }
        assert_eq!(runs.all(), [1]);
    })
    .await;
}

struct Table {
    cache: Cache,
    name: &'static str,
    runs: Runs,
}

impl Table {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { cache: memory().build().unwrap(), name, runs: Runs::default() })
    }

    #[cached(ttl = 60, key = "of:{self.name}:{id}", cache = self.cache, each(id in ids))]
    async fn load(&self, ids: &[u64]) -> HashMap<u64, String> {
        self.runs.of(ids);
        ids.iter().map(|id| (*id, format!("{} {id}", self.name))).collect()
    }

    #[cached(ttl = 60, key = "of:{self.name}:{id}", cache = self.cache, each(id in ids))]
    async fn load_shared(self: Arc<Self>, ids: Vec<u64>) -> HashMap<u64, String> {
        self.load(&ids).uncached().await
    }

    #[cached(ttl = 60, key = "associated:{id}", each(id in ids))]
    async fn associated(ids: &[u64]) -> HashMap<u64, u64> {
        ids.iter().map(|id| (*id, *id)).collect()
    }
}

#[tokio::test]
async fn of_methods() {
    let (one, two) = (Table::new("one"), Table::new("two"));
    assert_eq!(one.load(&[1]).await[&1], "one 1");
    assert_eq!(two.load(&[1]).await[&1], "two 1");
    assert_eq!(Arc::clone(&one).load_shared(vec![1, 2]).await.len(), 2);
    assert_eq!(one.load(&[1, 2]).await[&2], "one 2");
    assert_eq!((one.runs.all(), two.runs.all()), (vec![1, 1], vec![1]));
    alone(async { assert_eq!(Table::associated(&[7]).await[&7], 7) }).await;
}

#[async_trait::async_trait]
trait Load: Sync {
    async fn load_all(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String>;
}

#[async_trait::async_trait]
impl Load for Runs {
    #[cached(ttl = 60, key = "boxed:{id}", skip(self), each(id in ids))]
    async fn load_all(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
        self.of(ids);
        Ok(ids.iter().map(|id| (*id, *id)).collect())
    }
}

#[tokio::test]
async fn of_a_trait_object() {
    alone(async {
        let runs = Runs::default();
        let object: &dyn Load = &runs;
        assert_eq!(object.load_all(&[1, 2]).await.unwrap().len(), 2);
        assert_eq!(object.load_all(&[2, 3]).await.unwrap().len(), 2);
        assert_eq!(runs.all(), [2, 1]);
    })
    .await;
}

mod options {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_value_lives_as_long_as_it_says() {
        #[cached(ttl = |row| Duration::from_secs(row.len() as u64), key = "row:{id}", skip(db), each(id in ids))]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        alone(async {
            let db = Db::default();
            // «1 of run 1» and «100 of run 1».
            load(&db, &[1, 100]).await.unwrap();
            advance(11 * SECOND).await;
            load(&db, &[1, 100]).await.unwrap();
            assert_eq!(db.runs(), [vec![1, 100], vec![1]]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_value_has_a_jitter_of_its_own() {
        #[cached(ttl = 60, jitter = 60, key = "row:{id}", skip(db), each(id in ids))]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        alone(async {
            let db = Db::default();
            let ids: Vec<u64> = (0..100).collect();
            load(&db, &ids).await.unwrap();
            advance(59 * SECOND).await;
            assert_eq!(load(&db, &ids).peek().await.unwrap().len(), 100);
            advance(31 * SECOND).await;
            let left = load(&db, &ids).peek().await.unwrap().len();
            assert!((10..=90).contains(&left), "{left}");
            advance(31 * SECOND).await;
            assert_eq!(load(&db, &ids).peek().await, Ok(Rows::new()));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_is_not_to_be_stored_is_not_and_others_are() {
        #[cached(ttl = 60, cache_if = |row| row.starts_with('1'), key = "row:{id}", skip(db), each(id in ids))]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        alone(async {
            let db = Db::default();
            assert_eq!(load(&db, &[1, 2]).await, Ok(rows(1, &[1, 2])));
            assert_eq!(load(&db, &[1, 2]).peek().await, Ok(rows(1, &[1])));
            load(&db, &[1, 2]).await.unwrap();
            assert_eq!(db.runs(), [vec![1, 2], vec![2]]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_of_another_version_or_type_is_none_of_the_elements() {
        #[cached(ttl = 60, version = 2, key = "row:{id}", skip(db), each(id in ids))]
        async fn load_later(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        #[cached(ttl = 60, key = "row:{id}", each(id in ids))]
        async fn load_numbers(ids: &[u64]) -> HashMap<u64, u64> {
            ids.iter().map(|id| (*id, *id)).collect()
        }
        alone(async {
            let db = Db::default();
            get_row(&db, 1).await.unwrap();
            assert_eq!(load_later(&db, &[1, 2]).await, Ok(rows(2, &[1, 2])));
            assert_eq!(load_numbers(&[1]).await[&1], 1);
            assert_eq!(load_later(&db, &[2]).await, Ok(rows(2, &[2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn elements_go_with_their_tags() {
        #[cached(
            ttl = 60,
            key = "row:{id}",
            tags("rows", "row-{id}", ("page:{page}", page = id / 10)),
            skip(db),
            each(id in ids),
        )]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        alone(async {
            let db = Db::default();
            let cache = Cache::current();
            let all = [1, 2, 11];
            for (tag, missing) in
                [("page:0", &[1, 2][..]), ("row-2", &[2]), ("rows", &[1, 2, 11]), ("page:1", &[11])]
            {
                load(&db, &all).await.unwrap();
                cache.invalidate_tag(tag).await.unwrap();
                load(&db, &all).await.unwrap();
                assert_eq!(db.runs().last().unwrap(), missing, "{tag}");
            }
            assert_eq!(db.runs().len(), 5);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn memory_keeps_the_elements_as_long_as_it_is_told() {
        #[cached(ttl = 60, local = 5, key = "row:{id}", skip(db), each(id in ids))]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        #[cached(ttl = 60, local = false, key = "row:{id}", skip(db), each(id in ids))]
        async fn load_nowhere(db: &Db, ids: &[u64]) -> Result<Rows, String> {
            db.load(ids).await
        }
        alone(async {
            let db = Db::default();
            load(&db, &[1]).await.unwrap();
            advance(6 * SECOND).await;
            load(&db, &[1]).await.unwrap();
            // Without a tier that is nowhere.
            for _ in 0..2 {
                load_nowhere(&db, &[5]).await.unwrap();
            }
            assert_eq!(db.runs(), [[1], [1], [5], [5]]);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_that_of_the_scope_that_the_call_is_made_in() {
    #[cached(ttl = 60, key = "row:{id}", skip(db), each(id in ids))]
    async fn load(db: Db, ids: Vec<u64>) -> Result<Rows, String> {
        get_row(&db, 9).await?;
        db.load(&ids).await
    }
    async fn stored() -> usize {
        load(Db::default(), vec![1, 9]).peek().await.unwrap().len()
    }
    let (one, two) = (memory().build().unwrap(), memory().build().unwrap());
    let db = Db::default();
    // Wherever it is awaited, and the function runs in the same.
    let on_a_task = one.scope(async { tokio::spawn(load(db.clone(), vec![1])).await });
    assert_eq!(on_a_task.await.unwrap(), Ok(rows(2, &[1])));
    assert_eq!((one.scope(stored()).await, two.scope(stored()).await), (2, 0));
}

mod nested {
    use super::*;

    #[cached(ttl = 60, key = "sum:{upto}", skip(db))]
    async fn sum(db: &Db, upto: u64) -> usize {
        let ids: Vec<u64> = (1..=upto).collect();
        crate::db::load_rows(db, &ids).await.unwrap().values().map(String::len).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_in_a_cached_function() {
        alone(async {
            let db = Db::default();
            let (three, four) = tokio::join!(sum(&db, 3), sum(&db, 4));
            assert_eq!((three, four), (30, 40));
            assert_eq!(db.runs(), [vec![1, 2, 3], vec![4]]);
            assert_eq!(sum(&db, 4).await, 40);
        })
        .await;
    }

    #[cached(ttl = 60, key = "both:{id}", skip(db), each(id in ids))]
    async fn both(db: &Db, ids: &[u64]) -> Rows {
        let mut all = Rows::new();
        for id in ids {
            all.insert(*id, get_row(db, *id).await.unwrap());
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_cached_function_in_the_body_of_a_batch() {
        alone(async {
            let db = Db::default();
            let (one, two) = tokio::join!(both(&db, &[1, 2]), both(&db, &[2, 3]));
            assert_eq!((one.len(), two.len()), (2, 2));
            assert_eq!(db.runs(), [[1], [2], [3]]);
        })
        .await;
    }

    /// A function that a batch calls, and that calls the batch: for the same elements, but not for ever.
    #[cached(ttl = 60, key = "node:{id}", skip(runs))]
    async fn node(runs: &AtomicUsize, id: u64) -> u64 {
        let run = runs.fetch_add(1, SeqCst);
        sleep(MOMENT).await;
        if run > 4 {
            return id;
        }
        Box::pin(nodes(runs, &[id, id + 1])).await.values().sum()
    }

    #[cached(ttl = 60, key = "node:{id}", skip(runs), each(id in ids))]
    async fn nodes(runs: &AtomicUsize, ids: &[u64]) -> HashMap<u64, u64> {
        runs.fetch_add(1, SeqCst);
        sleep(MOMENT).await;
        let mut all = HashMap::new();
        for id in ids {
            all.insert(*id, Box::pin(node(runs, *id)).await);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_wait_for_itself_runs() {
        for _ in 0..2 {
            alone(async {
                let runs = AtomicUsize::new(0);
                let (_, took) = timed(node(&runs, 1)).await;
                assert!(took < SECOND, "{took:?} {runs:?}");
            })
            .await;
            alone(async {
                let runs = AtomicUsize::new(0);
                let (values, took) = timed(nodes(&runs, &[1, 2, 5])).await;
                assert_eq!(values.len(), 3);
                assert!(took < SECOND, "{took:?} {runs:?}");
                assert_eq!(nodes(&runs, &[1, 2, 5]).await, values);
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_would_wait_for_each_other_run() {
        #[cached(ttl = 60, key = "left:{id}", each(id in ids))]
        async fn left(ids: &[u64]) -> HashMap<u64, u64> {
            sleep(MOMENT).await;
            Box::pin(right(ids)).await
        }
        #[cached(ttl = 60, key = "right:{id}", each(id in ids))]
        async fn right(ids: &[u64]) -> HashMap<u64, u64> {
            sleep(MOMENT).await;
            if ids.len() > 1 {
                let mut all = Box::pin(left(&ids[..1])).await;
                all.extend(ids[1..].iter().map(|id| (*id, *id)));
                return all;
            }
            ids.iter().map(|id| (*id, *id)).collect()
        }
        alone(async {
            let ids = [1, 2];
            let both = timed(async { tokio::join!(left(&ids), right(&ids)) });
            let (_, took) = both.await;
            assert!(took < SECOND, "{took:?}");
        })
        .await;
    }
}
