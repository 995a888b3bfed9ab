//! The database: PostgreSQL, or SQLite where there is none. What is in it is counted nowhere else.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::counter;
use sqlx::{
    Any, AnyPool, FromRow, Transaction,
    any::{AnyPoolOptions, AnyRow, install_default_drivers},
    error::DatabaseError,
    migrate::Migrator,
    query::QueryAs,
};

/// The same tables: each database has its own way to number rows.
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections, and how many queries went through them.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pool: AnyPool,
    reads: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

/// What the database said. Those who wait for one read get the same error: see "How errors are shared" in
/// larder's README.
#[derive(Debug, Clone)]
pub(crate) struct DbError(Arc<sqlx::Error>);

/// The outcome of a query.
pub(crate) type Result<T, E = DbError> = std::result::Result<T, E>;

impl Db {
    /// Connects, and brings the tables up to date.
    pub(crate) async fn connect(url: &str, connections: u32) -> anyhow::Result<Self> {
        install_default_drivers();
        let pool = AnyPoolOptions::new().max_connections(connections).connect(url).await?;
        if url.starts_with("sqlite") {
            // So that who writes and those who read do not wait for each other.
            sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await?;
            SQLITE.run(&pool).await?;
        } else {
            POSTGRES.run(&pool).await?;
        }
        Ok(Self { pool, reads: Arc::default(), writes: Arc::default() })
    }

    /// For one query that reads.
    pub(crate) fn read(&self) -> &AnyPool {
        self.reads.fetch_add(1, Relaxed);
        counter!("storefront_queries_total", "kind" => "read").increment(1);
        &self.pool
    }

    /// The rows of a query that has `$ids` where these are to be: neither database takes a list for a parameter.
    pub(crate) async fn read_of<T>(&self, select: &str, ids: &[i64]) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        let numbers = (1..=ids.len()).map(|number| format!("${number}")).collect::<Vec<_>>();
        let select = select.replace("$ids", &numbers.join(", "));
        let query = ids.iter().fold(sqlx::query_as(&select), QueryAs::bind);
        Ok(query.fetch_all(self.read()).await?)
    }

    /// For a change that is one statement: a transaction by itself.
    pub(crate) fn write(&self) -> &AnyPool {
        self.writes.fetch_add(1, Relaxed);
        counter!("storefront_queries_total", "kind" => "write").increment(1);
        &self.pool
    }

    /// For a change of several. Dropped, it is rolled back.
    ///
    /// On a task of its own: a BEGIN that is dropped before its answer leaves a transaction that sqlx 0.8 does not know
    /// of, and who drops this may be a lock that was lost.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>> {
        let pool = self.write().clone();
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        Ok(begun.unwrap_or(Err(sqlx::Error::WorkerCrashed))?)
    }

    /// How many queries have read, and how many transactions have written.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.reads.load(Relaxed), self.writes.load(Relaxed))
    }

    /// When nobody uses it any more.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

impl DbError {
    /// Whether it refused a row that belongs to one that there is not.
    pub(crate) fn is_about_what_there_is_not(&self) -> bool {
        self.0.as_database_error().is_some_and(DatabaseError::is_foreign_key_violation)
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database")
    }
}

impl std::error::Error for DbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
