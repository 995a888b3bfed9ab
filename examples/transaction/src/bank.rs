//! What an application would have: accounts, and transfers between them.

use std::time::Duration;

use anyhow::ensure;
use larder::{Cache, Invalidation, cached};
use sqlx::{Any, AnyPool, Transaction, any::AnyPoolOptions};

/// Of an account, in cents.
///
/// Callers that wait for one read get its error as text, for `anyhow::Error` can be made of one. See
/// "How errors are shared" in the README.
#[cached(ttl = 60, key = "balance:{account}", skip(pool))]
pub(crate) async fn balance(pool: &AnyPool, account: i64) -> anyhow::Result<i64> {
    let select = sqlx::query_scalar("SELECT cents FROM larder_accounts WHERE id = $1");
    Ok(select.bind(account).fetch_one(pool).await?)
}

/// A transfer that is not committed yet. Dropped, it is rolled back.
pub(crate) struct Transfer {
    tx: Transaction<'static, Any>,
    invalidation: Invalidation,
}

impl Transfer {
    pub(crate) async fn begin(
        pool: &AnyPool,
        from: i64,
        to: i64,
        cents: i64,
    ) -> anyhow::Result<Self> {
        // From here on nobody stores these balances, until the transfer is over: a reader in the
        // middle sees what was committed before, and must not leave it in the cache. If this
        // process dies on the way, that ends by itself after five seconds.
        //
        // An error says that Redis cannot be asked for that. Nothing has happened yet, so the
        // transfer can be refused.
        let invalidation = Cache::current()
            .invalidation()
            .entry(balance(pool, from))
            .entry(balance(pool, to))
            .hold(Duration::from_secs(5))
            .await?;

        let tx = pool.begin().await?;
        let mut transfer = Self { tx, invalidation };
        if let Err(error) = transfer.update(from, to, cents).await {
            transfer.roll_back().await?;
            return Err(error);
        }
        Ok(transfer)
    }

    async fn update(&mut self, from: i64, to: i64, cents: i64) -> anyhow::Result<()> {
        let tx = &mut self.tx;
        let update = "UPDATE larder_accounts SET cents = cents - $1 WHERE id = $2 AND cents >= $1";
        let updated = sqlx::query(update).bind(cents).bind(from).execute(&mut **tx).await?;
        ensure!(updated.rows_affected() == 1, "account {from} does not have {cents} cents");
        let update = "UPDATE larder_accounts SET cents = cents + $1 WHERE id = $2";
        sqlx::query(update).bind(cents).bind(to).execute(&mut **tx).await?;
        let insert = "INSERT INTO larder_transfers VALUES ($1, $2, $3)";
        sqlx::query(insert).bind(from).bind(to).bind(cents).execute(&mut **tx).await?;
        Ok(())
    }

    /// Nothing has changed. To say so ends the hold; to drop it would leave the hold to its five
    /// seconds, for then nobody knows whether a COMMIT was on its way.
    pub(crate) async fn roll_back(self) -> anyhow::Result<()> {
        self.tx.rollback().await?;
        Ok(self.invalidation.complete().await?)
    }

    pub(crate) async fn commit(self) -> anyhow::Result<()> {
        // An error may mean that the COMMIT took place and its answer was lost. Then the invalidation
        // is dropped, and nothing is stored for as long as the hold lasts.
        self.tx.commit().await?;
        // The money has moved, and nobody should try again. What Redis did not take is repeated in
        // the background; until then this process does not serve it.
        if let Err(error) = self.invalidation.complete().await {
            eprintln!("the transfer is committed, but {error}");
        }
        Ok(())
    }
}

/// Moves money, and is done when it is committed.
pub(crate) async fn transfer(pool: &AnyPool, from: i64, to: i64, cents: i64) -> anyhow::Result<()> {
    Transfer::begin(pool, from, to, cents).await?.commit().await
}

/// Connections of one of the databases.
pub(crate) async fn connect(url: &str) -> sqlx::Result<AnyPool> {
    sqlx::any::install_default_drivers();
    // A BEGIN that is dropped before its answer leaves a transaction that sqlx 0.8 does not know of,
    // and it would keep its rows for ever.
    let rolled_back = AnyPoolOptions::new().after_release(|connection, _| {
        Box::pin(async move {
            // Where there is none, SQLite says so.
            let _ = sqlx::query("ROLLBACK").execute(connection).await;
            Ok(true)
        })
    });
    rolled_back.connect(url).await
}

/// Account 1 with 100 cents, and account 2 with none.
pub(crate) async fn open(pool: &AnyPool) -> anyhow::Result<()> {
    close(pool).await?;
    for statement in [
        "CREATE TABLE larder_accounts (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL)",
        // Whether there is such an account is looked at by the COMMIT.
        "CREATE TABLE larder_transfers (
            payer BIGINT NOT NULL REFERENCES larder_accounts (id),
            payee BIGINT NOT NULL REFERENCES larder_accounts (id) DEFERRABLE INITIALLY DEFERRED,
            cents BIGINT NOT NULL
        )",
        "INSERT INTO larder_accounts VALUES (1, 100), (2, 0)",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

/// Leaves nothing behind in a database that is not the example's own.
pub(crate) async fn close(pool: &AnyPool) -> anyhow::Result<()> {
    for table in ["larder_transfers", "larder_accounts"] {
        sqlx::query(&format!("DROP TABLE IF EXISTS {table}")).execute(pool).await?;
    }
    Ok(())
}
