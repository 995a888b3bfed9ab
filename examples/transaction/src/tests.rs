//! On SQLite, and on PostgreSQL where it is installed.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use example_servers::Postgres;
use larder::Cache;
use sqlx::AnyPool;

use crate::{
    bank::{self, Transfer, balance, transfer},
    sqlite::Sqlite,
};

/// Each in a cache of its own.
async fn on_each(test: impl AsyncFn(&AnyPool)) {
    let sqlite = Sqlite::open().await.unwrap();
    on(&sqlite.pool, &test).await;
    if Postgres::is_installed() {
        let postgres = Postgres::start(&["fsync=off"]).unwrap();
        on(&bank::connect(&postgres.url()).await.unwrap(), &test).await;
    }
}

async fn on(pool: &AnyPool, test: impl AsyncFn(&AnyPool)) {
    bank::open(pool).await.unwrap();
    Cache::memory().scope(test(pool)).await;
}

#[tokio::test]
async fn a_transfer_leaves_no_old_balance_to_those_who_read_meanwhile() {
    on_each(async |pool| {
        for moved in 1..=20 {
            let reads = async {
                for _ in 0..10 {
                    balance(pool, 1).await.unwrap();
                    balance(pool, 2).await.unwrap();
                }
            };
            let (moving, ()) = tokio::join!(transfer(pool, 1, 2, 1), reads);
            moving.unwrap();
            assert_eq!(cached(pool).await, (100 - moved, moved));
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_read_during_a_transfer_is_not_stored() {
    on_each(async |pool| {
        let transfer = Transfer::begin(pool, 1, 2, 30).await.unwrap();
        assert_eq!(cached(pool).await, (100, 0));
        assert!(balance(pool, 1).peek().await.is_none());
        transfer.commit().await.unwrap();
        assert_eq!(cached(pool).await, (70, 30));
        assert!(balance(pool, 1).peek().await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_is_dropped_leaves_no_old_balance_wherever_it_was() {
    on_each(async |pool| {
        for polls in 1.. {
            cached(pool).await;
            let done = hung_up(polls, transfer(pool, 1, 2, 1)).await;
            settled(pool).await;
            assert_eq!(cached(pool).await, stored(pool).await, "dropped after {polls} polls");
            if let Some(outcome) = done {
                return outcome.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_is_dropped_leaves_none_to_those_who_read_before_its_commit() {
    on_each(async |pool| {
        for _ in 0..30 {
            let transfer = Transfer::begin(pool, 1, 2, 1).await.unwrap();
            hung_up(1, transfer.commit()).await.unwrap_or(Ok(())).unwrap();
            cached(pool).await;
            settled(pool).await;
            assert_eq!(cached(pool).await, stored(pool).await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_transfer_that_fails_moves_nothing() {
    on_each(async |pool| {
        for (to, cents) in [(2, 101), (404, 1)] {
            transfer(pool, 1, to, cents).await.unwrap_err();
            assert_eq!(cached(pool).await, (100, 0));
            assert_eq!(stored(pool).await, (100, 0));
        }
    })
    .await;
}

async fn cached(pool: &AnyPool) -> (i64, i64) {
    (balance(pool, 1).await.unwrap(), balance(pool, 2).await.unwrap())
}

/// What the database says.
async fn stored(pool: &AnyPool) -> (i64, i64) {
    (balance(pool, 1).uncached().await.unwrap(), balance(pool, 2).uncached().await.unwrap())
}

/// Waits for the COMMIT or the rollback that is on its way, as it has the rows.
async fn settled(pool: &AnyPool) {
    let update = "UPDATE larder_accounts SET cents = cents";
    sqlx::query(update).execute(pool).await.unwrap();
}

/// The future is dropped when it has been polled so often.
async fn hung_up<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
