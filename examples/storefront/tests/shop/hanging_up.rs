use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Any, AnyConnection, Connection as _, Executor as _};
use tokio::time::{sleep, timeout};

use crate::common::{Client, Shop, basket, on_all_backends, wait_until};

on_all_backends!(
    who_hangs_up_while_the_order_is_written_has_ordered,
    an_order_of_who_hangs_up_at_any_moment_is_whole_or_none,
);

/// Takes the row that a checkout of the customer needs first.
pub(super) async fn block(shop: &Shop, customer: i64) -> AnyConnection {
    let mut connection = AnyConnection::connect(&shop.service.database_url).await.unwrap();
    connection
        .execute(if shop.is_on_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" })
        .await
        .unwrap();
    let update = format!("UPDATE customers SET fence = fence WHERE id = {customer}");
    connection.execute(update.as_str()).await.unwrap();
    connection
}

pub(super) async fn unblock(mut connection: AnyConnection) {
    connection.execute("ROLLBACK").await.unwrap();
    connection.close().await.unwrap();
}

/// Until one that was sent has begun its transaction.
pub(super) async fn wait_for_a_write(shop: &Shop, before: i64) {
    wait_until("it writes", async || shop.service.queries().await.write > before).await;
}

async fn who_hangs_up_while_the_order_is_written_has_ordered(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    let orders = "/customers/5/orders";
    let before = shop.read(orders).await;
    let blocked = block(shop, 5).await;
    let writes = shop.service.queries().await.write;
    let (address, body) = (shop.service.address, basket(product, 1));
    let sent = tokio::spawn(async move {
        let mut client = Client::connect(address).await.unwrap();
        client.ask(Method::POST, orders, Some(&body)).await
    });
    wait_for_a_write(shop, writes).await;
    // With it goes the connection.
    sent.abort();
    let _ = sent.await;
    unblock(blocked).await;
    wait_until("there is an order", async || shop.read(orders).await != before).await;
    let latest = shop.read(orders).await;
    assert_eq!(latest[0]["lines"][0]["product_id"], product);
    assert_eq!(shop.read(&format!("/products/{product}/stock")).await, 9);
}

async fn an_order_of_who_hangs_up_at_any_moment_is_whole_or_none(shop: &mut Shop) {
    let (one, other) = (shop.add(1, "one", 1_000).await, shop.add(1, "another", 1_000).await);
    let mut heard = 0;
    for round in 0..100_u64 {
        let lines = json!([{ "product": one, "quantity": 1 }, { "product": other, "quantity": 2 }]);
        let body = json!({ "id": format!("hang up {round}"), "lines": lines });
        let mut client = Client::connect(shop.service.address).await.unwrap();
        let asked = client.ask(Method::POST, "/customers/6/orders", Some(&body));
        // Sooner or later: a checkout takes some milliseconds.
        let answered = timeout(Duration::from_micros(round * 200), asked).await;
        heard +=
            i64::from(answered.is_ok_and(|answer| answer.unwrap().status == StatusCode::CREATED));
        drop(client);
        if round % 10 == 0 {
            list_agrees(shop).await;
        }
    }
    // What is under way is finished: then it stands still.
    let mut last = -1;
    wait_until("nobody writes", async || {
        sleep(Duration::from_millis(100)).await;
        let orders = orders_of_6(shop).await;
        std::mem::replace(&mut last, orders) == orders
    })
    .await;
    let bought = async |product: i64| {
        let select = format!("SELECT COUNT(*) FROM order_lines WHERE product_id = {product}");
        (shop.number(&select).await, shop.read(&format!("/products/{product}/stock")).await)
    };
    let ((ones, ones_left), (others, others_left)) = (bought(one).await, bought(other).await);
    assert!(ones >= heard, "{ones} of {heard} that were answered");
    assert_eq!(ones, others);
    assert_eq!((ones_left, others_left), (json!(1_000 - ones), json!(1_000 - 2 * others)));
    let empty = "SELECT COUNT(*) FROM orders WHERE id NOT IN (SELECT order_id FROM order_lines) OR cents = 0";
    assert_eq!(shop.number(empty).await, 0);
    list_agrees(shop).await;
}

/// Until it does: who has hung up may be in the middle.
async fn list_agrees(shop: &Shop) {
    let select = "SELECT id FROM orders WHERE customer_id = 6 ORDER BY id DESC LIMIT 10";
    wait_until("the list is that of the database", async || {
        let listed = shop.read("/customers/6/orders").await;
        let ids: Vec<_> =
            listed.as_array().unwrap().iter().filter_map(|it| it["id"].as_i64()).collect();
        let whole = |order: &Value| !order["lines"].as_array().unwrap().is_empty();
        assert!(listed.as_array().unwrap().iter().all(whole), "{listed}");
        ids == sqlx::query_scalar::<Any, i64>(select).fetch_all(&shop.db).await.unwrap()
    })
    .await;
}

async fn orders_of_6(shop: &Shop) -> i64 {
    shop.number("SELECT COUNT(*) FROM orders WHERE customer_id = 6").await
}
