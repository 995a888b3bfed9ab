//! A database and a Redis for a shop. All shops of a process share a PostgreSQL, in which each has a database; a Redis
//! is each one's own, so that a test may do with it what it likes.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use example_servers::{Folder, Postgres, Redis};
use sqlx::{AnyConnection, Connection as _, any::install_default_drivers};
use tokio::{sync::Mutex, task::spawn_blocking};

pub(crate) struct Backends {
    pub(crate) database_url: String,
    pub(crate) redis: Option<Redis>,
    _folder: Option<Folder>,
    _postgres: Option<Arc<Postgres>>,
}

impl Backends {
    /// A file of SQLite, and no Redis.
    pub(crate) fn none() -> Self {
        let folder = Folder::new("storefront-test").unwrap();
        let database_url = format!("sqlite://{}?mode=rwc", folder.path().join("shop.db").display());
        Self { database_url, redis: None, _folder: Some(folder), _postgres: None }
    }

    pub(crate) async fn servers() -> Self {
        let postgres = postgres().await;
        let redis = spawn_blocking(|| Redis::start().unwrap()).await.unwrap();
        let database_url = create_database(&postgres).await;
        Self { database_url, redis: Some(redis), _folder: None, _postgres: Some(postgres) }
    }

    /// Empty if there is none.
    pub(crate) fn redis_url(&self) -> String {
        self.redis.as_ref().map(Redis::url).unwrap_or_default()
    }
}

/// That of all tests of this process, which ends with the last of those that run.
async fn postgres() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(postgres) = shared.upgrade() {
        return postgres;
    }
    let settings = ["fsync=off", "max_connections=500"];
    let postgres =
        Arc::new(spawn_blocking(move || Postgres::start(&settings)).await.unwrap().unwrap());
    *shared = Arc::downgrade(&postgres);
    postgres
}

async fn create_database(postgres: &Postgres) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("shop_{}", NEXT.fetch_add(1, Relaxed));
    install_default_drivers();
    let mut connection = AnyConnection::connect(&postgres.url()).await.unwrap();
    // Without what it copies from: two at once would have to wait for each other there.
    let create = format!("CREATE DATABASE {name} TEMPLATE template0");
    sqlx::query(&create).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    postgres.url().replace("/postgres?", &format!("/{name}?"))
}
