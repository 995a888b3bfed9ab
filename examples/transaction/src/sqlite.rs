//! SQLite, in a file of the example's own.

use example_servers::Folder;
use sqlx::AnyPool;

use crate::bank;

/// The file goes with it.
pub(crate) struct Sqlite {
    pub(crate) pool: AnyPool,
    _folder: Folder,
}

impl Sqlite {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let folder = Folder::new("sqlite")?;
        let file = folder.path().join("bank.db");
        let pool = bank::connect(&format!("sqlite://{}?mode=rwc", file.display())).await?;
        // So that a transaction that writes and those who read do not wait for each other.
        sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await?;
        Ok(Self { pool, _folder: folder })
    }
}
