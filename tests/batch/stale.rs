//! Elements that are old, or about to be: who waits, and how often the function runs.

use std::time::Duration;

use larder::{Cache, Source, cached};
use tokio::time::{advance, sleep};

use crate::db::{
    Act::{self, Fail, Panic, Slow},
    Db, MOMENT, RUN, Rows, SECOND, alone, load_rows, memory, row, rows, rows_of, started, timed,
};

#[cached(ttl = 60, stale = 30, key = "row:{id}", skip(db), each(id in ids))]
async fn load_owned(db: Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

#[cached(ttl = 60, stale = 30, key = "row:{id}", skip(db), each(id in ids))]
async fn load_borrowed(db: &Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

#[cached(ttl = 60, stale_if_error = 600, key = "row:{id}", skip(db), each(id in ids))]
async fn load_safely(db: &Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

#[cached(
    ttl = 60,
    stale = 30,
    stale_if_error = 600,
    max_wait = "50ms",
    key = "row:{id}",
    skip(db),
    each(id in ids),
)]
async fn load_bounded(db: Db, ids: &[u64]) -> Result<Rows, String> {
    db.load(ids).await
}

/// With one row in memory that is so old, and its run counted.
async fn with_old(ids: &[u64], age: u32) -> Db {
    let db = Db::default();
    load_owned(db.clone(), ids).await.unwrap();
    advance(age * SECOND).await;
    db
}

fn are_stale(sources: &[Source]) -> bool {
    sources.iter().all(|source| matches!(source, Source::Stale { .. }))
}

#[tokio::test(start_paused = true)]
async fn old_elements_are_served_at_once_and_refreshed_in_one_run_without_the_caller() {
    alone(async {
        let db = with_old(&[1, 2, 3], 61).await;
        let ((output, sources), took) = timed(load_owned(db.clone(), &[3, 1]).with_sources()).await;
        assert_eq!((output, took), (Ok(rows(1, &[3, 1])), Duration::ZERO));
        assert!(are_stale(&sources), "{sources:?}");
        // Others get them too, and nobody runs the function again.
        assert_eq!(timed(load_owned(db.clone(), &[1])).await, (Ok(rows(1, &[1])), Duration::ZERO));
        sleep(2 * RUN).await;
        assert_eq!(db.runs()[1..], [[3, 1]]);
        let read = timed(load_owned(db.clone(), &[1, 3])).await;
        assert_eq!(read, (Ok(rows(2, &[1, 3])), Duration::ZERO));
        let stats = Cache::current().stats();
        let row = stats.function("load_owned").unwrap();
        assert_eq!((row.stale_served, row.background_runs), (3, 2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn old_elements_are_refreshed_in_the_run_that_loads_the_missing_ones() {
    alone(async {
        let db = with_old(&[1], 61).await;
        let ((output, sources), took) = timed(load_owned(db.clone(), &[1, 2]).with_sources()).await;
        assert_eq!((output, took), (Ok(rows_of(&[(1, &[1]), (2, &[2])])), RUN));
        assert!(matches!(sources[..], [Source::Stale { .. }, Source::Function]), "{sources:?}");
        sleep(MOMENT).await;
        assert_eq!(load_owned(db.clone(), &[1, 2]).await, Ok(rows(2, &[1, 2])));
        assert_eq!(db.runs()[1..], [[1, 2]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_borrowed_arguments_the_one_who_refreshes_waits_and_others_do_not() {
    alone(async {
        let db = with_old(&[1], 61).await;
        let (elected, other) = tokio::join!(
            timed(load_borrowed(&db, &[1, 2]).with_sources()),
            timed(load_borrowed(&db, &[1]).with_sources()),
        );
        let of_run = vec![Source::Function; 2];
        assert_eq!(elected, ((Ok(rows(2, &[1, 2])), of_run), RUN));
        assert_eq!((other.0.0, other.1), (Ok(rows(1, &[1])), Duration::ZERO));
        assert!(are_stale(&other.0.1));
        assert_eq!(db.runs()[1..], [[1, 2]]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn past_their_stale_time_elements_are_waited_for() {
    alone(async {
        let db = with_old(&[1], 91).await;
        assert_eq!(timed(load_owned(db.clone(), &[1])).await, (Ok(rows(2, &[1])), RUN));
        let db = with_old(&[5], 91).await;
        assert_eq!(timed(load_borrowed(&db, &[5])).await, (Ok(rows(2, &[5])), RUN));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_refresh_in_the_background_is_one_of_those_that_may_be_under_way() {
    let cache = memory().background_runs(1).build().unwrap();
    cache
        .scope(async {
            let db = with_old(&[1, 2, 3, 4, 5], 61).await;
            let read = timed(load_owned(db.clone(), &[1, 2, 3])).await;
            assert_eq!(read, (Ok(rows(1, &[1, 2, 3])), Duration::ZERO));
            // There is no second one.
            let (read, took) = timed(load_owned(db.clone(), &[4, 5])).await;
            assert_eq!((read.unwrap().len(), took), (2, RUN));
            assert_eq!(db.runs().len(), 3);
            // The first is over.
            sleep(MOMENT).await;
            advance(61 * SECOND).await;
            let (_, took) = timed(load_owned(db.clone(), &[4, 5])).await;
            assert_eq!(took, Duration::ZERO);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_has_ended_and_is_kept_keeps_nobody_from_refreshing() {
    let cache = memory().background_runs(1).build().unwrap();
    cache
        .scope(async {
            let db = with_old(&[1, 2], 61).await;
            let mut batch = Box::pin(load_owned(db.clone(), &[1]));
            assert_eq!(batch.as_mut().await, Ok(rows(1, &[1])));
            sleep(2 * RUN).await;
            let read = timed(load_owned(db.clone(), &[2])).await;
            assert_eq!(read, (Ok(rows(1, &[2])), Duration::ZERO));
            drop(batch);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_may_run_on_the_caller_waits() {
    let cache = memory().background_runs(0).build().unwrap();
    cache
        .scope(async {
            let db = with_old(&[1, 2], 61).await;
            let read = timed(load_owned(db.clone(), &[1, 2])).await;
            assert_eq!(read, (Ok(rows(2, &[1, 2])), RUN));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_is_refreshed() {
    alone(async {
        let db = with_old(&[1, 2], 61).await;
        load_owned(db.clone(), &[1, 2]).await.unwrap();
        let (shut_down, took) = timed(Cache::current().shutdown()).await;
        assert!(shut_down.is_ok() && took == RUN, "{took:?}");
        assert_eq!(load_owned(db.clone(), &[1, 2]).await, Ok(rows(2, &[1, 2])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_runs_in_the_scope_of_its_call() {
    #[cached(ttl = 60, key = "inner", skip(run))]
    async fn inner(run: usize) -> usize {
        run
    }
    #[cached(ttl = 60, stale = 30, key = "row:{id}", skip(db), each(id in ids))]
    async fn load(db: Db, ids: &[u64]) -> Rows {
        inner(db.runs().len()).await;
        db.load(ids).await.unwrap()
    }
    alone(async {
        let db = Db::default();
        load(db.clone(), &[1]).await;
        advance(61 * SECOND).await;
        load(db.clone(), &[1]).await;
        sleep(2 * RUN).await;
        assert_eq!(inner(0).peek().await, Some(1));
    })
    .await;
}

mod failing {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn where_all_have_an_old_value_it_is_served_after_an_error() {
        alone(async {
            let db = with_old(&[1, 2], 300).await;
            db.act(&[Fail]);
            let ((output, sources), took) = timed(load_safely(&db, &[1, 2]).with_sources()).await;
            assert_eq!((output, took), (Ok(rows(1, &[1, 2])), RUN));
            assert!(are_stale(&sources), "{sources:?}");
            // For a while nobody tries again.
            let read = timed(load_safely(&db, &[2, 1])).await;
            assert_eq!(read, (Ok(rows(1, &[1, 2])), Duration::ZERO));
            sleep(10 * SECOND).await;
            assert_eq!(load_safely(&db, &[1, 2]).await, Ok(rows(3, &[1, 2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_has_none_the_call_fails_and_nobody_tries_again_for_the_others() {
        alone(async {
            let db = with_old(&[1, 2], 300).await;
            db.act(&[Fail]);
            assert_eq!(load_safely(&db, &[1, 2, 3]).await, Err("run 2".to_owned()));
            let read = timed(load_safely(&db, &[1, 2])).await;
            assert_eq!(read, (Ok(rows(1, &[1, 2])), Duration::ZERO));
            assert_eq!(db.runs().len(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_have_an_old_value_it_is_served_after_a_panic() {
        alone(async {
            let db = with_old(&[1, 2], 300).await;
            db.act(&[Panic]);
            let ((output, sources), took) = timed(load_safely(&db, &[1, 2]).with_sources()).await;
            assert_eq!((output, took), (Ok(rows(1, &[1, 2])), RUN));
            assert!(are_stale(&sources), "{sources:?}");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_has_none_the_panic_goes_on() {
        alone(async {
            let db = with_old(&[1], 300).await;
            db.act(&[Panic]);
            let of_task = db.clone();
            let call = started(async move { load_safely(&of_task, &[1, 2]).await }).await;
            assert!(call.await.unwrap_err().is_panic());
            // For the other it has failed.
            let read = timed(load_safely(&db, &[1])).await;
            assert_eq!(read, (Ok(rows(1, &[1])), Duration::ZERO));
        })
        .await;
    }

    /// What becomes of old and missing elements whose run ends like that.
    async fn after_a_refresh_with_missing_ones(act: Act) {
        alone(async {
            let db = with_old(&[1], 61).await;
            db.act(&[act]);
            let of_task = db.clone();
            let call = started(async move { load_bounded(of_task, &[1, 2]).await }).await;
            match call.await {
                Ok(read) => assert_eq!(read, Err("run 2".to_owned())),
                Err(error) => assert!(error.is_panic() && act == Panic),
            }
            sleep(MOMENT).await;
            // Nobody tries again for a while where there is an old value.
            let read = timed(load_bounded(db.clone(), &[1])).await;
            assert_eq!(read, (Ok(rows(1, &[1])), Duration::ZERO));
            sleep(SECOND).await;
            assert_eq!(db.runs().len(), 2);
            sleep(10 * SECOND).await;
            load_bounded(db.clone(), &[1]).await.unwrap();
            sleep(2 * RUN).await;
            assert_eq!(load_bounded(db.clone(), &[1]).await, Ok(rows(3, &[1])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_in_the_run_of_missing_ones_is_one_of_the_refresh_too() {
        after_a_refresh_with_missing_ones(Fail).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_the_run_of_missing_ones_is_one_of_the_refresh_too() {
        after_a_refresh_with_missing_ones(Panic).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_fails_in_the_background_leaves_the_old_values() {
        alone(async {
            for act in [Fail, Panic] {
                let db = with_old(&[1, 2], 61).await;
                db.act(&[act]);
                load_owned(db.clone(), &[1, 2]).await.unwrap();
                sleep(2 * RUN).await;
                let read = timed(load_owned(db.clone(), &[1, 2])).await;
                assert_eq!(read, (Ok(rows(1, &[1, 2])), Duration::ZERO));
                sleep(2 * RUN).await;
                assert_eq!(db.runs().len(), 2);
                Cache::current().clear().await.unwrap();
            }
        })
        .await;
    }
}

mod bounded {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_no_longer_than_it_says_where_there_are_old_values() {
        alone(async {
            for age in [61, 300] {
                let db = with_old(&[1, 2], age).await;
                let ((output, sources), took) =
                    timed(load_bounded(db.clone(), &[1, 2]).with_sources()).await;
                assert_eq!((output, took), (Ok(rows(1, &[1, 2])), RUN / 2));
                assert!(are_stale(&sources), "{sources:?}");
                // The run goes on.
                sleep(RUN).await;
                let read = timed(load_bounded(db.clone(), &[1, 2])).await;
                assert_eq!(read, (Ok(rows(2, &[1, 2])), Duration::ZERO));
                Cache::current().clear().await.unwrap();
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_by_then_is_the_new_value() {
        alone(async {
            let db = with_old(&[1, 2], 61).await;
            db.act(&[Slow(RUN / 4)]);
            let (output, took) = timed(load_bounded(db.clone(), &[1, 2])).await;
            assert_eq!((output, took), (Ok(rows(2, &[1, 2])), RUN / 4));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn for_a_missing_element_all_of_the_run_is_waited_for() {
        alone(async {
            let db = with_old(&[1], 61).await;
            let (output, took) = timed(load_bounded(db.clone(), &[1, 2])).await;
            assert_eq!((output, took), (Ok(rows_of(&[(1, &[1]), (2, &[2])])), RUN));
            sleep(MOMENT).await;
            assert_eq!(load_bounded(db.clone(), &[1]).await, Ok(rows(2, &[1])));
            assert_eq!(db.runs().len(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_wait_for_each_other_load_an_element_twice_at_most() {
        alone(async {
            let db = with_old(&[1], 300).await;
            // The second waits for what the first refreshes, and the first for what the second loads.
            let (first, second) = tokio::join!(
                timed(load_bounded(db.clone(), &[1, 2])),
                timed(load_rows(&db, &[3, 1])),
            );
            assert_eq!(first.0.unwrap().len(), 2);
            assert_eq!(second.0.unwrap().len(), 2);
            assert!(
                first.1.max(second.1) <= 2 * RUN,
                "{first:?} {second:?}",
                first = first.1,
                second = second.1
            );
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_outlives_its_caller_while_that_waits() {
        alone(async {
            let db = with_old(&[1, 2], 300).await;
            let of_task = db.clone();
            let call = started(async move { load_bounded(of_task, &[1, 2]).await }).await;
            call.abort();
            sleep(2 * RUN).await;
            let read = timed(load_bounded(db.clone(), &[1, 2])).await;
            assert_eq!(read, (Ok(rows(2, &[1, 2])), Duration::ZERO));
        })
        .await;
    }
}

mod early {
    use super::*;

    #[cached(ttl = 60, refresh_early, key = "row:{id}", skip(db), each(id in ids))]
    async fn load_early(db: Db, ids: &[u64]) -> Result<Rows, String> {
        db.load(ids).await
    }

    #[tokio::test(start_paused = true)]
    async fn elements_are_refreshed_before_their_lives_end_and_served_meanwhile() {
        alone(async {
            let db = Db::acting(&[Slow(10 * SECOND)]);
            load_early(db.clone(), &[1, 2]).await.unwrap();
            sleep(29 * SECOND / 2).await;
            for _ in 0..1000 {
                load_early(db.clone(), &[1, 2]).await.unwrap();
            }
            // Not in the first half.
            assert_eq!(db.runs().len(), 1);
            sleep(45 * SECOND).await;
            for _ in 0..1000 {
                let (read, took) = timed(load_early(db.clone(), &[1, 2])).await;
                assert_eq!((read, took), (Ok(rows(1, &[1, 2])), Duration::ZERO));
            }
            sleep(SECOND).await;
            assert_eq!(load_early(db.clone(), &[1, 2]).await.unwrap().len(), 2);
            let mut refreshed = db.runs()[1..].concat();
            refreshed.sort_unstable();
            assert_eq!(refreshed, [1, 2]);
        })
        .await;
    }
}

mod changed {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_invalidated_while_it_is_refreshed_is_not_stored_and_others_are() {
        alone(async {
            let db = with_old(&[1, 2], 61).await;
            load_owned(db.clone(), &[1, 2]).await.unwrap();
            sleep(MOMENT).await;
            load_owned(db.clone(), &[1]).invalidate().await.unwrap();
            sleep(2 * RUN).await;
            assert_eq!(load_owned(db.clone(), &[1, 2]).peek().await, Ok(rows(2, &[2])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_invalidated_while_it_is_loaded_is_not_stored_and_others_are() {
        alone(async {
            let db = Db::default();
            let of_task = db.clone();
            let call = started(async move { load_rows(&of_task, &[1, 2]).await }).await;
            load_rows(&db, &[1]).invalidate().await.unwrap();
            // Who comes now does not wait for it.
            let (read, took) = timed(load_rows(&db, &[1])).await;
            assert_eq!((read, took), (Ok(rows(2, &[1])), RUN));
            assert_eq!(call.await.unwrap(), Ok(rows(1, &[1, 2])));
            let stored = load_rows(&db, &[1, 2]).peek().await;
            assert_eq!(stored, Ok(rows_of(&[(1, &[2]), (2, &[1])])));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_value_that_the_run_has_none_for_is_removed() {
        alone(async {
            #[cached(ttl = 60, stale = 30, key = "row:{id}", skip(db), each(id in ids))]
            async fn load_first(db: &Db, ids: &[u64]) -> Rows {
                db.load(&ids[..1]).await.unwrap()
            }
            let db = with_old(&[1, 2], 61).await;
            assert_eq!(load_first(&db, &[1, 2]).await, rows(2, &[1]));
            assert_eq!(load_first(&db, &[1, 2]).peek().await, rows(2, &[1]));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_call_waits_for_the_refresh_of_a_batch() {
        #[cached(ttl = 60, key = "row:{id}", skip(db))]
        async fn get_fresh(db: &Db, id: u64) -> Result<String, String> {
            Ok(db.load_one(id).await?.unwrap_or_default())
        }
        alone(async {
            let db = with_old(&[1, 2], 61).await;
            load_owned(db.clone(), &[1, 2]).await.unwrap();
            assert_eq!(timed(get_fresh(&db, 2)).await, (Ok(row(2, 2)), RUN));
        })
        .await;
    }
}
