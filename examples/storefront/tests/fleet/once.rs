use hyper::{Method, StatusCode};
use tokio::{join, task::spawn_blocking};

use super::{pair::Pair, things::connect};
use crate::common::{Backends, Service};

/// Redis is waited for so long only, and then each instance asks the database for itself. That is counted.
async fn timeouts(service: &Service) -> i64 {
    let metrics = service.ask(Method::GET, "/metrics", None).await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let lines = metrics.lines().filter(|line| line.starts_with("larder_redis_timeouts_total"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_begin_at_once_fill_an_empty_database_once() {
    let backends = Backends::servers().await;
    let start = || {
        let (database, redis) = (backends.database_url.clone(), backends.redis_url());
        spawn_blocking(move || {
            Service::start(&["--port", "0", "--products", "500"], &database, &redis)
        })
    };
    let (one, other) = join!(start(), start());
    for service in [one.unwrap(), other.unwrap()] {
        let categories = service.read("/categories").await;
        let counts =
            categories.as_array().unwrap().iter().map(|it| it["products"].as_i64().unwrap());
        assert_eq!(counts.sum::<i64>(), 500);
        assert_eq!(service.read("/products/500").await["price"]["version"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_both_read_at_once_is_one_query_for_both() {
    let pair = Pair::open().await;
    let queries = async || {
        let [one, other] = pair.both();
        one.queries().await.read + other.queries().await.read
    };
    let (mut one, mut other) =
        (connect(pair.one.service.address).await, connect(pair.other.address).await);
    let before = queries().await;
    for customer in 1..=200 {
        let path = format!("/customers/{customer}");
        let (one, other) = join!(one.get(&path), other.get(&path));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
        assert_eq!(one.body, other.body);
    }
    let made = queries().await - before;
    // It is published once a second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let timeouts = timeouts(&pair.one.service).await + timeouts(&pair.other).await;
    println!("200 keys, each read by both at once: {made} queries");
    assert!((200..=200 + timeouts).contains(&made), "{made} queries, {timeouts} timeouts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_read_the_other_finds_in_redis() {
    let pair = Pair::open().await;
    let paths = [
        "/categories",
        "/products/3",
        "/categories/5/products",
        "/search?category=6&words=plastic",
        "/customers/7/orders",
    ];
    for path in paths {
        let first = pair.one.service.read(path).await;
        let before = pair.other.queries().await;
        assert_eq!(pair.other.read(path).await, first);
        let made = pair.other.queries().await.read - before.read;
        assert!(made <= timeouts(&pair.other).await, "{path}: {made} queries");
    }
}
