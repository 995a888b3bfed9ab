//! SQLite, in a file of the example's own.

use std::{
    env, fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

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
        let file = folder.0.join("bank.db");
        let pool = bank::connect(&format!("sqlite://{}?mode=rwc", file.display())).await?;
        // So that a transaction that writes and those who read do not wait for each other.
        sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await?;
        Ok(Self { pool, _folder: folder })
    }
}

/// A folder in that of temporary files, which is deleted at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = env::temp_dir().join(format!("larder-{name}-{process}-{number}"));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
