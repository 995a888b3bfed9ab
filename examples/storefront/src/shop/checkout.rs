//! Where money moves. Nothing that it goes by comes from a cache.

use std::fmt;

use larder::{LockError, fence, invalidates, locked};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};

use super::orders::Orders;
use crate::db::{DbError, Result};

/// What a customer is about to buy.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Basket {
    /// Made by the client, once for each basket: sent twice, it is one order.
    pub(crate) id: String,
    pub(crate) lines: Vec<Wanted>,
    /// What the customer was shown. If it costs something else by now, there is no order.
    pub(crate) cents: Option<i64>,
}

/// So many of a product.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) product: i64,
    pub(crate) quantity: i64,
}

/// What was ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) order: i64,
    pub(crate) cents: i64,
}

/// Why there is no order.
#[derive(Debug)]
pub(crate) enum CheckoutError {
    /// There is nothing in the basket, a quantity that is none, or something twice; or it has no id.
    Basket,
    /// There is no such customer.
    Customer,
    /// There is no such product, or not enough of it.
    SoldOut { product: i64 },
    /// It costs this by now.
    OtherPrice { cents: i64 },
    /// Another checkout of the customer took too long, or this one lost the lock.
    Lock(LockError),
    /// The database.
    Db(DbError),
}

impl Orders {
    /// Buys a basket.
    ///
    /// Without Redis there is no lock of the fleet, and after the second that it is waited for it goes without: it is
    /// the database that sees to it that nothing is sold twice, see `pass`.
    pub(crate) async fn check_out(
        &self,
        customer: i64,
        basket: Basket,
    ) -> Result<Receipt, CheckoutError> {
        match self.check_out_in_turn(customer, basket.clone()).await {
            Err(CheckoutError::Lock(LockError::Unavailable { .. })) => {
                self.buy(customer, basket).await
            }
            outcome => outcome,
        }
    }

    /// One at a time for each customer in the whole fleet, so that two clicks do not take two connections to the
    /// database, of which one waits for the other.
    #[locked(key = "checkout:{customer}", wait = "1s")]
    async fn check_out_in_turn(
        &self,
        customer: i64,
        basket: Basket,
    ) -> Result<Receipt, CheckoutError> {
        self.buy(customer, basket).await
    }

    /// It invalidates the customer's list of orders. The prices, the stock and the old orders are what they were
    /// for a reader of the cache: none of them is cached, or none has changed.
    #[invalidates(self.latest(customer), hold = "5s", on = "always")]
    async fn buy(&self, customer: i64, mut basket: Basket) -> Result<Receipt, CheckoutError> {
        basket.check()?;
        let mut tx = self.db.begin().await?;
        // First, as it takes the row: the rest is done by one at a time, whether or not there is a lock.
        pass(&mut tx, customer).await?;
        let Some(order) = open(&mut tx, customer, &basket.id).await? else {
            return earlier(&mut tx, customer, &basket.id).await;
        };
        let mut cents = 0;
        for line in &basket.lines {
            cents += take(&mut tx, order, line).await?;
        }
        if basket.cents.is_some_and(|shown| shown != cents) {
            return Err(CheckoutError::OtherPrice { cents });
        }
        let update = "UPDATE orders SET cents = $1 WHERE id = $2";
        sqlx::query(update).bind(cents).bind(order).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Receipt { order, cents })
    }
}

impl Basket {
    /// Brings the lines into one order, so that two checkouts never wait for each other in a circle.
    fn check(&mut self) -> Result<(), CheckoutError> {
        self.lines.sort_by_key(|line| line.product);
        let is_twice = self.lines.windows(2).any(|pair| pair[0].product == pair[1].product);
        let is_countable = self.lines.iter().all(|line| (1..=100).contains(&line.quantity));
        let has_id = (1..=100).contains(&self.id.len()) && !self.id.contains('\0');
        let is_basket =
            has_id && (1..=100).contains(&self.lines.len()) && !is_twice && is_countable;
        if is_basket { Ok(()) } else { Err(CheckoutError::Basket) }
    }
}

