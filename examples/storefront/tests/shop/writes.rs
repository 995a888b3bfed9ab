use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Client, Shop, on_all_backends};

on_all_backends!(
    a_price_that_is_set_shows_at_once_on_the_page_and_in_lists,
    a_renamed_product_shows_in_lists_and_searches_of_its_category,
    a_renamed_product_drops_no_list_of_another_category,
    a_product_that_is_added_shows_in_lists_and_searches_at_once,
    a_renamed_customer_shows_at_once,
    no_reader_that_races_a_write_leaves_the_old_value,
);

async fn a_price_that_is_set_shows_at_once_on_the_page_and_in_lists(shop: &mut Shop) {
    let (list, search) = ("/categories/3/products", "/search?category=3&words=2");
    let id = shop.read(search).await[0]["product"]["id"].as_i64().unwrap();
    let price = async |path: &str| {
        let answer = shop.read(path).await;
        let items = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
        let item = items.into_iter().find(|item| item["product"]["id"] == id).unwrap();
        item["price"]["cents"].clone()
    };
    let page = format!("/products/{id}");
    for cents in 1..=30 {
        let answer = shop.put(&format!("{page}/price"), json!({ "cents": cents })).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json().unwrap()["cents"], cents);
        for path in [&page, list, search] {
            assert_eq!(price(path).await, cents, "{path}");
        }
    }
}

async fn a_renamed_product_shows_in_lists_and_searches_of_its_category(shop: &mut Shop) {
    let id = shop.add(14, "mmm quaint", 1).await;
    let (list, old, new) = (
        "/categories/14/products",
        "/search?category=14&words=quaint",
        "/search?category=14&words=novel",
    );
    assert!(has(&shop.read(list).await, id, "mmm quaint"));
    assert!(has(&shop.read(old).await, id, "mmm quaint"));
    assert_eq!(shop.read(new).await, json!([]));

    assert_eq!(rename(shop, id, "000 novel").await, StatusCode::OK);
    assert_eq!(shop.read(&format!("/products/{id}")).await["product"]["name"], "000 novel");
    assert_eq!(shop.read(list).await[0]["product"]["name"], "000 novel", "it comes first now");
    assert_eq!(shop.read(old).await, json!([]));
    assert!(has(&shop.read(new).await, id, "000 novel"));
}

async fn a_renamed_product_drops_no_list_of_another_category(shop: &mut Shop) {
    let mine = ["/categories/15/products", "/search?category=15&words=oak"];
    let others = ["/categories/16/products", "/search?category=16&words=oak"];
    for path in mine.iter().chain(&others) {
        shop.get(path).await;
    }
    let id = shop.read(mine[0]).await[0]["product"]["id"].as_i64().unwrap();
    assert_eq!(rename(shop, id, "another").await, StatusCode::OK);
    for path in others {
        assert_eq!(shop.queries_of(shop.get(path)).await.read, 0, "{path}");
    }
    for path in mine {
        assert!(shop.queries_of(shop.get(path)).await.read > 0, "{path}");
    }
}

async fn a_product_that_is_added_shows_in_lists_and_searches_at_once(shop: &mut Shop) {
    let paths = ["/categories/17/products", "/search?category=17&words=hovercraft"];
    for number in 0..10 {
        for path in paths {
            shop.get(path).await;
        }
        let name = format!("a hovercraft {number}");
        let id = shop.add(17, &name, 1).await;
        for path in paths {
            assert!(has(&shop.read(path).await, id, &name), "{path}");
        }
    }
}

async fn a_renamed_customer_shows_at_once(shop: &mut Shop) {
    for number in 0..20 {
        let name = format!("Customer the {number}th");
        let answer = shop.put("/customers/5", json!({ "name": name })).await;
        assert_eq!(answer.json().unwrap()["version"], number + 2);
        assert_eq!(shop.read("/customers/5").await["name"], name);
    }
}

async fn no_reader_that_races_a_write_leaves_the_old_value(shop: &mut Shop) {
    let address = shop.service.address;
    for round in 0..60 {
        let product = 20 + round % 5;
        let path = format!("/products/{product}");
        let price = format!("{path}/price");
        let readers = [(); 4].map(|()| {
            let path = path.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(address).await.unwrap();
                let mut last = 0;
                for _ in 0..20 {
                    let page = client.get(&path).await.unwrap().json().unwrap();
                    let version = page["price"]["version"].as_i64().unwrap();
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                }
            })
        });
        let mut writer = Client::connect(address).await.unwrap();
        for cents in 0..5 {
            let body = json!({ "cents": cents });
            let put = writer.ask(Method::PUT, &price, Some(&body)).await.unwrap();
            let written = put.json().unwrap()["version"].clone();
            let read = writer.get(&path).await.unwrap().json().unwrap();
            assert_eq!(read["price"]["version"], written);
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

fn has(items: &Value, id: i64, name: &str) -> bool {
    let mut items = items.as_array().unwrap().iter();
    items.any(|item| item["product"]["id"] == id && item["product"]["name"] == name)
}

async fn rename(shop: &Shop, id: i64, name: &str) -> StatusCode {
    shop.put(&format!("/products/{id}"), json!({ "name": name })).await.status
}
