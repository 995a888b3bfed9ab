//! A shop fills its cache before it opens, with a bar that shows how far it is.
//!
//! ```sh
//! cargo run --package example-warming
//! ```
//!
//! It needs no server; with `LARDER_URL=redis://localhost LARDER_SERVICE=shop` the pages are in Redis,
//! too, and a second run finds them there: then nothing is loaded but what has failed.

use std::{
    env,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use larder::{Cache, WarmReport, cached, warm};
use tokio::time::sleep;

/// So many at once, and no more: what the database can do beside its work.
const AT_ONCE: usize = 16;

/// Takes between 10 and 50 ms, and some products are broken. With the jitter what is loaded together does
/// not expire together.
#[cached(ttl = "1h", jitter = "10%", key = "page:{product}")]
async fn page(product: u64) -> Result<String, String> {
    sleep(Duration::from_millis(10 + product * 7 % 40)).await;
    if product % 97 == 96 {
        return Err(format!("product {product} has no price"));
    }
    Ok(format!("<h1>product {product}</h1>"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if env::var_os("LARDER_URL").is_some() {
        Cache::from_env()?.build()?.install()?;
    }

    println!("Before it opens");
    warm_pages(500).await?;

    println!("\nOnce more: what is there is left alone, and what has failed is tried again");
    warm_pages(500).await?;

    println!("\nThe first customer");
    let start = Instant::now();
    let (page, source) = page(42).with_source().await;
    println!("{} in {:.1?}, {source:?}", page.map_err(anyhow::Error::msg)?, start.elapsed());

    // So that nobody is in the middle of something.
    Cache::current().shutdown().await?;
    Ok(())
}

async fn warm_pages(count: u64) -> anyhow::Result<()> {
    let bar = ProgressBar::new(count).with_style(ProgressStyle::with_template(
        "{bar:40} {pos} of {len}, {msg} failed, {eta} to go",
    )?);
    let start = Instant::now();
    let report = warm((0..count).map(page), AT_ONCE, |progress| {
        bar.set_position(progress.done as u64);
        bar.set_message(progress.failed.to_string());
    })
    .await;
    bar.finish_and_clear();
    let WarmReport { loaded, present, failed, .. } = report;
    println!("{loaded} loaded, {present} there, {failed} failed, in {:.1?}", start.elapsed());
    Ok(())
}
