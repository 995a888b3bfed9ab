//! A shop that is open, and how it is asked.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{
    Any, AnyPool,
    any::{AnyPoolOptions, install_default_drivers},
};
use tokio::task::block_in_place;

use super::{Answer, Backends, Client, Service};

/// So many products it has at first, and half as many customers.
pub(crate) const PRODUCTS: i64 = 500;

pub(crate) struct Shop {
    // In this order: a service ends before what it stands on.
    pub(crate) service: Service,
    /// Its database, past the cache.
    pub(crate) db: AnyPool,
    pub(crate) backends: Backends,
}

/// Queries that read, and transactions that write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queries {
    pub(crate) read: i64,
    pub(crate) write: i64,
}

impl Shop {
    pub(crate) async fn open(backends: Backends) -> Self {
        let service = start(&backends);
        install_default_drivers();
        // Whoever writes here beside the service may have to wait for it.
        let db = AnyPoolOptions::new().max_connections(8).connect(&service.database_url).await;
        Self { service, db: db.unwrap(), backends }
    }

    /// Another instance, on the same.
    pub(crate) fn second(&self) -> Service {
        start(&self.backends)
    }

    pub(crate) fn is_on_postgres(&self) -> bool {
        self.service.database_url.starts_with("postgres")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.service.ask(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.service.ask(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.service.ask(Method::POST, path, Some(body)).await
    }

    /// What is at this path.
    pub(crate) async fn read(&self, path: &str) -> Value {
        self.service.read(path).await
    }

    /// Adds a product to a category.
    pub(crate) async fn add(&self, category: i64, name: &str, quantity: i64) -> i64 {
        let body = json!({ "name": name, "cents": 1_000, "quantity": quantity });
        let answer = self.post(&format!("/categories/{category}/products"), body).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        answer.json().unwrap()["id"].as_i64().unwrap()
    }

    /// How many queries it makes meanwhile.
    pub(crate) async fn queries_of<T>(&self, what: impl Future<Output = T>) -> Queries {
        let before = self.service.queries().await;
        what.await;
        let after = self.service.queries().await;
        Queries { read: after.read - before.read, write: after.write - before.write }
    }

    /// What has been counted of a function.
    pub(crate) async fn counted(&self, function: &str) -> Value {
        let live = self.read("/live").await;
        let functions = live["functions"].as_array().unwrap();
        let found = functions.iter().find(|it| it["name"] == function).unwrap();
        found["counted"].clone()
    }

    /// One number, past the cache.
    pub(crate) async fn number(&self, select: &str) -> i64 {
        sqlx::query_scalar::<Any, i64>(select).fetch_one(&self.db).await.unwrap()
    }

    /// A change that the service does not know of.
    pub(crate) async fn change(&self, sql: &str) {
        sqlx::query(sql).execute(&self.db).await.unwrap();
    }
}

fn start(backends: &Backends) -> Service {
    let products = PRODUCTS.to_string();
    let options = ["--port", "0", "--products", &products];
    block_in_place(|| Service::start(&options, &backends.database_url, &backends.redis_url()))
}

impl Service {
    /// Over a connection of its own.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut client = Client::connect(self.address).await.unwrap();
        let asked = format!("{method} {path}");
        client.ask(method, path, body.as_ref()).await.expect(&asked)
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        answer.json().unwrap()
    }

    pub(crate) async fn queries(&self) -> Queries {
        let queries = &self.read("/live").await["queries"];
        Queries {
            read: queries["read"].as_i64().unwrap(),
            write: queries["write"].as_i64().unwrap(),
        }
    }
}

/// A name for a basket that no other has.
pub(crate) fn basket_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("basket-{}", NEXT.fetch_add(1, Relaxed))
}

/// A basket with so many of a product.
pub(crate) fn basket(product: i64, quantity: i64) -> Value {
    json!({ "id": basket_id(), "lines": [{ "product": product, "quantity": quantity }] })
}
