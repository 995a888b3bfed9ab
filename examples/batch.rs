//! A function that loads many at once: what the cache lacks is loaded with one run, and each element is
//! an entry like any other.
//!
//! ```sh
//! cargo run --example batch
//! ```
//!
//! It needs no server; with `LARDER_URL=redis://localhost LARDER_SERVICE=shop` the entries are in Redis,
//! too: then a batch asks for what memory lacks with one `MGET`.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use larder::{Batch, Cache, Source, cached, invalidates};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Product {
    id: u64,
    name: String,
    cents: u64,
}

/// The "database", which notes the queries that it gets. Each takes 20 ms, whatever it asks for, and of
/// products it has those below 1,000.
#[derive(Default)]
struct Db {
    queries: Mutex<Vec<String>>,
}

impl Db {
    async fn query(&self, ids: &[u64]) -> HashMap<u64, Product> {
        self.queries.lock().unwrap().push(format!("SELECT … WHERE id IN ({})", joined(ids)));
        sleep(Duration::from_millis(20)).await;
        let product = |id| Product { id, name: format!("tea no. {id}"), cents: 100 + id };
        ids.iter().filter(|id| **id < 1_000).map(|id| (*id, product(*id))).collect()
    }

    /// Those since the last time.
    fn queries(&self) -> Vec<String> {
        std::mem::take(&mut *self.queries.lock().unwrap())
    }
}

/// The body runs once at most, and gets the ids that neither memory nor Redis has. It returns a map;
/// an id that is not in it does not exist, and that is remembered for 5 seconds.
#[cached(ttl = 60, none_ttl = 5, key = "product:{id}", skip(db), each(id in ids))]
async fn products(db: &Db, ids: &[u64]) -> Result<HashMap<u64, Product>, String> {
    Ok(db.query(ids).await)
}

/// The same entries, one by one: the key is the same, and so is the type of the value.
#[cached(ttl = 60, none_ttl = 5, key = "product:{id}", skip(db))]
async fn product(db: &Db, id: u64) -> Result<Option<Product>, String> {
    Ok(db.query(&[id]).await.remove(&id))
}

/// A writer names the entry by either of them.
#[invalidates(product(db, id))]
async fn reprice(db: &Db, id: u64) -> Result<(), String> {
    db.queries.lock().unwrap().push(format!("UPDATE … WHERE id = {id}"));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("LARDER_URL").is_some() {
        let cache = Cache::from_env()?.build()?;
        cache.clear().await?;
        cache.install()?;
    }
    let db = &Db::default();

    title("One query for what is missing");
    show("three that nobody has asked for", db, products(db, &[1, 2, 3])).await?;
    show("two more", db, products(db, &[1, 2, 3, 4, 5])).await?;
    show("one twice, and one that does not exist", db, products(db, &[5, 5, 9_999])).await?;
    show("which is remembered", db, products(db, &[5, 9_999])).await?;

    title("An element is the entry of the function for one");
    product(db, 6).await?;
    println!("product(6) is loaded by itself");
    show("the batch finds it", db, products(db, &[5, 6, 7])).await?;
    let (_, source) = product(db, 7).with_source().await;
    println!("and product(7) comes from the batch: {source:?}");
    reprice(db, 6).await?;
    show("6 has changed", db, products(db, &[5, 6, 7])).await?;

    title("All at once, and each is loaded once");
    let all = tokio::join!(
        products(db, &[11, 12, 13]),
        products(db, &[13, 14, 15]),
        products(db, &[15, 16, 11]),
        product(db, 12),
    );
    let found = all.0?.len() + all.1?.len() + all.2?.len() + usize::from(all.3?.is_some());
    println!("{found} were found, with the queries");
    db.queries().iter().for_each(|query| println!("    {query}"));

    title("The batch is the handle of all its entries");
    println!("keys: {}", products(db, &[1, 2]).keys().join(", "));
    products(db, &[1, 2, 3]).invalidate().await?;
    let left = products(db, &[1, 2, 3, 4]).peek().await?;
    println!("after `invalidate` of 1, 2 and 3, `peek` finds {:?}", left.keys());
    let ours = Product { id: 1, name: "house blend".to_owned(), cents: 90 };
    products(db, &[1]).put(Ok(HashMap::from([(1, ours)]))).await?;
    let put = product(db, 1).await?.map(|product| (product.name, product.cents));
    println!("after `put`, product(1) is {put:?}");
    show("and the others are loaded", db, products(db, &[1, 2, 3])).await?;

    println!("\n{}", Cache::current().stats());
    Ok(())
}

/// Makes a call, and prints where the values came from, and what was asked of the database.
async fn show<F>(when: &str, db: &Db, call: Batch<F>) -> Result<(), String>
where
    F: Future<Output = Result<HashMap<u64, Product>, String>>,
{
    let start = Instant::now();
    db.queries();
    let (found, sources) = call.with_sources().await;
    let (found, took) = (found?, start.elapsed());
    let is_loaded = |source: &&Source| matches!(source, Source::Function);
    let loaded = sources.iter().filter(is_loaded).count();
    let queries = db.queries().join("; ");
    let (elements, found) = (sources.len(), found.len());
    let queries = if queries.is_empty() { "no query" } else { &queries };
    println!("{when:38} {loaded} of {elements} loaded, {found} found {took:>8.1?}  {queries}");
    Ok(())
}

fn joined(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
