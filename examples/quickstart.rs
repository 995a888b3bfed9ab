//! Everything a cached call can do, in one run of less than a second.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! The "database" is a file, `examples/data/elements.csv`, and slow on purpose. With a Redis in
//! `LARDER_URL` (`redis://localhost`) it goes on to show what a second process would see.

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use larder::{Cache, cached};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/elements.csv");

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Element {
    number: u8,
    symbol: String,
    name: String,
    /// Not every element has one.
    weight: Option<f64>,
}

/// The one function that is cached here.
///
/// A value lives for 60 to 70 seconds. A `None`, which is a symbol that no element has, lives for
/// 5, so that asking for it again and again does not reach the database either. `Arc` makes the
/// copy that each caller gets a cheap one.
#[cached(ttl = 60, jitter = 10, none_ttl = 5, key = "element:{symbol}")]
async fn element(symbol: &str) -> anyhow::Result<Option<Arc<Element>>> {
    // As long as a query to a database that has something to do.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for line in fs::read_to_string(DATABASE)?.lines().skip(1) {
        if let [number, found, name, weight] = line.split(',').collect::<Vec<_>>()[..]
            && found == symbol
        {
            return Ok(Some(Arc::new(Element {
                number: number.parse()?,
                symbol: found.to_owned(),
                name: name.to_owned(),
                weight: if weight.is_empty() { None } else { Some(weight.parse()?) },
            })));
        }
    }
    Ok(None)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Optional: without it a cache with the defaults is made on first use.
    let cache = Cache::builder("quickstart").capacity(1_000).build()?;
    cache.clone().install()?;
    let runs = || cache.stats().function("element").map_or(0, |row| row.runs);

    title("A call is cold once");
    let start = Instant::now();
    let iron = element("Fe").await?.unwrap();
    println!("element(\"Fe\")  {:>9.1?}  ran the function: {}", start.elapsed(), show(&iron));
    let start = Instant::now();
    let iron = element("Fe").await?.unwrap();
    println!("element(\"Fe\")  {:>9.1?}  from memory: {}", start.elapsed(), show(&iron));
    let start = Instant::now();
    for _ in 0..10_000 {
        element("Fe").await?;
    }
    println!("10,000 more    {:>9.1?}  each, on average", start.elapsed() / 10_000);
    if cfg!(debug_assertions) {
        println!("               (a debug build; see what `--release` makes of it)");
    }

    title("A thousand callers of one cold key are one run");
    let before = runs();
    let start = Instant::now();
    let mut callers: JoinSet<_> = (0..1_000).map(|_| element("Au")).collect();
    while let Some(found) = callers.join_next().await {
        assert_eq!(found??.unwrap().name, "Gold");
    }
    println!("all of them have it after {:.1?}", start.elapsed());
    println!("the function ran {} time", runs() - before);

    title("Where a value came from");
    let (_, source) = element("Cu").with_source().await;
    println!("first time:  {source:?}");
    let (_, source) = element("Cu").with_source().await;
    println!("second time: {source:?}");

    title("The call is also the handle of its entry");
    println!("key:        {}", element("Fe").key());
    println!("expires in: {:.0?}", element("Fe").expires_in().await.unwrap_or_default());
    element("Fe").invalidate().await?;
    println!("after `invalidate`, `peek` finds {:?}", peeked("Fe").await?);
    element("Fe").refresh().await?;
    println!("after `refresh`,    `peek` finds {:?}", peeked("Fe").await?);

    // `put` is for who has just written the value. It takes the `Element` inside of the `Result`,
    // the `Option` and the `Arc` as well.
    let spelt_otherwise = Element { name: "Aluminum".to_owned(), ..read("Al").await? };
    element("Al").put(spelt_otherwise).await?;
    println!("after `put`,        `peek` finds {:?}", peeked("Al").await?);

    title("What does not exist is remembered, too");
    for _ in 0..2 {
        let (found, source) = element("Xx").with_source().await;
        println!("element(\"Xx\") is {:?}, {source:?}", found?.map(|found| found.name.clone()));
    }

    title("What the cache has counted");
    println!("{}", cache.stats());

    if let Ok(url) = env::var("LARDER_URL") {
        over_redis(&url).await?;
    }
    Ok(())
}

/// Two caches of one service are what two processes have.
async fn over_redis(url: &str) -> anyhow::Result<()> {
    title("The same function, over Redis");
    let one = Cache::builder("quickstart").redis(url).build()?;
    let other = Cache::builder("quickstart").redis(url).build()?;
    one.clear().await?;
    let (_, source) = one.scope(async { element("Ag").with_source().await }).await;
    println!("one process:     {source:?}");
    let (_, source) = other.scope(async { element("Ag").with_source().await }).await;
    println!("the other:       {source:?}");
    one.scope(async { element("Ag").invalidate().await }).await?;
    let (_, source) = one.scope(async { element("Ag").with_source().await }).await;
    println!("invalidated:     {source:?}");
    let both = tokio::join!(
        one.scope(async { element("Pt").with_source().await.1 }),
        other.scope(async { element("Pt").with_source().await.1 }),
    );
    println!("both at once:    {:?} and {:?}", both.0, both.1);
    Ok(())
}

/// The name that is stored, without running the function.
async fn peeked(symbol: &str) -> anyhow::Result<Option<String>> {
    let Some(stored) = element(symbol).peek().await else {
        return Ok(None);
    };
    Ok(stored?.map(|element| element.name.clone()))
}

/// From the database, whatever the cache has; and nothing is stored.
async fn read(symbol: &str) -> anyhow::Result<Element> {
    let read = element(symbol).uncached().await?;
    Ok(Element::clone(&read.unwrap()))
}

fn show(Element { number, symbol, name, weight }: &Element) -> String {
    let weight = weight.map_or("no standard weight".to_owned(), |weight| format!("{weight} u"));
    format!("{number} {symbol} {name}, {weight}")
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
