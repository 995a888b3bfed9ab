//! A shop whose prices change by the category: every page that shows a product of it is dropped at
//! once, however many there are, and no page from before comes back.
//!
//! ```sh
//! cargo run --example tags
//! ```
//!
//! It needs no server; with `LARDER_URL=redis://localhost LARDER_SERVICE=shop` the pages are in Redis,
//! too, and other processes have them.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Instant,
};

use larder::{Cache, cached, invalidates};

/// The "database": the price of everything, and how often it was asked.
static PRICE: AtomicU64 = AtomicU64::new(100);
static READS: AtomicU64 = AtomicU64::new(0);

/// What a product is in, and that it is a page, are tags. What a tag names that is in the key costs a
/// call nothing.
#[cached(ttl = "1h", key = "page:{category}:{product}", tags("category:{category}", "pages"))]
async fn page(category: &str, product: u64) -> Result<String, String> {
    READS.fetch_add(1, SeqCst); // SELECT …
    Ok(format!("{category} {product}: {} ¢", PRICE.load(SeqCst)))
}

/// Another function with the same tag.
#[cached(ttl = "1h", key = "menu:{category}", tags("category:{category}"))]
async fn menu(category: &str) -> Result<String, String> {
    READS.fetch_add(1, SeqCst); // SELECT min(price) …
    Ok(format!("{category} from {} ¢", PRICE.load(SeqCst)))
}

/// Whatever shows a product of the category is dropped. Under the hold nobody stores any of it while
/// the price changes, not even if this process dies half-way.
#[invalidates(tag("category:{category}"), hold = "5s")]
async fn reprice(category: &str, price: u64) -> Result<(), String> {
    PRICE.store(price, SeqCst); // UPDATE …; COMMIT
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("LARDER_URL").is_some() {
        Cache::from_env()?.build()?.install()?;
    }
    show("10,000 pages are read", async {
        for product in 0..5_000 {
            let (_tea, _coffee) = tokio::try_join!(page("tea", product), page("coffee", product))?;
        }
        menu("tea").await
    })
    .await?;
    show("and once more", async {
        for product in 0..5_000 {
            page("tea", product).await?;
        }
        page("tea", 1).await
    })
    .await?;
    show("tea gets cheaper: one command for 5,001 entries", async {
        reprice("tea", 90).await?;
        Ok(String::new())
    })
    .await?;
    show("a page of it is read anew", page("tea", 1)).await?;
    show("its menu is read anew", menu("tea")).await?;
    show("coffee is as it was", page("coffee", 1)).await?;
    show("all pages are dropped", async {
        let dropped = Cache::current().invalidate_tag("pages").await;
        dropped.map_err(|error| error.to_string()).map(|()| String::new())
    })
    .await?;
    show("coffee is read anew", page("coffee", 1)).await?;
    show("and the menu is no page", menu("tea")).await?;
    Ok(())
}

/// Runs a step, and prints what it took.
async fn show(step: &str, run: impl Future<Output = Result<String, String>>) -> Result<(), String> {
    let (since, reads) = (Instant::now(), READS.load(SeqCst));
    let shown = run.await?;
    let (took, reads) = (since.elapsed(), READS.load(SeqCst) - reads);
    println!("{step:<50} {reads:>6} reads {took:>10.1?}  {shown}");
    Ok(())
}