/// Takes the row of the customer, and refuses who had the lock before somebody else: a lock is lost when its holder
/// freezes for too long. Then the body is dropped, and if that is too late, it is refused here.
async fn pass(tx: &mut Transaction<'_, Any>, customer: i64) -> Result<(), CheckoutError> {
    let query = match fence().and_then(|fence| i64::try_from(fence).ok()) {
        Some(fence) => {
            let update = "UPDATE customers SET fence = $1 WHERE id = $2 AND fence < $1";
            sqlx::query(update).bind(fence).bind(customer)
        }
        None => sqlx::query("UPDATE customers SET fence = fence WHERE id = $1").bind(customer),
    };
    let updated = query.execute(&mut **tx).await?;
    if updated.rows_affected() == 1 {
        return Ok(());
    }
    let select = "SELECT fence FROM customers WHERE id = $1";
    let later: Option<i64> =
        sqlx::query_scalar(select).bind(customer).fetch_optional(&mut **tx).await?;
    Err(if later.is_some() {
        CheckoutError::Lock(LockError::Lost)
    } else {
        CheckoutError::Customer
    })
}

/// The id of a new order, unless there is one of this basket.
async fn open(tx: &mut Transaction<'_, Any>, customer: i64, basket: &str) -> Result<Option<i64>> {
    let insert = "INSERT INTO orders (customer_id, basket, cents) VALUES ($1, $2, 0)
        ON CONFLICT (basket) DO NOTHING RETURNING id";
    Ok(sqlx::query_scalar(insert).bind(customer).bind(basket).fetch_optional(&mut **tx).await?)
}

/// What was ordered with this basket.
async fn earlier(
    tx: &mut Transaction<'_, Any>,
    customer: i64,
    basket: &str,
) -> Result<Receipt, CheckoutError> {
    let select = "SELECT id, cents FROM orders WHERE basket = $1 AND customer_id = $2";
    let query = sqlx::query_as(select).bind(basket).bind(customer);
    let found: Option<(i64, i64)> = query.fetch_optional(&mut **tx).await?;
    // The basket of somebody else.
    let (order, cents) = found.ok_or(CheckoutError::Basket)?;
    Ok(Receipt { order, cents })
}

/// Takes from the stock, and says what that costs.
async fn take(
    tx: &mut Transaction<'_, Any>,
    order: i64,
    line: &Wanted,
) -> Result<i64, CheckoutError> {
    let update =
        "UPDATE stock SET quantity = quantity - $1 WHERE product_id = $2 AND quantity >= $1";
    let query = sqlx::query(update).bind(line.quantity).bind(line.product);
    if query.execute(&mut **tx).await?.rows_affected() == 0 {
        return Err(CheckoutError::SoldOut { product: line.product });
    }
    // The price of this moment, and not the one that a page had.
    let insert = "INSERT INTO order_lines (order_id, product_id, quantity, cents)
        SELECT $1, product_id, $2, cents FROM prices WHERE product_id = $3 RETURNING cents";
    let query = sqlx::query_scalar(insert).bind(order).bind(line.quantity).bind(line.product);
    let cents: i64 = query.fetch_one(&mut **tx).await?;
    Ok(cents * line.quantity)
}

impl From<sqlx::Error> for CheckoutError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

impl From<DbError> for CheckoutError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<LockError> for CheckoutError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl fmt::Display for CheckoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basket => {
                f.write_str("a basket has an id, 1 to 100 products, and 1 to 100 of each")
            }
            Self::Customer => f.write_str("there is no such customer"),
            Self::SoldOut { product } => write!(f, "there is not enough of product {product}"),
            Self::OtherPrice { cents } => write!(f, "it costs {cents} cents by now"),
            Self::Lock(error) => write!(f, "another checkout is under way: {error}"),
            Self::Db(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CheckoutError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            Self::Db(error) => Some(error),
            _ => None,
        }
    }
}
