use std::collections::HashMap;

use larder::{cached, invalidates};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::db::{Db, Result};

/// What a product costs, as a page shows it. What a customer pays is read in the transaction of the checkout.
#[derive(Debug, Clone, Serialize, Deserialize, FromRow)]
pub(crate) struct Price {
    pub(crate) product_id: i64,
    pub(crate) cents: i64,
    /// One more with each change.
    pub(crate) version: i64,
}

/// The prices of all products.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    db: Db,
}

impl Prices {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// That of a product, if there is one.
    #[cached(ttl = "5m", jitter = "10%", none_ttl = 10, key = "price:{product}", skip(self))]
    pub(crate) async fn find(&self, product: i64) -> Result<Option<Price>> {
        Ok(self.find_all(&[product]).uncached().await?.remove(&product))
    }

    /// Those of a list: the same entries, one command for what memory does not have, and one query for what Redis
    /// does not have either.
    #[cached(
        ttl = "5m",
        jitter = "10%",
        none_ttl = 10,
        key = "price:{product}",
        each(product in products),
        skip(self)
    )]
    pub(crate) async fn find_all(&self, products: &[i64]) -> Result<HashMap<i64, Price>> {
        let select = "SELECT product_id, cents, version FROM prices WHERE product_id IN ($ids)";
        let prices: Vec<Price> = self.db.read_of(select, products).await?;
        Ok(prices.into_iter().map(|price| (price.product_id, price)).collect())
    }

    /// Says what it is from now on.
    ///
    /// The entry is deleted and not written: of two changes at once the later one could be overtaken by the
    /// earlier, and the cache would have what the database has no more. The hold keeps readers from storing what
    /// they read before the COMMIT, also if this process dies on the way. `always`: an error may mean that the
    /// COMMIT took place and its answer was lost.
    #[invalidates(self.find(product), hold = "5s", on = "always")]
    pub(crate) async fn set(&self, product: i64, cents: i64) -> Result<Option<Price>> {
        let update = "UPDATE prices SET cents = $1, version = version + 1 WHERE product_id = $2
            RETURNING product_id, cents, version";
        let query = sqlx::query_as(update).bind(cents).bind(product);
        Ok(query.fetch_optional(self.db.write()).await?)
    }
}
