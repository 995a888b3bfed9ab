use std::{collections::HashSet, time::Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{pair::Pair, things::connect};
use crate::common::{Answer, basket};

/// The same to each of both, so often and all at once.
async fn to_both_at_once(pair: &Pair, times: usize, path: &str, body: &Value) -> Vec<Answer> {
    let mut clients = Vec::new();
    for _ in 0..times {
        for service in pair.both() {
            clients.push(connect(service.address).await);
        }
    }
    let asked = clients.into_iter().map(|mut client| {
        let (path, body) = (path.to_owned(), body.clone());
        tokio::spawn(async move { client.ask(Method::POST, &path, Some(&body)).await.unwrap() })
    });
    let mut answers = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        answers.push(asked.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn five_attempts_a_minute_are_those_of_both_together() {
    let pair = Pair::open().await;
    for round in 0..10 {
        let guess = json!({ "email": format!("guest{round}@example.com"), "password": "guessed" });
        let began = Instant::now();
        let answers = to_both_at_once(&pair, 8, "/login", &guess).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        let (allowed, denied) =
            (count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(allowed + denied, 16, "{answers:?}");
        // One more each twelve seconds; and a Redis that takes too long is no Redis.
        let more = began.elapsed().as_secs() as usize / 12;
        let alone = by_memory(&pair).await;
        assert!((5..=5 + more + alone).contains(&allowed), "{allowed} with {alone} alone");
    }
}

/// How many have been allowed by an instance without Redis.
async fn by_memory(pair: &Pair) -> usize {
    let mut count = 0;
    for service in pair.both() {
        let metrics = service.ask(Method::GET, "/metrics", None).await;
        let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
        let labels = ["larder_limit_decisions_total", "\"allowed\"", "\"memory\""];
        let lines = metrics.lines().filter(|line| labels.iter().all(|label| line.contains(label)));
        count += lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum::<usize>();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basket_that_goes_through_both_at_once_is_one_order() {
    let pair = Pair::open().await;
    for round in 1..=50 {
        let product = pair.one.add(1, "a thing", 10).await;
        let path = format!("/customers/{round}/orders");
        let answers = to_both_at_once(&pair, 4, &path, &basket(product, 1)).await;
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        let orders: HashSet<_> = answers.iter().map(|answer| answer.body.clone()).collect();
        assert_eq!(orders.len(), 1, "{orders:?}");
        let orders = format!("SELECT COUNT(*) FROM order_lines WHERE product_id = {product}");
        assert_eq!(pair.one.number(&orders).await, 1);
        assert_eq!(pair.other.read(&format!("/products/{product}/stock")).await, 9);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_in_stock_is_sold_once_by_both() {
    let pair = Pair::open().await;
    for round in 1..=50 {
        let product = pair.one.add(1, "the last", 1).await;
        let path = format!("/customers/{round}/orders");
        // Two clicks, which two instances answer.
        let (one, other) = tokio::join!(
            pair.one.service.ask(Method::POST, &path, Some(basket(product, 1))),
            pair.other.ask(Method::POST, &path, Some(basket(product, 1))),
        );
        let mut statuses = [one.status, other.status];
        statuses.sort();
        assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT]);
        assert_eq!(pair.one.read(&format!("/products/{product}/stock")).await, 0);
    }
}
