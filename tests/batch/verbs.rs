//! The call as the handle of the entries of all its elements.

use larder::{Cache, Error, Source, cached, invalidates};
use tokio::time::{advance, sleep, timeout};

use crate::db::{
    Act::{Fail, Slow},
    Db, END, MOMENT, RUN, Rows, SECOND, alone, get_row, load_rows, row, rows, rows_of, started_row,
    timed,
};

#[cached(ttl = 60, none_ttl = 5, key = "row:{id}", skip(db), each(id in ids))]
async fn load_with_none(db: &Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

#[tokio::test(start_paused = true)]
async fn the_keys_are_what_a_cache_takes() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1, 2]).await.unwrap();
        let keys = load_rows(&db, &[2, 1, 2]).keys();
        assert_eq!(keys, ["row:2", "row:1"]);
        Cache::current().invalidate(&keys[0]).await.unwrap();
        assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(rows(1, &[1])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peek_runs_nothing() {
    alone(async {
        let db = Db::default();
        assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(Rows::new()));
        load_with_none(&db, &[1, END]).await.unwrap();
        // What is known to be missing is missing too.
        assert_eq!(load_with_none(&db, &[1, 2, END]).peek().await, Ok(rows(1, &[1])));
        assert_eq!(db.runs().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_runs_for_all_and_replaces_them() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1]).await.unwrap();
        assert_eq!(load_rows(&db, &[2, 1]).refresh().await, Ok(rows(2, &[2, 1])));
        assert_eq!(db.runs(), [vec![1], vec![2, 1]]);
        assert_eq!(load_rows(&db, &[1, 2]).await, Ok(rows(2, &[1, 2])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_waits_for_no_run_that_began_before() {
    alone(async {
        let db = Db::acting(&[Slow(3 * RUN)]);
        let older = started_row(&db, 1).await;
        assert_eq!(timed(load_rows(&db, &[1, 2]).refresh()).await, (Ok(rows(2, &[1, 2])), RUN));
        assert_eq!(older.await.unwrap(), Ok(row(1, 1)));
        // Which stores nothing any more.
        assert_eq!(load_rows(&db, &[1]).await, Ok(rows(2, &[1])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn others_wait_for_a_refresh_of_what_they_miss() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1]).await.unwrap();
        let (refreshed, hit, missed) = tokio::join!(
            load_rows(&db, &[1, 2]).refresh(),
            timed(load_rows(&db, &[1])),
            timed(load_rows(&db, &[1, 2])),
        );
        assert_eq!(refreshed, Ok(rows(2, &[1, 2])));
        assert_eq!((hit.0, hit.1), (Ok(rows(1, &[1])), std::time::Duration::ZERO));
        assert_eq!(missed, (Ok(rows_of(&[(1, &[1]), (2, &[2])])), RUN));
        assert_eq!(db.runs().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_what_is_stored() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1, 2]).await.unwrap();
        db.act(&[Fail]);
        assert_eq!(load_rows(&db, &[1, 2]).refresh().await, Err("run 2".to_owned()));
        assert_eq!(load_rows(&db, &[1, 2]).await, Ok(rows(1, &[1, 2])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_the_cache_the_function_runs_for_all_and_stores_nothing() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1]).await.unwrap();
        assert_eq!(load_rows(&db, &[1, 2, 1]).uncached().await, Ok(rows(2, &[1, 2])));
        assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(rows(1, &[1])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn all_elements_are_invalidated() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1, 2, 3]).await.unwrap();
        load_rows(&db, &[1, 3, 9]).invalidate().await.unwrap();
        assert_eq!(load_rows(&db, &[1, 2, 3]).peek().await, Ok(rows(1, &[2])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_put_is_stored_for_each_element() {
    alone(async {
        let db = Db::default();
        load_with_none(&db, &[1, 2, END]).await.unwrap();
        let put: Rows = rows_of(&[(7, &[1, 5]), (8, &[3])]);
        load_rows(&db, &[1, 2, 3]).put(Ok(put)).await.unwrap();
        assert_eq!(get_row(&db, 1).await, Ok(row(7, 1)));
        assert_eq!(get_row(&db, 3).await, Ok(row(8, 3)));
        // What it lacks is gone, and what is none of the elements is not stored.
        assert_eq!(load_rows(&db, &[2, 5]).peek().await, Ok(Rows::new()));
        // With `none_ttl` it is known to be missing.
        load_with_none(&db, &[2]).put(Ok(Rows::new())).await.unwrap();
        assert_eq!(load_with_none(&db, &[2]).await, Ok(Rows::new()));
        assert_eq!(db.runs().len(), 1);
        load_rows(&db, &[1, 3]).put(Err("no".to_owned())).await.unwrap();
        assert_eq!(load_rows(&db, &[1, 3]).peek().await, Ok(Rows::new()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_under_way_stores_nothing_of_what_was_put() {
    alone(async {
        let db = Db::default();
        let older = crate::db::started_rows(&db, &[1, 2]).await;
        load_rows(&db, &[1]).put(Ok(rows(7, &[1]))).await.unwrap();
        older.await.unwrap().unwrap();
        assert_eq!(load_rows(&db, &[1, 2]).await, Ok(rows_of(&[(7, &[1]), (1, &[2])])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_each_element_it_is_said_where_it_came_from() {
    alone(async {
        let db = Db::default();
        load_rows(&db, &[1]).await.unwrap();
        advance(5 * SECOND).await;
        let other = started_row(&db, 2).await;
        let ((_, sources), _) = timed(load_rows(&db, &[3, 2, 1, 3]).with_sources()).await;
        let memory = Source::Memory { age: 5 * SECOND + RUN + MOMENT };
        assert_eq!(sources, [Source::Function, Source::Shared, memory]);
        other.await.unwrap().unwrap();
        db.act(&[Fail]);
        let (output, sources) = load_rows(&db, &[1, 8]).with_sources().await;
        assert_eq!((output, sources.len()), (Err("run 4".to_owned()), 2));
    })
    .await;
}

mod targets {
    use super::*;

    #[invalidates(load_rows(db, ids))]
    async fn change(db: &Db, ids: &[u64], fails: bool) -> Result<(), String> {
        sleep(RUN).await;
        if fails { Err("no".to_owned()) } else { Ok(()) }
    }

    #[invalidates(load_rows(db, ids), get_row(db, 9), hold = "5s")]
    async fn change_held(db: &Db, ids: &[u64]) {
        sleep(RUN).await;
    }

    #[invalidates(|ids| load_rows(db, ids))]
    async fn change_some(db: &Db) -> Vec<u64> {
        let _ = db;
        vec![1, 3]
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_what_a_function_may_invalidate() {
        alone(async {
            let db = Db::default();
            load_rows(&db, &[1, 2, 3]).await.unwrap();
            change(&db, &[1, 3], true).await.unwrap_err();
            assert_eq!(load_rows(&db, &[1, 2, 3]).peek().await, Ok(rows(1, &[1, 2, 3])));
            change(&db, &[1, 3], false).await.unwrap();
            assert_eq!(load_rows(&db, &[1, 2, 3]).peek().await, Ok(rows(1, &[2])));
            load_rows(&db, &[1, 3]).await.unwrap();
            change_some(&db).await;
            assert_eq!(load_rows(&db, &[1, 2, 3]).peek().await, Ok(rows(1, &[2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_dropped_has_taken_place_for_all_that_is_known() {
        alone(async {
            let db = Db::default();
            load_rows(&db, &[1, 2]).await.unwrap();
            assert!(timeout(MOMENT, change(&db, &[1, 2], false)).await.is_err());
            assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(Rows::new()));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_batch_is_held_none_of_it_is_stored() {
        alone(async {
            let db = Db::default();
            let ((), read) = tokio::join!(change_held(&db, &[1, 2]), async {
                sleep(MOMENT).await;
                let read = load_rows(&db, &[1, 2, 3, 9]).await;
                (read, load_rows(&db, &[1, 2, 3, 9]).peek().await)
            });
            assert_eq!(read, (Ok(rows(1, &[1, 2, 3, 9])), Ok(rows(1, &[3]))));
            // It is over.
            load_rows(&db, &[1, 2]).await.unwrap();
            assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(rows(2, &[1, 2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_may_be_loaded_by_a_function_that_invalidates() {
        #[cached(ttl = 60, key = "copy:{id}", skip(db), each(id in ids))]
        #[invalidates(get_row(db, ids[0]))]
        async fn copies(db: &Db, ids: &[u64]) -> Result<Rows, Error> {
            Ok(db.load(ids).await.unwrap())
        }
        alone(async {
            let db = Db::default();
            load_rows(&db, &[1, 2]).await.unwrap();
            copies(&db, &[1, 2]).await.unwrap();
            copies(&db, &[1, 2]).await.unwrap();
            assert_eq!(load_rows(&db, &[1, 2]).peek().await, Ok(rows(1, &[2])));
            assert_eq!(db.runs().len(), 2);
        })
        .await;
    }
}
