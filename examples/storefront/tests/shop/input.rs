use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Shop, basket, basket_id, on_all_backends};

on_all_backends!(
    ids_that_are_none_are_refused,
    pages_that_are_none_are_refused,
    words_of_any_kind_are_searched_for,
    words_with_wildcards_find_what_has_these_letters,
    baskets_that_are_none_are_refused,
    bodies_that_are_none_are_refused,
    names_of_any_kind_are_kept_as_they_are,
);

const HUGE: &str = "9223372036854775807";

async fn ids_that_are_none_are_refused(shop: &mut Shop) {
    let ids = [
        "0",
        "-1",
        HUGE,
        "-9223372036854775808",
        "9223372036854775808",
        "x",
        "1.5",
        "%00",
        "1%20OR%201",
    ];
    for id in ids {
        for path in
            [format!("/products/{id}"), format!("/products/{id}/stock"), format!("/customers/{id}")]
        {
            let status = shop.get(&path).await.status;
            assert!(matches!(status.as_u16(), 400 | 404), "{path}: {status}");
        }
        for path in [
            format!("/categories/{id}/products"),
            format!("/customers/{id}/orders"),
            format!("/search?category={id}&words=oak"),
        ] {
            let answer = shop.get(&path).await;
            let is_empty = answer.status == 200 && answer.body == "[]";
            assert!(is_empty || answer.status == 400, "{path}: {answer:?}");
        }
        let name = json!({ "name": "another" });
        for (method, path, body) in [
            (Method::PUT, format!("/products/{id}"), name.clone()),
            (Method::PUT, format!("/products/{id}/price"), json!({ "cents": 1 })),
            (Method::PUT, format!("/customers/{id}"), name.clone()),
            (Method::POST, format!("/customers/{id}/orders"), basket(1, 1)),
            (
                Method::POST,
                format!("/categories/{id}/products"),
                json!({ "name": "n", "cents": 1, "quantity": 1 }),
            ),
        ] {
            let answer = shop.service.ask(method, &path, Some(body)).await;
            assert!(matches!(answer.status.as_u16(), 400 | 404), "{path}: {answer:?}");
        }
    }
}

