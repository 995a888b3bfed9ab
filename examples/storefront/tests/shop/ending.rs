use hyper::{Method, StatusCode};
use tokio::task::block_in_place;

use super::hanging_up::{block, unblock, wait_for_a_write};
use crate::common::{Client, Shop, basket, on_all_backends, wait_until};

on_all_backends!(
    it_ends_when_it_is_told_to,
    it_ends_when_it_is_told_to_the_moment_it_has_begun,
    who_is_connected_and_says_nothing_is_not_waited_for,
    who_is_being_answered_when_it_ends_is_answered,
    what_is_written_for_nobody_when_it_ends_is_written,
    what_was_ordered_is_there_when_it_is_started_again,
);

async fn it_ends_when_it_is_told_to(shop: &mut Shop) {
    shop.get("/products/1").await;
    shop.service.terminate();
    assert_ended(shop);
}

async fn it_ends_when_it_is_told_to_the_moment_it_has_begun(shop: &mut Shop) {
    for _ in 0..5 {
        shop.service = shop.second();
        shop.service.terminate();
        assert_ended(shop);
    }
}

async fn who_is_connected_and_says_nothing_is_not_waited_for(shop: &mut Shop) {
    let mut client = Client::connect(shop.service.address).await.unwrap();
    client.get("/products/1").await.unwrap();
    let _silent = Client::connect(shop.service.address).await.unwrap();
    shop.service.terminate();
    assert_ended(shop);
}

async fn who_is_being_answered_when_it_ends_is_answered(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    let blocked = block(shop, 5).await;
    let writes = shop.service.queries().await.write;
    let address = shop.service.address;
    let sent = tokio::spawn(async move {
        let mut client = Client::connect(address).await.unwrap();
        client.ask(Method::POST, "/customers/5/orders", Some(&basket(product, 1))).await.unwrap()
    });
    wait_for_a_write(shop, writes).await;
    shop.service.terminate();
    // It takes nobody more.
    wait_until("it listens no more", async || Client::connect(address).await.is_err()).await;
    unblock(blocked).await;
    assert_eq!(sent.await.unwrap().status, StatusCode::CREATED);
    assert_ended(shop);
}

async fn what_is_written_for_nobody_when_it_ends_is_written(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    let blocked = block(shop, 5).await;
    let writes = shop.service.queries().await.write;
    let address = shop.service.address;
    let sent = tokio::spawn(async move {
        let mut client = Client::connect(address).await.unwrap();
        client.ask(Method::POST, "/customers/5/orders", Some(&basket(product, 1))).await
    });
    wait_for_a_write(shop, writes).await;
    sent.abort();
    let _ = sent.await;
    shop.service.terminate();
    wait_until("it listens no more", async || Client::connect(address).await.is_err()).await;
    unblock(blocked).await;
    assert_ended(shop);
    let lines = format!("SELECT COUNT(*) FROM order_lines WHERE product_id = {product}");
    assert_eq!(shop.number(&lines).await, 1);
}

async fn what_was_ordered_is_there_when_it_is_started_again(shop: &mut Shop) {
    let product = shop.add(1, "a thing", 10).await;
    shop.post("/customers/5/orders", basket(product, 1)).await;
    let before = shop.read("/customers/5/orders").await;
    shop.service.terminate();
    assert_ended(shop);
    shop.service = shop.second();
    assert_eq!(shop.read("/customers/5/orders").await, before);
    assert_eq!(shop.number("SELECT COUNT(*) FROM products").await, 501, "it makes no more of them");
}

fn assert_ended(shop: &mut Shop) {
    let (status, said) = block_in_place(|| shop.service.ended());
    assert_eq!((status.code(), &said[..]), (Some(0), &["ended".to_owned()][..]));
}
