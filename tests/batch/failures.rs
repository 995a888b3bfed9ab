//! Runs that fail, panic or are cancelled: what becomes of the elements, and of those who wait for one.

use std::{fmt, pin::pin};

use larder::{Cache, Shared, cached};
use tokio::{task::JoinHandle, time::timeout};

use crate::db::{
    Act::{self, Answer, Fail, Panic},
    Db, MOMENT, RUN, Rows, SECOND, alone, get_row, load_rows, memory, row, rows, rows_of,
    started_row, started_rows, timed,
};

/// Of a task that has panicked.
async fn panicked<T: fmt::Debug>(task: JoinHandle<T>) -> bool {
    task.await.unwrap_err().is_panic()
}

async fn stored(ids: &[u64]) -> Rows {
    load_rows(&Db::default(), ids).peek().await.unwrap()
}

mod errors {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_error_fails_the_call_and_stores_nothing() {
        alone(async {
            let db = Db::acting(&[Answer, Fail]);
            load_rows(&db, &[1]).await.unwrap();
            assert_eq!(load_rows(&db, &[1, 2, 3]).await, Err("run 2".to_owned()));
            assert_eq!(stored(&[1, 2, 3]).await, rows(1, &[1]));
            let read = load_rows(&db, &[1, 2, 3]).await;
            assert_eq!(read, Ok(rows_of(&[(1, &[1]), (3, &[2, 3])])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_one_element_gets_the_error() {
        alone(async {
            let db = Db::acting(&[Fail]);
            let (batch, one, two) =
                tokio::join!(load_rows(&db, &[1, 2]), get_row(&db, 1), get_row(&db, 2));
            let error = || "run 1".to_owned();
            assert_eq!((batch, one, two), (Err(error()), Err(error()), Err(error())));
            assert_eq!(db.runs(), [[1, 2]]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_one_that_was_waited_for_fails_the_call() {
        alone(async {
            let db = Db::acting(&[Fail]);
            let (one, batch) = tokio::join!(get_row(&db, 1), load_rows(&db, &[1, 2]));
            assert_eq!((one, batch), (Err("run 1".to_owned()), Err("run 1".to_owned())));
            // What else was missing was loaded.
            assert_eq!(db.runs(), [[1], [2]]);
            assert_eq!(stored(&[1, 2]).await, rows(2, &[2]));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_all_elements_of_another_batch_gets_its_error() {
        alone(async {
            let db = Db::acting(&[Fail]);
            let (one, other) = tokio::join!(load_rows(&db, &[1, 2, 3]), load_rows(&db, &[3, 2]));
            assert_eq!((one, other), (Err("run 1".to_owned()), Err("run 1".to_owned())));
            assert_eq!(db.runs(), [[1, 2, 3]]);
        })
        .await;
    }

    /// An error that cannot be shared.
    #[derive(Debug, PartialEq)]
    struct Bare(String);

    mod bare {
        use super::*;

        #[cached(ttl = 60, key = "row:{id}", skip(db), each(id in ids))]
        pub(super) async fn load(db: &Db, ids: &[u64]) -> Result<Rows, Bare> {
            db.load(ids).await.map_err(Bare)
        }

        #[cached(ttl = 60, key = "row:{id}", skip(db))]
        pub(super) async fn get(db: &Db, id: u64) -> Result<String, Bare> {
            Ok(db.load_one(id).await.map_err(Bare)?.unwrap_or_default())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_an_error_cannot_be_shared_whoever_waits_runs_for_himself() {
        alone(async {
            let db = Db::acting(&[Fail]);
            let (batch, one, other, two) = tokio::join!(
                bare::load(&db, &[1, 2]),
                timed(bare::get(&db, 1)),
                timed(bare::load(&db, &[1, 3])),
                timed(bare::get(&db, 2)),
            );
            assert_eq!(batch, Err(Bare("run 1".to_owned())));
            // All at once, after the one that they waited for.
            assert_eq!([one.1, other.1, two.1], [2 * RUN; 3]);
            assert!(one.0.is_ok() && two.0.is_ok());
            let mut runs = db.runs();
            runs.sort();
            assert_eq!(runs, [vec![1], vec![1, 2], vec![1, 3], vec![2]]);
            assert_eq!(other.0.unwrap().len(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_runs_for_what_another_could_not_share() {
        alone(async {
            let db = Db::acting(&[Fail]);
            let (one, batch) = tokio::join!(bare::get(&db, 1), bare::load(&db, &[1, 2]));
            assert_eq!(one, Err(Bare("run 1".to_owned())));
            assert_eq!(batch, Ok(rows(2, &[1, 2])));
            assert_eq!(db.runs(), [vec![1], vec![1, 2]]);
        })
        .await;
    }

    #[derive(Debug, PartialEq)]
    enum FromShared {
        Own(String),
        Others(String),
    }

    impl From<Shared> for FromShared {
        fn from(shared: Shared) -> Self {
            Self::Others(shared.to_string())
        }
    }

    impl fmt::Display for FromShared {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (Self::Own(text) | Self::Others(text)) = self;
            f.write_str(text)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_shared_as_its_text() {
        #[cached(ttl = 60, key = "row:{id}", skip(db), each(id in ids))]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, FromShared> {
            db.load(ids).await.map_err(FromShared::Own)
        }
        #[cached(ttl = 60, key = "row:{id}", skip(db))]
        async fn get(db: &Db, id: u64) -> Result<String, FromShared> {
            Ok(db.load_one(id).await.map_err(FromShared::Own)?.unwrap_or_default())
        }
        alone(async {
            let db = Db::acting(&[Fail, Fail]);
            let (batch, one, other) =
                tokio::join!(load(&db, &[1, 2]), get(&db, 1), load(&db, &[2]));
            let others = || FromShared::Others("run 1".to_owned());
            assert_eq!(batch, Err(FromShared::Own("run 1".to_owned())));
            assert_eq!((one, other), (Err(others()), Err(others())));
            let (one, batch) = tokio::join!(get(&db, 1), load(&db, &[1]));
            assert_eq!(one, Err(FromShared::Own("run 2".to_owned())));
            assert_eq!(batch, Err(FromShared::Others("run 2".to_owned())));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_shared_as_the_attribute_says() {
        #[cached(
            ttl = 60,
            key = "row:{id}",
            share_error = |error: &Bare| Bare(format!("{} of another", error.0)),
            skip(db),
            each(id in ids),
        )]
        async fn load(db: &Db, ids: &[u64]) -> Result<Rows, Bare> {
            db.load(ids).await.map_err(Bare)
        }
        alone(async {
            let db = Db::acting(&[Fail]);
            let (batch, one, two) =
                tokio::join!(load(&db, &[1, 2]), load(&db, &[1]), load(&db, &[2]));
            assert_eq!(batch, Err(Bare("run 1".to_owned())));
            let shared = || Bare("run 1 of another".to_owned());
            assert_eq!((one, two), (Err(shared()), Err(shared())));
            assert_eq!(db.runs(), [[1, 2]]);
        })
        .await;
    }
}

mod panics {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_goes_on_where_the_batch_was_called() {
        alone(async {
            let db = Db::acting(&[Panic]);
            let call = started_rows(&db, &[1, 2]).await;
            let panic = call.await.unwrap_err().into_panic();
            assert_eq!(panic.downcast_ref(), Some(&"as the test says"));
            assert_eq!(stored(&[1, 2]).await, Rows::new());
            assert_eq!(load_rows(&db, &[1, 2]).await, Ok(rows(2, &[1, 2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_takes_over_his_element_of_a_run_that_panics() {
        alone(async {
            let db = Db::acting(&[Panic]);
            let batch = started_rows(&db, &[1, 2, 3]).await;
            let one = started_row(&db, 1).await;
            let others = started_rows(&db, &[2, 3, 4]).await;
            let (too, two) = (started_row(&db, 1).await, started_row(&db, 2).await);
            assert!(panicked(batch).await);
            let one = one.await.unwrap().unwrap();
            assert_eq!(too.await.unwrap().as_ref(), Ok(&one));
            let others = others.await.unwrap().unwrap();
            assert_eq!(two.await.unwrap().as_ref(), Ok(&others[&2]));
            assert_eq!(others.len(), 3);
            let mut loaded = db.runs()[1..].concat();
            loaded.sort_unstable();
            assert_eq!(loaded, [1, 2, 3, 4]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_takes_over_from_one_that_panics() {
        alone(async {
            let db = Db::acting(&[Panic]);
            let one = started_row(&db, 1).await;
            let batch = started_rows(&db, &[1, 2]).await;
            assert!(panicked(one).await);
            assert_eq!(batch.await.unwrap(), Ok(rows(2, &[1, 2])));
            assert_eq!(db.runs(), [vec![1], vec![1, 2]]);
        })
        .await;
    }
}

mod cancelled {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_takes_over_his_element_of_a_run_that_is_cancelled() {
        alone(async {
            let db = Db::default();
            let batch = started_rows(&db, &[1, 2, 3]).await;
            let singles = [started_row(&db, 1).await, started_row(&db, 3).await];
            batch.abort();
            for (single, id) in singles.into_iter().zip([1, 3]) {
                let (read, took) = timed(single).await;
                assert!(read.unwrap().unwrap().starts_with(&id.to_string()));
                assert!(took <= RUN);
            }
            assert_eq!(db.runs(), [vec![1, 2, 3], vec![1], vec![3]]);
            // Nobody waited for it.
            assert_eq!(load_rows(&db, &[2]).await, Ok(rows(4, &[2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_takes_over_all_that_it_waited_for() {
        alone(async {
            let db = Db::default();
            let first = started_rows(&db, &[1, 2, 3]).await;
            let second = started_rows(&db, &[2, 3, 4]).await;
            first.abort();
            assert_eq!(second.await.unwrap(), Ok(rows(2, &[2, 3, 4])));
            assert_eq!(db.runs(), [[1, 2, 3], [2, 3, 4]]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_batches_the_one_takes_over_that_does_not_wait_for_the_other() {
        alone(async {
            let db = Db::default();
            let first = started_rows(&db, &[1]).await;
            let mut second = pin!(load_rows(&db, &[9, 1]));
            assert!(timeout(MOMENT, &mut second).await.is_err());
            let mut third = pin!(load_rows(&db, &[1, 9]));
            assert!(timeout(MOMENT, &mut third).await.is_err());
            // It waits for the second, which waits for what it could take over before it.
            first.abort();
            let ((third, second), took) =
                timed(async { tokio::join!(biased; third, second) }).await;
            assert_eq!((third, second), (Ok(rows(2, &[1, 9])), Ok(rows(2, &[1, 9]))));
            assert!(took <= 2 * RUN, "{took:?}");
            assert_eq!(db.runs(), [vec![1], vec![9, 1]]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_run_it_leaves_nothing_behind() {
        alone(async {
            let db = Db::default();
            let single = started_row(&db, 1).await;
            let batch = started_rows(&db, &[1, 2]).await;
            let waiting = started_row(&db, 2).await;
            batch.abort();
            let (read, took) = timed(waiting).await;
            assert_eq!(read.unwrap(), Ok(row(2, 2)));
            assert!(took <= 2 * RUN);
            assert_eq!(single.await.unwrap(), Ok(row(1, 1)));
            assert_eq!(db.runs(), [[1], [2]]);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_switched_off_runs_the_function_for_all() {
    let cache = memory().enabled(false).build().unwrap();
    cache
        .scope(async {
            let db = Db::default();
            for run in 1..3 {
                assert_eq!(load_rows(&db, &[1, 2, 1]).await, Ok(rows(run, &[1, 2])));
            }
            let (_, sources) = load_rows(&db, &[1, 2]).with_sources().await;
            assert_eq!(sources, [larder::Source::Disabled; 2]);
            assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(Rows::new()));
            let failing = Db::acting(&[Act::Fail]);
            assert_eq!(load_rows(&failing, &[1]).await, Err("run 1".to_owned()));
            load_rows(&db, &[1]).put(Ok(rows(7, &[1]))).await.unwrap();
            Cache::current().set_enabled(true);
            assert_eq!(load_rows(&db, &[1]).await, Ok(rows(4, &[1])));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_another_ends_with_a_lease() {
    alone(async {
        let db = Db::acting(&[Act::Slow(3600 * SECOND)]);
        let stuck = started_row(&db, 1).await;
        let (read, took) = timed(load_rows(&db, &[1, 2])).await;
        assert_eq!(read, Ok(rows(2, &[1, 2])));
        assert!(took <= 11 * SECOND, "{took:?}");
        stuck.abort();
    })
    .await;
}
