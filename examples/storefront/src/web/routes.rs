//! What is asked for, put together from what the repositories have. Nothing here knows what is cached.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use tokio::try_join;

use super::{App, error::AppError, text::Text};
use crate::{
    db,
    shop::{
        Shop,
        categories::Category,
        checkout::{Basket, Receipt},
        customers::Customer,
        orders::Order,
        prices::Price,
        products::Product,
    },
};

type Answer<T> = Result<Json<T>, AppError>;

/// A product in a list.
#[derive(Serialize)]
pub(super) struct Item {
    product: Arc<Product>,
    price: Option<Price>,
}

/// The page of a product. How many there are is not on it: it is asked for by who is about to buy, at
/// `/products/{id}/stock`.
#[derive(Serialize)]
pub(super) struct ProductPage {
    product: Arc<Product>,
    price: Option<Price>,
    bought_with: Vec<Item>,
}

pub(super) async fn categories(State(app): State<App>) -> Answer<Arc<Vec<Category>>> {
    Ok(Json(app.0.shop.categories.clone().all().await?))
}

pub(super) async fn product(State(app): State<App>, Path(id): Path<i64>) -> Answer<ProductPage> {
    let Shop { products, prices, .. } = &app.0.shop;
    let (product, price, bought_with) =
        try_join!(products.find(id), prices.find(id), products.clone().bought_with(id))?;
    let product = product.ok_or(AppError::NotFound)?;
    let bought_with = items(&app.0.shop, &bought_with).await?;
    Ok(Json(ProductPage { product, price, bought_with }))
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    page: u16,
}

pub(super) async fn page(
    State(app): State<App>,
    Path(category): Path<i64>,
    Query(Page { page }): Query<Page>,
) -> Answer<Vec<Item>> {
    let ids = app.0.shop.products.page(category, page.into()).await?;
    Ok(Json(items(&app.0.shop, &ids).await?))
}

#[derive(Deserialize)]
pub(super) struct Words {
    category: i64,
    words: Text,
}

pub(super) async fn search(
    State(app): State<App>,
    Query(Words { category, words }): Query<Words>,
) -> Answer<Vec<Item>> {
    let Some(ids) = app.0.shop.search.find(category, &words).await? else {
        return Ok(Json(Vec::new()));
    };
    Ok(Json(items(&app.0.shop, &ids).await?))
}

/// In the order of the ids.
async fn items(shop: &Shop, ids: &[i64]) -> db::Result<Vec<Item>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (products, mut prices) = try_join!(shop.products.find_all(ids), shop.prices.find_all(ids))?;
    let items = ids.iter().filter_map(|id| {
        let product = Arc::clone(products.get(id)?);
        Some(Item { product, price: prices.remove(id) })
    });
    Ok(items.collect())
}

pub(super) async fn stock(State(app): State<App>, Path(id): Path<i64>) -> Answer<i64> {
    Ok(Json(app.0.shop.stock.of(id).await?.ok_or(AppError::NotFound)?))
}

pub(super) async fn customer(State(app): State<App>, Path(id): Path<i64>) -> Answer<Customer> {
    Ok(Json(app.0.shop.customers.find(id).await?.ok_or(AppError::NotFound)?))
}

pub(super) async fn orders(State(app): State<App>, Path(id): Path<i64>) -> Answer<Vec<Arc<Order>>> {
    let orders = &app.0.shop.orders;
    let ids = orders.latest(id).await?;
    if ids.is_empty() {
        return Ok(Json(Vec::new()));
    }
    let mut found = orders.find_all(&ids).await?;
    Ok(Json(ids.iter().filter_map(|id| found.remove(id)).collect()))
}

#[derive(Deserialize)]
pub(super) struct NewPrice {
    cents: u32,
}

pub(super) async fn set_price(
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(NewPrice { cents }): Json<NewPrice>,
) -> Answer<Price> {
    let prices = app.0.shop.prices.clone();
    let price = app.write(async move { prices.set(id, cents.into()).await }).await?;
    Ok(Json(price.ok_or(AppError::NotFound)?))
}

#[derive(Deserialize)]
pub(super) struct NewName {
    name: Text,
}

pub(super) async fn rename_product(
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(NewName { name }): Json<NewName>,
) -> Answer<Product> {
    let products = app.0.shop.products.clone();
    let product = app.write(async move { products.rename(id, &name).await }).await?;
    Ok(Json(product.ok_or(AppError::NotFound)?))
}

#[derive(Deserialize)]
pub(super) struct NewProduct {
    name: Text,
    cents: u32,
    quantity: u32,
}

pub(super) async fn add_product(
    State(app): State<App>,
    Path(category): Path<i64>,
    Json(NewProduct { name, cents, quantity }): Json<NewProduct>,
) -> Result<(StatusCode, Json<Product>), AppError> {
    let products = app.0.shop.products.clone();
    let add = async move { products.add(category, &name, cents.into(), quantity.into()).await };
    Ok((StatusCode::CREATED, Json(app.write(add).await?)))
}

pub(super) async fn rename_customer(
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(NewName { name }): Json<NewName>,
) -> Answer<Customer> {
    let customers = app.0.shop.customers.clone();
    let customer = app.write(async move { customers.rename(id, &name).await }).await?;
    Ok(Json(customer.ok_or(AppError::NotFound)?))
}

pub(super) async fn check_out(
    State(app): State<App>,
    Path(customer): Path<i64>,
    Json(basket): Json<Basket>,
) -> Result<(StatusCode, Json<Receipt>), AppError> {
    let orders = app.0.shop.orders.clone();
    let receipt = app.write(async move { orders.check_out(customer, basket).await }).await?;
    Ok((StatusCode::CREATED, Json(receipt)))
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    email: Text,
    password: Text,
}

pub(super) async fn log_in(
    State(app): State<App>,
    Json(Credentials { email, password }): Json<Credentials>,
) -> Answer<Customer> {
    Ok(Json(app.0.shop.customers.log_in(&email, password.into()).await?))
}