async fn pages_that_are_none_are_refused(shop: &mut Shop) {
    for page in ["-1", "65536", HUGE, "x", "", "%00"] {
        let path = format!("/categories/1/products?page={page}");
        assert_eq!(shop.get(&path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(shop.read("/categories/1/products?page=65535").await, json!([]));
    for path in ["/search", "/search?category=1", "/search?words=oak"] {
        assert_eq!(shop.get(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

async fn words_of_any_kind_are_searched_for(shop: &mut Shop) {
    let long = "x".repeat(20_000);
    let many = "oak+".repeat(5_000);
    let different = (0..2_000).map(|number| number.to_string()).collect::<Vec<_>>().join("+");
    let words = [
        "",
        "+",
        "%20%20",
        "%25",
        "_",
        "!",
        "!!",
        "!%25",
        "'",
        "%22",
        "'%3B--",
        "%5C",
        "%5C%5C%25",
        "$1",
        "%00",
        "oak%00",
        "%FF",
        "%F0%9F%AA%91",
        "%C3%89T%C3%89",
        "%E2%80%AE",
        "%3Cb%3E",
        ":",
        "%7B%7D",
        &long,
        &many,
        &different,
    ];
    for words in words {
        let path = format!("/search?category=1&words={words}");
        let short: String = words.chars().take(40).collect();
        for _ in 0..2 {
            let status = shop.get(&path).await.status;
            assert!(status == 200 || status.is_client_error(), "{short}: {status}");
        }
    }
}

async fn words_with_wildcards_find_what_has_these_letters(shop: &mut Shop) {
    for name in ["100% wool", "snake_case", "hello!", "it's", "a \"quote\"", "back\\slash"] {
        shop.add(18, name, 1).await;
    }
    for (words, found) in [
        ("%25", vec!["100% wool"]),
        ("_", vec!["snake_case"]),
        ("!", vec!["hello!"]),
        ("'", vec!["it's"]),
        ("%22", vec!["a \"quote\""]),
        ("%5C", vec!["back\\slash"]),
        ("0%25", vec!["100% wool"]),
        ("s%25e", vec![]),
        ("snake.case", vec![]),
    ] {
        let items = shop.read(&format!("/search?category=18&words={words}")).await;
        let names = items.as_array().unwrap().iter().map(|item| item["product"]["name"].clone());
        assert_eq!(names.collect::<Vec<_>>(), found, "{words}");
    }
}

async fn baskets_that_are_none_are_refused(shop: &mut Shop) {
    let line = |product: i64, quantity: i64| json!({ "product": product, "quantity": quantity });
    let of = |lines: Value| json!({ "id": basket_id(), "lines": lines });
    let too_many: Vec<_> = (1..=101).map(|product| line(product, 1)).collect();
    let baskets = [
        of(json!([])),
        of(json!([line(1, 0)])),
        of(json!([line(1, -1)])),
        of(json!([line(1, 101)])),
        of(json!([line(1, i64::MAX)])),
        of(json!([line(1, 1), line(1, 1)])),
        of(json!(too_many)),
        of(json!([line(0, 1)])),
        of(json!([line(-1, 1)])),
        of(json!([line(i64::MAX, 1)])),
        of(json!([{ "product": 1 }])),
        of(json!([{ "product": "1", "quantity": 1 }])),
        of(json!([{ "product": 1, "quantity": 1.5 }])),
        json!({ "id": basket_id(), "lines": [line(1, 1)], "cents": -1 }),
        json!({ "id": basket_id(), "lines": [line(1, 1)], "cents": i64::MAX }),
        json!({ "id": basket_id(), "lines": [line(1, 1)], "cents": 1e300 }),
        json!({ "id": "", "lines": [line(1, 1)] }),
        json!({ "id": "nul \0 in it", "lines": [line(1, 1)] }),
        json!({ "id": "x".repeat(100_000), "lines": [line(1, 1)] }),
        json!({ "id": 5, "lines": [line(1, 1)] }),
        json!({ "lines": [line(1, 1)] }),
    ];
    let before = shop.number("SELECT COUNT(*) FROM orders").await;
    for basket in baskets {
        let short: String = basket.to_string().chars().take(120).collect();
        let answer = shop.post("/customers/1/orders", basket).await;
        assert!(answer.status.is_client_error(), "{short}: {answer:?}");
    }
    assert_eq!(shop.number("SELECT COUNT(*) FROM orders").await, before);
    assert_eq!(shop.read("/products/1/stock").await, 1_000_000);
}

async fn bodies_that_are_none_are_refused(shop: &mut Shop) {
    let routes = [
        (Method::PUT, "/products/1"),
        (Method::PUT, "/products/1/price"),
        (Method::PUT, "/customers/1"),
        (Method::POST, "/categories/1/products"),
        (Method::POST, "/customers/1/orders"),
        (Method::POST, "/login"),
        (Method::POST, "/live/invalidate"),
        (Method::POST, "/live/redis"),
        (Method::POST, "/live/requests"),
    ];
    let bodies = [
        Value::Null,
        json!([]),
        json!("x"),
        json!({ "name": null, "cents": null, "email": null, "count": null }),
        json!({ "name": 5, "cents": -1, "quantity": 1, "email": "a", "password": "b\0", "count": -1 }),
        json!({ "name": {}, "cents": 4_294_967_296_u64, "email": 1, "count": 1.5 }),
        json!({ "name": "nul \0", "cents": "1", "quantity": 1, "email": "nul \0", "password": "x" }),
        json!("x".repeat(3_000_000)),
    ];
    for (method, path) in routes {
        assert!(shop.service.ask(method.clone(), path, None).await.status.is_client_error());
        for body in &bodies {
            let answer = shop.service.ask(method.clone(), path, Some(body.clone())).await;
            let short: String = body.to_string().chars().take(60).collect();
            assert!(answer.status.is_client_error(), "{method} {path} {short}: {answer:?}");
        }
    }
    let wrong_methods =
        [(Method::DELETE, "/products/1"), (Method::POST, "/products/1"), (Method::PUT, "/live")];
    for (method, path) in wrong_methods {
        let answer = shop.service.ask(method, path, None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

async fn names_of_any_kind_are_kept_as_they_are(shop: &mut Shop) {
    for name in
        ["'; DROP TABLE products; --", "<b>", "{}", "%s $1", "é 🪑 \u{202e}", "\"\\", "a\nb\t"]
    {
        let body = json!({ "name": name });
        for path in ["/products/2", "/customers/2"] {
            assert_eq!(shop.put(path, body.clone()).await.status, StatusCode::OK, "{name}");
        }
        assert_eq!(shop.read("/products/2").await["product"]["name"], name);
        assert_eq!(shop.read("/customers/2").await["name"], name);
        let id = shop.add(19, name, 1).await;
        assert_eq!(shop.read(&format!("/products/{id}")).await["product"]["name"], name);
    }
}
