use fastrand::Rng;
use hyper::Method;
use serde_json::{Value, json};

use crate::{popularity::Popularity, shop::seed};

/// What a shop is asked for: of 100 requests 90 read, most of them what is popular.
pub(crate) struct Mix {
    products: Popularity,
    customers: u32,
    /// Tells the baskets of this mix from those of another.
    run: u64,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Product,
    List,
    Search,
    Categories,
    Profile,
    Orders,
    Stock,
    CheckOut,
    SetPrice,
    RenameCustomer,
    RenameProduct,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

const CATEGORIES: u32 = seed::CATEGORIES.len() as u32;

/// What is searched for; nothing has the last one.
const WORDS: [&str; 12] = [
    "oak",
    "red",
    "round%20glass",
    "wool",
    "dark%20walnut",
    "steel",
    "tall",
    "blue%20linen",
    "copper",
    "small%20pine",
    "folding",
    "plastic",
];

impl Mix {
    /// Of a shop with so many products, as its seeds make it.
    pub(crate) fn new(products: u32, run: u64) -> Self {
        Self { products: Popularity::new(products), customers: seed::customers(products), run }
    }

    pub(crate) fn next(&self, random: &mut Rng) -> Ask {
        let product = self.products.pick(random);
        // Few customers are here at a time.
        let customer = random.u32(1..=self.customers.min(500));
        // The first pages of few categories are those most look at.
        let category = 1 + random.u32(..CATEGORIES).min(random.u32(..CATEGORIES));
        match random.u32(..1000) {
            ..560 => get(Kind::Product, format!("/products/{product}")),
            560..690 => {
                let page = random.u32(..4).min(random.u32(..4));
                get(Kind::List, format!("/categories/{category}/products?page={page}"))
            }
            690..790 => {
                let words = WORDS[random.usize(..WORDS.len())];
                get(Kind::Search, format!("/search?category={category}&words={words}"))
            }
            790..840 => get(Kind::Categories, "/categories".to_owned()),
            840..870 => get(Kind::Profile, format!("/customers/{customer}")),
            870..890 => get(Kind::Orders, format!("/customers/{customer}/orders")),
            890..900 => get(Kind::Stock, format!("/products/{product}/stock")),
            900..915 => self.check_out(customer, product, random),
            915..940 => {
                let body = json!({ "cents": random.u32(100..100_000) });
                put(Kind::SetPrice, format!("/products/{product}/price"), body)
            }
            940..999 => {
                let body = json!({ "name": format!("Customer {}", random.u32(..)) });
                put(Kind::RenameCustomer, format!("/customers/{customer}"), body)
            }
            _ => {
                let body = json!({ "name": format!("renamed {}", random.u32(..)) });
                put(Kind::RenameProduct, format!("/products/{product}"), body)
            }
        }
    }

    fn check_out(&self, customer: u32, product: u32, random: &mut Rng) -> Ask {
        let body = json!({
            "id": format!("{:x}-{:x}", self.run, random.u64(..)),
            "lines": [{ "product": product, "quantity": 1 }],
        });
        Ask {
            kind: Kind::CheckOut,
            method: Method::POST,
            path: format!("/customers/{customer}/orders"),
            body: Some(body),
        }
    }
}

impl Kind {
    pub(crate) fn is_read(self) -> bool {
        !matches!(
            self,
            Self::CheckOut | Self::SetPrice | Self::RenameCustomer | Self::RenameProduct
        )
    }
}

fn get(kind: Kind, path: String) -> Ask {
    Ask { kind, method: Method::GET, path, body: None }
}

fn put(kind: Kind, path: String, body: Value) -> Ask {
    Ask { kind, method: Method::PUT, path, body: Some(body) }
}
