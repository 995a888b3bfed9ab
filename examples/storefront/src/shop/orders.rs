use std::{collections::HashMap, sync::Arc};

use larder::cached;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::db::{Db, Result};

/// What was bought. It never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) lines: Vec<Line>,
}

/// So many of a product, at what one cost.
#[derive(Debug, Clone, Serialize, Deserialize, FromRow)]
pub(crate) struct Line {
    pub(crate) product_id: i64,
    pub(crate) quantity: i64,
    pub(crate) cents: i64,
}

/// A line, and what it is in.
#[derive(FromRow)]
struct Row {
    order_id: i64,
    #[sqlx(flatten)]
    line: Line,
}

/// All orders.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(super) db: Db,
}

/// So many are listed.
const LATEST: i64 = 10;

impl Orders {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// The ids of a customer's latest ones, newest first. A checkout invalidates them.
    #[cached(ttl = "1m", jitter = "10%", key = "customer:{customer}:orders", skip(self))]
    pub(crate) async fn latest(&self, customer: i64) -> Result<Arc<Vec<i64>>> {
        let select = "SELECT id FROM orders WHERE customer_id = $1 ORDER BY id DESC LIMIT $2";
        let query = sqlx::query_scalar(select).bind(customer).bind(LATEST);
        Ok(Arc::new(query.fetch_all(self.db.read()).await?))
    }

    /// What is in each. Kept for long, as nothing changes it; a list that has one more asks for that one.
    #[cached(ttl = "1h", jitter = "10%", key = "order:{id}", each(id in ids), skip(self))]
    pub(crate) async fn find_all(&self, ids: &[i64]) -> Result<HashMap<i64, Arc<Order>>> {
        let select = "SELECT order_id, product_id, quantity, cents FROM order_lines
             WHERE order_id IN ($ids) ORDER BY order_id, product_id";
        let rows: Vec<Row> = self.db.read_of(select, ids).await?;
        let mut lines = HashMap::<i64, Vec<Line>>::new();
        for Row { order_id, line } in rows {
            lines.entry(order_id).or_default().push(line);
        }
        Ok(lines.into_iter().map(|(id, lines)| (id, Arc::new(Order { id, lines }))).collect())
    }
}
