use std::sync::Arc;

use larder::cached;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::db::{Db, Result};

/// A department of the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, FromRow)]
pub(crate) struct Category {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) products: i64,
}

/// Reference data: it changes by a release of the shop, and is on every page.
#[derive(Debug, Clone)]
pub(crate) struct Categories {
    db: Db,
}

impl Categories {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// All of them, with how many products each has.
    ///
    /// Kept for an hour. For a day more it is served as it was, while one caller in the fleet asks the database;
    /// and for a week if that does not answer: a page with an old number is better than none. The receiver is
    /// owned, so that the refresh goes on without the caller, who has the old answer by then.
    ///
    /// An `Arc`: a hit is a count of references, and not a copy of the list.
    #[cached(
        ttl = "1h",
        jitter = "10%",
        stale = "1d",
        stale_if_error = "7d",
        key = "categories",
        skip(self)
    )]
    pub(crate) async fn all(self) -> Result<Arc<Vec<Category>>> {
        let select = "SELECT categories.id, categories.name, COUNT(products.id) AS products
            FROM categories LEFT JOIN products ON products.category_id = categories.id
            GROUP BY categories.id, categories.name ORDER BY categories.name";
        Ok(Arc::new(sqlx::query_as(select).fetch_all(self.db.read()).await?))
    }
}
