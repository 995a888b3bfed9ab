use std::collections::HashSet;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Answer, Client, Shop, basket, basket_id, on_all_backends};

on_all_backends!(
    it_is_charged_what_the_database_says_and_not_what_a_page_showed,
    orders_of_a_customer_list_the_new_one_at_once,
    what_was_bought_stays_what_it_was_when_its_price_changes,
    a_basket_that_is_sent_twice_is_one_order,
    two_equal_baskets_at_once_are_one_order,
    two_checkouts_of_a_customer_never_oversell_the_last_one,
    checkouts_of_many_customers_never_oversell_the_last_one,
    baskets_that_cross_wait_for_each_other_in_no_circle,
    too_much_is_refused_and_changes_nothing,
    the_basket_of_somebody_else_is_no_order,
);

async fn it_is_charged_what_the_database_says_and_not_what_a_page_showed(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    let page = format!("/products/{product}");
    assert_eq!(shop.read(&page).await["price"]["cents"], 1_000);
    // Past the cache, as if the page were a moment behind.
    shop.change(&format!("UPDATE prices SET cents = 1500 WHERE product_id = {product}")).await;
    assert_eq!(shop.read(&page).await["price"]["cents"], 1_000);

    let lines = json!([{ "product": product, "quantity": 2 }]);
    let shown = json!({ "id": basket_id(), "lines": lines, "cents": 2_000 });
    let refused = shop.post("/customers/1/orders", shown).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json().unwrap()["error"], "it costs 3000 cents by now");
    assert_eq!(shop.read(&format!("{page}/stock")).await, 10);

    for (cents, left) in [(json!(3_000), 8), (Value::Null, 6)] {
        let right = json!({ "id": basket_id(), "lines": lines, "cents": cents });
        let ordered = shop.post("/customers/1/orders", right).await;
        assert_eq!(ordered.status, StatusCode::CREATED);
        assert_eq!(ordered.json().unwrap()["cents"], 3_000);
        assert_eq!(shop.read(&format!("{page}/stock")).await, left);
    }
}

async fn orders_of_a_customer_list_the_new_one_at_once(shop: &mut Shop) {
    let orders = "/customers/2/orders";
    shop.get(orders).await;
    for _ in 0..20 {
        let order = shop.post(orders, basket(3, 2)).await.json().unwrap()["order"].clone();
        // The list, and the one in it that is new.
        let mut latest = Value::Null;
        let queries = shop.queries_of(async { latest = shop.read(orders).await }).await;
        assert_eq!((queries.read, queries.write), (2, 0));
        assert_eq!(latest[0]["id"], order);
        assert_eq!(latest[0]["lines"][0]["product_id"], 3);
        assert_eq!(latest[0]["lines"][0]["quantity"], 2);
    }
    let latest = shop.read(orders).await;
    assert_eq!(latest.as_array().unwrap().len(), 10, "the latest ones are listed");
}

async fn what_was_bought_stays_what_it_was_when_its_price_changes(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    shop.post("/customers/3/orders", basket(product, 1)).await;
    let before = shop.read("/customers/3/orders").await;
    shop.put(&format!("/products/{product}/price"), json!({ "cents": 7 })).await;
    shop.post("/live/invalidate", json!("all")).await;
    assert_eq!(shop.read("/customers/3/orders").await, before);
    assert_eq!(before[0]["lines"][0]["cents"], 1_000);
}

async fn a_basket_that_is_sent_twice_is_one_order(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    let twice = basket(product, 1);
    let first = shop.post("/customers/4/orders", twice.clone()).await;
    // The client did not hear the answer; meanwhile the price went up.
    shop.put(&format!("/products/{product}/price"), json!({ "cents": 9_999 })).await;
    let second = shop.post("/customers/4/orders", twice).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(second.status, StatusCode::CREATED);
    assert_eq!(first.json().unwrap(), second.json().unwrap());
    assert_eq!(shop.read(&format!("/products/{product}/stock")).await, 9);
}

async fn two_equal_baskets_at_once_are_one_order(shop: &mut Shop) {
    for round in 0..20 {
        let product = shop.add(1, "a thing", 10).await;
        let same = basket(product, 1);
        let sent: Vec<_> = (0..8).map(|_| (1 + round, same.clone())).collect();
        let answers = at_once(shop, sent).await;
        let orders: HashSet<_> =
            answers.iter().map(|answer| answer.json().unwrap().to_string()).collect();
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        assert_eq!(orders.len(), 1, "{orders:?}");
        assert_eq!(shop.read(&format!("/products/{product}/stock")).await, 9);
        let listed = shop.read(&format!("/customers/{}/orders", 1 + round)).await;
        let of_it = |order: &&Value| order["lines"][0]["product_id"] == product;
        assert_eq!(listed.as_array().unwrap().iter().filter(of_it).count(), 1);
    }
}

