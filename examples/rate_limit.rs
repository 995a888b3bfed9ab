//! A login that may be tried three times a minute from one address, and a crawler that takes its time.
//!
//! ```sh
//! cargo run --example rate_limit --features limit
//! LARDER_URL=redis://127.0.0.1:6379 cargo run --example rate_limit --features limit
//! ```
//!
//! It needs no server: without one, each process limits by itself. With one, run it in two terminals,
//! and both have the same three tries.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use larder::{Cache, Limiter, RateLimited, WhenDown};

const MINUTE: Duration = Duration::from_secs(60);

/// Each try counts, and who knows the password has all of them again.
async fn login(limiter: &Limiter, ip: IpAddr, password: &str) -> Result<bool, RateLimited> {
    limiter.check(ip).await?;
    let is_right = password == "correct horse";
    if is_right {
        limiter.reset(ip).await;
    }
    Ok(is_right)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Cache::builder("shop");
    if let Ok(url) = std::env::var("LARDER_URL") {
        builder = builder.redis(url);
    }
    let cache = builder.build()?;

    title("Three tries a minute from one address");
    let limiter = Limiter::new(&cache, "login", 3, MINUTE);
    let (guesser, neighbour) = (IpAddr::from([192, 0, 2, 7]), IpAddr::from([192, 0, 2, 8]));
    for password in ["123456", "password", "qwerty", "correct horse"] {
        show("the guesser", password, login(&limiter, guesser, password).await);
    }
    for password in ["battery staple", "correct horse", "correct horse"] {
        show("a neighbour", password, login(&limiter, neighbour, password).await);
    }

    title("What a response says of it");
    if let Err(denied) = limiter.check(guesser).await {
        println!("HTTP/1.1 429 Too Many Requests");
        for (name, value) in denied.headers() {
            println!("{name}: {value}");
        }
    }

    title("Ten pages a second, evenly: three crawlers wait in a line");
    // A page that is not fetched is no harm: while Redis is away, none is.
    let pages = Limiter::new(&cache, "crawl", 10, Duration::from_secs(1))
        .burst(1)
        .when_down(WhenDown::Deny);
    let start = Instant::now();
    let fetch = async |crawler: u32| {
        let admitted = pages.wait("example.com", Duration::from_secs(5)).await;
        println!("crawler {crawler} after {:>3} ms", start.elapsed().as_millis());
        admitted
    };
    let (first, second, third) = tokio::join!(fetch(1), fetch(2), fetch(3));
    for admitted in [first, second, third] {
        admitted?;
    }
    let busy = pages.wait("example.com", Duration::from_millis(20)).await;
    if let Err(denied) = busy {
        println!(
            "who has but 20 ms knows at once, after {:>3} ms: {denied}",
            start.elapsed().as_millis()
        );
    }
    Ok(())
}

fn show(who: &str, password: &str, answer: Result<bool, RateLimited>) {
    match answer {
        Ok(is_right) => println!("{who:12} {password:15} is right: {is_right}"),
        Err(denied) => println!("{who:12} {password:15} {denied}"),
    }
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
