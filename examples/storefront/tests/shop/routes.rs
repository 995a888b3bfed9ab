use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Shop, basket, on_all_backends};

on_all_backends!(
    every_route_answers,
    what_there_is_not_is_not_found,
    a_list_has_its_products_by_name_and_page_after_page,
);

async fn every_route_answers(shop: &mut Shop) {
    let paths = [
        "/",
        "/live",
        "/live/page.css",
        "/live/page.js",
        "/metrics",
        "/categories",
        "/categories/7/products",
        "/categories/7/products?page=1",
        "/products/42",
        "/products/42/stock",
        "/search?category=7&words=oak",
        "/customers/3",
        "/customers/3/orders",
    ];
    for path in paths {
        let answer = shop.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    let writes = [
        (Method::PUT, "/products/42", json!({ "name": "another" }), 200),
        (Method::PUT, "/products/42/price", json!({ "cents": 5 }), 200),
        (Method::PUT, "/customers/3", json!({ "name": "Another" }), 200),
        (
            Method::POST,
            "/categories/7/products",
            json!({ "name": "n", "cents": 1, "quantity": 1 }),
            201,
        ),
        (Method::POST, "/customers/3/orders", basket(42, 1), 201),
        (
            Method::POST,
            "/login",
            json!({ "email": "customer3@example.com", "password": "larder" }),
            200,
        ),
        (Method::POST, "/live/invalidate", json!({ "key": "product:42" }), 200),
        (Method::POST, "/live/invalidate", json!({ "tag": "category:7" }), 200),
        (Method::POST, "/live/invalidate", json!("all"), 200),
        (Method::POST, "/live/requests", json!({ "count": 100 }), 200),
    ];
    for (method, path, body, status) in writes {
        let answer = shop.service.ask(method, path, Some(body)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    let page = shop.read("/products/42").await;
    assert_eq!((&page["product"]["name"], &page["price"]["cents"]), (&json!("another"), &json!(5)));
    assert_eq!(shop.read("/customers/3").await["name"], "Another");
}

async fn what_there_is_not_is_not_found(shop: &mut Shop) {
    for path in ["/products/501", "/products/501/stock", "/customers/251", "/no/such/thing"] {
        assert_eq!(shop.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let name = json!({ "name": "another" });
    let writes = [
        (Method::PUT, "/products/501", name.clone()),
        (Method::PUT, "/products/501/price", json!({ "cents": 1 })),
        (Method::PUT, "/customers/251", name),
        (Method::POST, "/customers/251/orders", basket(1, 1)),
        (
            Method::POST,
            "/categories/41/products",
            json!({ "name": "n", "cents": 1, "quantity": 1 }),
        ),
    ];
    for (method, path, body) in writes {
        let answer = shop.service.ask(method, path, Some(body)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {answer:?}");
    }
}

async fn a_list_has_its_products_by_name_and_page_after_page(shop: &mut Shop) {
    for number in 0..40 {
        shop.add(5, &format!("zz {number:02}"), 1).await;
    }
    let mut names = Vec::new();
    for page in 0..4 {
        let items = shop.read(&format!("/categories/5/products?page={page}")).await;
        let items = items.as_array().unwrap().clone();
        assert_eq!(items.len(), [24, 24, 5, 0][page]);
        names.extend(items.iter().map(name));
    }
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names.len(), 53);
}

fn name(item: &Value) -> String {
    item["product"]["name"].as_str().unwrap().to_owned()
}
