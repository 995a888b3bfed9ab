//! What is in the cache while money moves, and when that fails.

use std::time::Duration;

use larder::Cache;
use sqlx::AnyPool;
use tokio::time::sleep;

use crate::bank::{self, Transfer, balance, transfer};

pub(crate) async fn play(pool: &AnyPool) -> anyhow::Result<()> {
    bank::open(pool).await?;
    let outcome = play_all(pool).await;
    bank::close(pool).await?;
    outcome
}

async fn play_all(pool: &AnyPool) -> anyhow::Result<()> {
    title("A transfer");
    show(pool, "the first read").await?;
    show(pool, "the next one").await?;
    transfer(pool, 1, 2, 30).await?;
    show(pool, "30 cents are transferred").await?;
    show(pool, "the next read").await?;

    title("A reader in the middle");
    let other = Transfer::begin(pool, 1, 2, 10).await?;
    show(pool, "10 more, not committed yet").await?;
    let stored = balance(pool, 1).peek().await.transpose()?;
    println!("{:32} {stored:?}", "... and of that is stored");
    other.commit().await?;
    show(pool, "committed").await?;

    title("A rollback");
    let other = Transfer::begin(pool, 1, 2, 10).await?;
    other.roll_back().await?;
    show(pool, "10 more, but rolled back").await?;
    show(pool, "the next read").await?;

    title("A client that hangs up while its handler commits");
    let other = Transfer::begin(pool, 1, 2, 10).await?;
    tokio::select! {
        biased;
        committed = other.commit() => committed?,
        // The COMMIT is on its way, and the handler is dropped.
        () = async {} => {}
    }
    // Until the hold has ended by itself, nobody stores what may be from before the COMMIT.
    // What the database says, past the cache.
    while balance(pool, 1).uncached().await? != 50 {
        sleep(Duration::from_millis(1)).await;
    }
    show(pool, "the COMMIT took place").await?;
    show(pool, "the next read, under the hold").await?;

    title("A COMMIT that fails");
    let failed = transfer(pool, 1, 404, 10).await;
    println!("to an account that is not there: {}", text(failed));
    show(pool, "so nothing has moved").await?;

    title("Redis is away, and so there is no hold");
    let away = Cache::builder("bank").redis("redis://127.0.0.1:1").build()?;
    let refused = away.scope(transfer(pool, 1, 2, 10)).await;
    println!("the transfer did not begin: {}", text(refused));
    show(pool, "so nothing has moved").await?;
    Ok(())
}

async fn show(pool: &AnyPool, when: &str) -> anyhow::Result<()> {
    let (cents, source) = balance(pool, 1).with_source().await;
    println!("{when:32} balance(1) is {}, {source:?}", cents?);
    Ok(())
}

fn text(outcome: anyhow::Result<()>) -> String {
    outcome.map_or_else(|error| format!("{error}"), |()| "it did".to_owned())
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
