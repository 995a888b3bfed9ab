use std::{fmt, sync::LazyLock};

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use larder::{RateLimited, cached, invalidates, rate_limited};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use tokio::task::spawn_blocking;

use super::seed;
use crate::db::{Db, DbError, Result};

/// The profile of somebody who buys. Without the hash of the password, which is in no cache.
#[derive(Debug, Clone, Serialize, Deserialize, FromRow)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) name: String,
    /// One more with each change.
    pub(crate) version: i64,
}

/// All customers.
#[derive(Debug, Clone)]
pub(crate) struct Customers {
    db: Db,
}

/// What is compared for an address that nobody has.
static NOBODYS: LazyLock<String> = LazyLock::new(|| seed::hash().unwrap_or_default());

/// Why nobody was logged in.
#[derive(Debug)]
pub(crate) enum LoginError {
    /// There is no such customer, or the password is another: which of the two is nobody's business.
    Wrong,
    /// Too many attempts.
    Limited(RateLimited),
    /// The database.
    Db(DbError),
}

impl Customers {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// A profile. Short, for there are many and each is asked for while its customer is here.
    #[cached(ttl = 30, jitter = "10%", none_ttl = 5, key = "customer:{id}", skip(self))]
    pub(crate) async fn find(&self, id: i64) -> Result<Option<Customer>> {
        let select = "SELECT id, email, name, version FROM customers WHERE id = $1";
        Ok(sqlx::query_as(select).bind(id).fetch_optional(self.db.read()).await?)
    }

    /// Gives somebody another name. Without a hold, which is one command more: if this process dies between the COMMIT
    /// and the invalidation, the old name is there for the rest of its 30 seconds, and nobody loses by it.
    #[invalidates(self.find(id), on = "always")]
    pub(crate) async fn rename(&self, id: i64, name: &str) -> Result<Option<Customer>> {
        let update = "UPDATE customers SET name = $1, version = version + 1 WHERE id = $2
            RETURNING id, email, name, version";
        let query = sqlx::query_as(update).bind(name).bind(id);
        Ok(query.fetch_optional(self.db.write()).await?)
    }

    /// Checks a password. Five attempts a minute for each address, whichever instance they go to; while Redis is
    /// away, for each instance.
    #[rate_limited(limit = 5, per = "1m", key = ("login:{email}", email = email.to_lowercase()))]
    pub(crate) async fn log_in(
        &self,
        email: &str,
        password: String,
    ) -> Result<Customer, LoginError> {
        let select = "SELECT id, password_hash FROM customers WHERE email = $1";
        let query = sqlx::query_as(select).bind(email.to_lowercase());
        let found: Option<(i64, String)> = query.fetch_optional(self.db.read()).await?;
        let (id, hash) = found.unzip();
        // A tenth of a second of work, also for an address that nobody has: how long it takes tells nothing.
        let is_right = spawn_blocking(move || {
            let hash = hash.as_ref().unwrap_or(&NOBODYS);
            PasswordHash::new(hash).is_ok_and(|hash| {
                Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
            })
        });
        let is_right = is_right.await.unwrap_or(false);
        let id = id.filter(|_| is_right).ok_or(LoginError::Wrong)?;
        self.find(id).await?.ok_or(LoginError::Wrong)
    }
}

impl From<sqlx::Error> for LoginError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

impl From<DbError> for LoginError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<RateLimited> for LoginError {
    fn from(denial: RateLimited) -> Self {
        Self::Limited(denial)
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong => f.write_str("the address or the password is wrong"),
            Self::Limited(denial) => write!(f, "too many attempts: {denial}"),
            Self::Db(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Wrong => None,
            Self::Limited(denial) => Some(denial),
            Self::Db(error) => Some(error),
        }
    }
}
