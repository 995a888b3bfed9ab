use crate::db::{Db, Result};

/// How many there are of each product.
///
/// Nothing here is cached. A number that is a second old sells what is not there; and what sells, the checkout,
/// changes it, so that an entry would seldom be read before it is invalidated. It is one look-up by the
/// primary key, and a page asks for it where a customer is about to buy, not where ten thousand look.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    db: Db,
}

impl Stock {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// Of a product, at this moment.
    pub(crate) async fn of(&self, product: i64) -> Result<Option<i64>> {
        let select = "SELECT quantity FROM stock WHERE product_id = $1";
        Ok(sqlx::query_scalar(select).bind(product).fetch_optional(self.db.read()).await?)
    }
}