async fn two_checkouts_of_a_customer_never_oversell_the_last_one(shop: &mut Shop) {
    for round in 0..20 {
        let product = shop.add(1, "the last", 1).await;
        let sent = (0..2).map(|_| (1 + round, basket(product, 1))).collect();
        sold_once(shop, product, at_once(shop, sent).await).await;
    }
}

async fn checkouts_of_many_customers_never_oversell_the_last_one(shop: &mut Shop) {
    for _ in 0..20 {
        let product = shop.add(1, "the last", 1).await;
        let sent = (1..=8).map(|customer| (customer, basket(product, 1))).collect();
        sold_once(shop, product, at_once(shop, sent).await).await;
    }
}

async fn sold_once(shop: &Shop, product: i64, answers: Vec<Answer>) {
    let sold = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
    assert_eq!((sold, refused), (1, answers.len() - 1), "{answers:?}");
    assert_eq!(shop.read(&format!("/products/{product}/stock")).await, 0);
    let lines = format!("SELECT COUNT(*) FROM order_lines WHERE product_id = {product}");
    assert_eq!(shop.number(&lines).await, 1);
}

async fn baskets_that_cross_wait_for_each_other_in_no_circle(shop: &mut Shop) {
    let (one, other) = (shop.add(1, "one", 1_000).await, shop.add(1, "another", 1_000).await);
    let lines = |first: i64, second: i64| {
        json!({ "id": basket_id(), "lines": [
            { "product": first, "quantity": 1 }, { "product": second, "quantity": 1 },
        ] })
    };
    for _ in 0..20 {
        let sent = (1..=8).map(|customer| match customer % 2 {
            0 => (customer, lines(one, other)),
            _ => (customer, lines(other, one)),
        });
        let answers = at_once(shop, sent.collect()).await;
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    }
    assert_eq!(shop.read(&format!("/products/{one}/stock")).await, 1_000 - 160);
}

async fn too_much_is_refused_and_changes_nothing(shop: &mut Shop) {
    let (few, many) = (shop.add(1, "few", 3).await, shop.add(1, "many", 100).await);
    let before = shop.read("/customers/6/orders").await;
    let id = basket_id();
    let lines = json!([{ "product": many, "quantity": 9 }, { "product": few, "quantity": 4 }]);
    let refused = shop.post("/customers/6/orders", json!({ "id": id, "lines": lines })).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let there_is_none =
        json!([{ "product": many, "quantity": 1 }, { "product": 99_999, "quantity": 1 }]);
    let refused =
        shop.post("/customers/6/orders", json!({ "id": id, "lines": there_is_none })).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(shop.read(&format!("/products/{few}/stock")).await, 3);
    assert_eq!(shop.read(&format!("/products/{many}/stock")).await, 100);
    assert_eq!(shop.read("/customers/6/orders").await, before);
    // It was no order, so it may be one yet.
    let lines = json!([{ "product": few, "quantity": 3 }]);
    let ordered = shop.post("/customers/6/orders", json!({ "id": id, "lines": lines })).await;
    assert_eq!(ordered.status, StatusCode::CREATED);
}

async fn the_basket_of_somebody_else_is_no_order(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    let theirs = basket(product, 1);
    assert_eq!(shop.post("/customers/7/orders", theirs.clone()).await.status, StatusCode::CREATED);
    let before = shop.read("/customers/8/orders").await;
    let refused = shop.post("/customers/8/orders", theirs).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(shop.read("/customers/8/orders").await, before);
    assert_eq!(shop.read(&format!("/products/{product}/stock")).await, 9);
}

/// All of these baskets, each of a customer, over connections that are there already.
async fn at_once(shop: &Shop, sent: Vec<(i64, Value)>) -> Vec<Answer> {
    let mut clients = Vec::new();
    for (customer, basket) in sent {
        let client = Client::connect(shop.service.address).await.unwrap();
        clients.push((client, format!("/customers/{customer}/orders"), basket));
    }
    let asked = clients.into_iter().map(|(mut client, path, basket)| {
        tokio::spawn(async move { client.ask(Method::POST, &path, Some(&basket)).await.unwrap() })
    });
    let mut answers = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        answers.push(asked.await.unwrap());
    }
    answers
}
