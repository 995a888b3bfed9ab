//! What the shop sells, to whom, and which of it is cached: the policy of each query is the line above it.
//!
//! A repository has its queries and nothing else has any. Its methods are the handles of what is cached, so that
//! a write names what it invalidates by the call that reads it, and the compiler knows whether there is such a call.

pub(crate) mod categories;
pub(crate) mod checkout;
pub(crate) mod customers;
pub(crate) mod orders;
pub(crate) mod prices;
pub(crate) mod products;
pub(crate) mod search;
pub(crate) mod seed;
pub(crate) mod stock;

use crate::db::Db;

/// The repositories.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    pub(crate) categories: categories::Categories,
    pub(crate) customers: customers::Customers,
    pub(crate) orders: orders::Orders,
    pub(crate) prices: prices::Prices,
    pub(crate) products: products::Products,
    pub(crate) search: search::Search,
    pub(crate) stock: stock::Stock,
    /// For what reads outside of them.
    pub(crate) db: Db,
}

impl Shop {
    /// Over one database.
    pub(crate) fn new(db: &Db) -> Self {
        Self {
            categories: categories::Categories::new(db),
            customers: customers::Customers::new(db),
            orders: orders::Orders::new(db),
            prices: prices::Prices::new(db),
            products: products::Products::new(db),
            search: search::Search::new(db),
            stock: stock::Stock::new(db),
            db: db.clone(),
        }
    }
}
