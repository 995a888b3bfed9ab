use std::{collections::HashMap, sync::Arc};

use larder::{cached, invalidates};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::prices::Prices;
use crate::db::{Db, Result};

/// What is sold, without what it costs and how many there are.
#[derive(Debug, Clone, Serialize, Deserialize, FromRow)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) category_id: i64,
    pub(crate) name: String,
    pub(crate) description: String,
    /// One more with each change.
    pub(crate) version: i64,
}

/// All products.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    db: Db,
}

/// So many are on a page of a list.
pub(crate) const PAGE: i64 = 24;

impl Products {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// One of them, if there is.
    #[cached(ttl = "10m", jitter = "10%", none_ttl = 10, key = "product:{id}", skip(self))]
    pub(crate) async fn find(&self, id: i64) -> Result<Option<Arc<Product>>> {
        Ok(self.find_all(&[id]).uncached().await?.remove(&id))
    }

    /// Those of a list: the same entries.
    #[cached(
        ttl = "10m",
        jitter = "10%",
        none_ttl = 10,
        key = "product:{id}",
        each(id in ids),
        skip(self)
    )]
    pub(crate) async fn find_all(&self, ids: &[i64]) -> Result<HashMap<i64, Arc<Product>>> {
        let select =
            "SELECT id, category_id, name, description, version FROM products WHERE id IN ($ids)";
        let products: Vec<Product> = self.db.read_of(select, ids).await?;
        Ok(products.into_iter().map(|product| (product.id, Arc::new(product))).collect())
    }

    /// The products of a page of a category, by name.
    ///
    /// A list has the ids alone: what changes in a product changes its own entry, and no list. The tag is what drops
    /// all pages of a category at once, however many there are. There is no key `products:all`, which would be one
    /// large value that every change invalidates for everybody.
    #[cached(
        ttl = "5m",
        jitter = "10%",
        key = "category:{category}:products:{page}",
        tags("category:{category}"),
        skip(self)
    )]
    pub(crate) async fn page(&self, category: i64, page: i64) -> Result<Arc<Vec<i64>>> {
        let select = "SELECT id FROM products WHERE category_id = $1
            ORDER BY name, id LIMIT $2 OFFSET $3";
        let query = sqlx::query_scalar(select).bind(category).bind(PAGE).bind(page * PAGE);
        Ok(Arc::new(query.fetch_all(self.db.read()).await?))
    }

    /// What those who bought it bought with it, most often first.
    ///
    /// A query over all orders, and nobody minds if it is an hour old. So it is refreshed before it expires, by one
    /// in the fleet and without its caller, and the more its run takes the earlier.
    #[cached(
        ttl = "10m",
        jitter = "10%",
        stale = "1h",
        refresh_early,
        key = "product:{id}:bought-with",
        skip(self)
    )]
    pub(crate) async fn bought_with(self, id: i64) -> Result<Arc<Vec<i64>>> {
        let select = "SELECT other.product_id
            FROM order_lines AS mine JOIN order_lines AS other ON other.order_id = mine.order_id
            WHERE mine.product_id = $1 AND other.product_id <> $1
            GROUP BY other.product_id ORDER BY COUNT(*) DESC, other.product_id LIMIT 6";
        Ok(Arc::new(sqlx::query_scalar(select).bind(id).fetch_all(self.db.read()).await?))
    }

    /// Gives it another name. The lists of its category are by name, and searches find it by that.
    pub(crate) async fn rename(&self, id: i64, name: &str) -> Result<Option<Product>> {
        // A product stays in its category, so this may come from the cache.
        let Some(product) = self.find(id).await? else { return Ok(None) };
        self.rename_in(product.category_id, id, name).await
    }

    #[invalidates(self.find(id), tag("category:{category}"), hold = "5s", on = "always")]
    async fn rename_in(&self, category: i64, id: i64, name: &str) -> Result<Option<Product>> {
        let update = "UPDATE products SET name = $1, version = version + 1
            WHERE id = $2 AND category_id = $3
            RETURNING id, category_id, name, description, version";
        let query = sqlx::query_as(update).bind(name).bind(id).bind(category);
        Ok(query.fetch_optional(self.db.write()).await?)
    }

    /// Adds one, with its price and how many there are.
    ///
    /// Which id it gets, is known when it is stored; somebody may have asked for that before, and then it is
    /// remembered that there is none. What is known only from the result has no hold: if this process dies between the
    /// COMMIT and the invalidation, lists are without the product until they expire. The number beside the name of
    /// the category is reference data, and may be an hour old.
    #[invalidates(
        |product| self.find(product.id),
        |product| Prices::new(&self.db).find(product.id),
        tag("category:{category}")
    )]
    pub(crate) async fn add(
        &self,
        category: i64,
        name: &str,
        cents: i64,
        quantity: i64,
    ) -> Result<Product> {
        let mut tx = self.db.begin().await?;
        let insert = "INSERT INTO products (category_id, name, description) VALUES ($1, $2, '')
            RETURNING id, category_id, name, description, version";
        let query = sqlx::query_as(insert).bind(category).bind(name);
        let product: Product = query.fetch_one(&mut *tx).await?;
        let insert = "INSERT INTO prices (product_id, cents) VALUES ($1, $2)";
        sqlx::query(insert).bind(product.id).bind(cents).execute(&mut *tx).await?;
        let insert = "INSERT INTO stock (product_id, quantity) VALUES ($1, $2)";
        sqlx::query(insert).bind(product.id).bind(quantity).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(product)
    }
}
