//! Money moves between two accounts in a transaction, and their balances are cached.
//!
//! ```sh
//! cargo run --package example-transaction            # on SQLite
//! cargo run --package example-transaction postgres   # on PostgreSQL
//! cargo test --package example-transaction
//! ```
//!
//! What an application would have is in `bank.rs`. PostgreSQL is that of `DATABASE_URL`, else one
//! that is started for the example, if it is installed. The cache is in memory; with a Redis in
//! `LARDER_URL` it is there, too.

mod bank;
mod scenes;
mod sqlite;
#[cfg(test)]
mod tests;

use std::{env, time::Duration};

use example_servers::Postgres;
use larder::Cache;
use sqlite::Sqlite;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut cache = Cache::builder("bank");
    if let Ok(url) = env::var("LARDER_URL") {
        cache = cache.redis(url).redis_budget(Duration::from_secs(2));
    }
    let cache = cache.build()?;
    cache.clear().await?;
    cache.install()?;

    match env::args().nth(1).as_deref() {
        None | Some("sqlite") => scenes::play(&Sqlite::open().await?.pool).await,
        Some("postgres") => on_postgres().await,
        Some(other) => anyhow::bail!("it runs on `sqlite` or on `postgres`, not on `{other}`"),
    }
}

async fn on_postgres() -> anyhow::Result<()> {
    if let Ok(url) = env::var("DATABASE_URL") {
        return scenes::play(&bank::connect(&url).await?).await;
    }
    match Postgres::start(&["fsync=off"]) {
        Ok(postgres) => scenes::play(&bank::connect(&postgres.url()).await?).await,
        Err(problem) => {
            println!("not on PostgreSQL: {problem:#}");
            Ok(())
        }
    }
}
