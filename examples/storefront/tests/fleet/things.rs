//! Things that are written through one instance and read through another: each has a number that grows with each write.

use std::net::SocketAddr;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Answer, Client, basket};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Price(i64),
    PriceInAList(i64),
    Name(i64),
    Profile(i64),
    Orders(i64),
}

impl Thing {
    /// Writes the next one, and says which it is.
    pub(super) async fn write(self, client: &mut Client) -> i64 {
        let (method, path, body, number) = match self {
            Self::Price(product) | Self::PriceInAList(product) => {
                let path = format!("/products/{product}/price");
                (Method::PUT, path, json!({ "cents": 1 }), "/version")
            }
            Self::Name(product) => {
                (Method::PUT, format!("/products/{product}"), json!({ "name": "x" }), "/version")
            }
            Self::Profile(customer) => {
                (Method::PUT, format!("/customers/{customer}"), json!({ "name": "x" }), "/version")
            }
            Self::Orders(customer) => {
                (Method::POST, format!("/customers/{customer}/orders"), basket(1, 1), "/order")
            }
        };
        let answer = client.ask(method, &path, Some(&body)).await.unwrap();
        self.number(&answer, number)
    }

    pub(super) async fn read(self, client: &mut Client) -> i64 {
        let (path, number) = match self {
            Self::Price(product) => (format!("/products/{product}"), "/price/version".to_owned()),
            Self::PriceInAList(product) => {
                // The category of that product, in the order of names.
                let path = format!("/categories/{}/products", product % 40 + 1);
                let answer = client.get(&path).await.unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{path}");
                let items = answer.json().unwrap();
                let is_it = |item: &&Value| item["product"]["id"] == product;
                let item = items.as_array().unwrap().iter().find(is_it).unwrap();
                return item["price"]["version"].as_i64().unwrap();
            }
            Self::Name(product) => (format!("/products/{product}"), "/product/version".to_owned()),
            Self::Profile(customer) => (format!("/customers/{customer}"), "/version".to_owned()),
            Self::Orders(customer) => (format!("/customers/{customer}/orders"), "/0/id".to_owned()),
        };
        let answer = client.get(&path).await.unwrap();
        self.number(&answer, &number)
    }

    fn number(self, answer: &Answer, number: &str) -> i64 {
        assert!(answer.status.is_success(), "{self:?}: {answer:?}");
        // A customer may have no order yet.
        answer.json().unwrap().pointer(number).map_or(0, |number| number.as_i64().unwrap())
    }
}

pub(super) async fn connect(address: SocketAddr) -> Client {
    Client::connect(address).await.unwrap()
}
