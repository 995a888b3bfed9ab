use hyper::StatusCode;
use serde_json::{Value, json};

use crate::common::{PRODUCTS, Shop, on_all_backends};

on_all_backends!(
    a_second_read_makes_no_query,
    a_second_read_is_counted_as_a_hit_of_its_function,
    a_list_takes_three_queries_and_its_products_are_cached_from_then_on,
    many_who_ask_at_once_are_one_query,
    the_stock_is_read_from_the_database_each_time,
    a_change_that_the_service_does_not_know_of_is_seen_after_an_invalidation,
    a_product_that_was_not_there_is_found_once_it_is_added,
    nothing_found_is_remembered,
    words_in_another_order_are_one_search,
);

/// None of these has anything of another.
const PATHS: [&str; 9] = [
    "/categories",
    "/products/1",
    "/categories/4/products?page=0",
    "/categories/5/products?page=1",
    "/search?category=6&words=oak",
    "/search?category=6&words=plastic",
    "/customers/1",
    "/customers/2/orders",
    "/products/100000",
];

async fn a_second_read_makes_no_query(shop: &mut Shop) {
    for path in PATHS {
        let first = shop.queries_of(shop.get(path)).await;
        assert!(first.read > 0, "{path}");
        for _ in 0..3 {
            let second = shop.queries_of(shop.get(path)).await;
            assert_eq!((second.read, second.write), (0, 0), "{path}");
        }
    }
}

async fn a_second_read_is_counted_as_a_hit_of_its_function(shop: &mut Shop) {
    let functions = [
        ("categories", "/categories"),
        ("products, one", "/products/1"),
        ("bought with it", "/products/1"),
        ("prices, one", "/products/1"),
        ("pages of a category", "/categories/4/products"),
        ("products, many", "/categories/4/products"),
        ("prices, many", "/categories/4/products"),
        ("search", "/search?category=6&words=oak"),
        ("profiles", "/customers/1"),
        ("orders of a customer", "/customers/2/orders"),
        ("orders, many", "/customers/2/orders"),
    ];
    // A customer without orders would have nothing to look up.
    let bought = json!({ "id": "hits", "lines": [{ "product": 1, "quantity": 1 }] });
    assert_eq!(shop.post("/customers/2/orders", bought).await.status, StatusCode::CREATED);
    for (function, path) in functions {
        shop.get(path).await;
        let before = shop.counted(function).await;
        shop.get(path).await;
        let after = shop.counted(function).await;
        // Redis answers as long as it is not sure that messages arrive.
        let hits = |counted: &Value| {
            counted["memory"].as_i64().unwrap() + counted["redis"].as_i64().unwrap()
        };
        assert!(hits(&after) > hits(&before), "{function}");
        assert_eq!(after["runs"], before["runs"], "{function}");
        assert_eq!(after["misses"], before["misses"], "{function}");
    }
}

async fn a_list_takes_three_queries_and_its_products_are_cached_from_then_on(shop: &mut Shop) {
    // Its ids, their products, their prices.
    let list = shop.queries_of(shop.get("/categories/9/products")).await;
    assert_eq!(list.read, 3);
    let items = shop.read("/categories/9/products").await;
    let id = items[0]["product"]["id"].as_i64().unwrap();
    // The page has one query that the list has not: what was bought with it. And what is in that list.
    let path = format!("/products/{id}");
    let page = shop.queries_of(shop.get(&path)).await;
    assert!((1..=3).contains(&page.read), "{page:?}");
    let all = [shop.counted("products, one").await, shop.counted("prices, one").await];
    assert!(all.iter().all(|counted| counted["runs"] == 0), "{all:?}");
}

async fn many_who_ask_at_once_are_one_query(shop: &mut Shop) {
    for customer in 10..40 {
        let path = format!("/customers/{customer}");
        let asked = shop.queries_of(async {
            let asked = [(); 8].map(|()| {
                let (address, path) = (shop.service.address, path.clone());
                tokio::spawn(async move {
                    let mut client = crate::common::Client::connect(address).await.unwrap();
                    client.get(&path).await.unwrap().status
                })
            });
            for asked in asked {
                assert_eq!(asked.await.unwrap(), StatusCode::OK);
            }
        });
        assert_eq!(asked.await.read, 1, "{path}");
    }
}

async fn the_stock_is_read_from_the_database_each_time(shop: &mut Shop) {
    let path = "/products/7/stock";
    shop.get("/products/7").await;
    for quantity in [5, 3, 0, 12] {
        shop.change(&format!("UPDATE stock SET quantity = {quantity} WHERE product_id = 7")).await;
        assert_eq!(shop.read(path).await, quantity);
        assert_eq!(shop.queries_of(shop.get(path)).await.read, 1);
    }
}

async fn a_change_that_the_service_does_not_know_of_is_seen_after_an_invalidation(shop: &mut Shop) {
    let name = async |shop: &Shop| {
        let (product, customer) = (shop.read("/products/8").await, shop.read("/customers/8").await);
        [&product["product"]["name"], &customer["name"]].map(Value::to_string)
    };
    let before = name(shop).await;
    for (number, what) in [json!("all"), json!({ "key": "product:8" })].into_iter().enumerate() {
        let now = format!("now {number}");
        shop.change(&format!("UPDATE products SET name = '{now}' WHERE id = 8")).await;
        assert_ne!(name(shop).await[0], json!(now).to_string(), "it is cached");
        assert_eq!(shop.post("/live/invalidate", what).await.status, StatusCode::OK);
        assert_eq!(name(shop).await, [json!(now).to_string(), before[1].clone()]);
    }
}

async fn a_product_that_was_not_there_is_found_once_it_is_added(shop: &mut Shop) {
    for id in PRODUCTS + 1..PRODUCTS + 6 {
        let path = format!("/products/{id}");
        for _ in 0..2 {
            assert_eq!(shop.get(&path).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(shop.queries_of(shop.get(&path)).await.read, 0, "that it is not is remembered");
        assert_eq!(shop.add(11, "the newest", 3).await, id);
        let page = shop.read(&path).await;
        assert_eq!(page["product"]["name"], "the newest");
        assert_eq!(page["price"]["cents"], 1_000);
        assert_eq!(shop.read(&format!("{path}/stock")).await, 3);
    }
}

async fn nothing_found_is_remembered(shop: &mut Shop) {
    let path = "/search?category=12&words=submarine";
    assert_eq!(shop.queries_of(shop.get(path)).await.read, 1);
    assert_eq!(shop.queries_of(shop.get(path)).await.read, 0);
    assert_eq!(shop.read(path).await, json!([]));
    // Until there is one.
    let id = shop.add(12, "yellow submarine", 1).await;
    assert_eq!(shop.read(path).await[0]["product"]["id"], id);
}

async fn words_in_another_order_are_one_search(shop: &mut Shop) {
    shop.add(13, "A Large Red Lamp", 1).await;
    let found = shop.read("/search?category=13&words=lamp+red").await;
    assert_eq!(found[0]["product"]["name"], "A Large Red Lamp");
    for words in ["Red%20%20LAMP", "red+lamp+red", "%09lamp%0ared"] {
        let path = format!("/search?category=13&words={words}");
        assert_eq!(shop.queries_of(shop.get(&path)).await.read, 0, "{words}");
        assert_eq!(shop.read(&path).await, found);
    }
}
