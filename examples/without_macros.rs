//! The cache without an attribute: a key that you write, and a future that loads.
//!
//! ```sh
//! cargo run --example without_macros
//! ```
//!
//! An attribute makes the key from the arguments, so that two of them never meet. Here that is up
//! to you. It is the way for what is no function: a closure, a key that is only known at run time.

use std::{convert::Infallible, time::Duration};

use larder::{Cache, ManualClock, Options};

/// Entries live for a minute here.
const A_MINUTE: Options = Options::ttl(Duration::from_secs(60));

/// Stands for a query, and says when it is made.
async fn load(id: u64) -> Result<String, Infallible> {
    println!("    … loading user {id}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(format!("user number {id}"))
}

/// The key is spelt in one place only.
async fn name_of(cache: &Cache, id: u64) -> Result<String, Infallible> {
    cache.get_or_load(&key(id), A_MINUTE, load(id)).await
}

fn key(id: u64) -> String {
    format!("user:{id}")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A clock that stands still until it is moved, so that an hour takes no time. Leave it out
    // and the cache goes by the clock of the machine.
    let clock = ManualClock::new();
    let cache = Cache::builder("without-macros")
        .capacity(10_000)
        .max_bytes(1 << 20)
        .clock(clock.clone())
        .build()?;

    println!("two calls, one load:");
    println!("{}", name_of(&cache, 42).await?);
    println!("{}", name_of(&cache, 42).await?);

    println!("\nthree callers at one time, one load:");
    let (first, second, third) =
        tokio::join!(name_of(&cache, 7), name_of(&cache, 7), name_of(&cache, 7));
    println!("{}, {}, {}", first?, second?, third?);

    println!("\ninvalidated by its key, loaded again:");
    cache.invalidate("user:42").await?;
    println!("{}", name_of(&cache, 42).await?);

    println!("\n59 seconds later it is still there:");
    clock.advance(Duration::from_secs(59));
    println!("{}", name_of(&cache, 42).await?);
    println!("\nand 2 seconds later it is not:");
    clock.advance(Duration::from_secs(2));
    println!("{}", name_of(&cache, 42).await?);

    println!("\nan error is never stored, so the next call makes another attempt:");
    for attempt in 1..=2 {
        let failed = async { Err::<u64, _>(format!("attempt {attempt} failed")) };
        println!("{:?}", cache.get_or_load("broken", A_MINUTE, failed).await);
    }

    println!("\na `None` is stored only where that is asked for:");
    let options = A_MINUTE.none_ttl(Duration::from_secs(5));
    for _ in 0..2 {
        let nobody = async {
            println!("    … looking for nobody");
            Ok::<_, Infallible>(None::<String>)
        };
        println!("{:?}", cache.get_or_load("nobody", options, nobody).await?);
    }

    println!("\nwhat the cache has counted:\n{}", cache.stats());
    Ok(())
}
