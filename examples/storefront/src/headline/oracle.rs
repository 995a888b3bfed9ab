//! Compares each answer with what the database held. All writes come from the load, so it is known what was when;
//! an answer is right if it is what the database held when it was asked for, or as long before as is promised.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use super::{drive::Record, history::History};
use crate::{
    db::Db,
    load::Kind,
    shop::{
        categories::Category,
        checkout::Receipt,
        customers::Customer,
        orders::Order,
        prices::Price,
        products::{PAGE, Product},
    },
};

/// Of the lists it is only tried how old they are.
const TRIED: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];

/// More ways in which a list may have been made are not tried.
const MOST_WAYS: usize = 1 << 12;

/// What is in the database at first, and what becomes of it.
#[derive(Clone)]
pub(super) struct Oracle {
    categories: Vec<Category>,
    /// Of each category, its products.
    members: HashMap<i64, Vec<i64>>,
    products: HashMap<i64, Product>,
    names: HashMap<i64, History<String>>,
    prices: HashMap<i64, History<i64>>,
    stock: HashMap<i64, i64>,
    sold: HashMap<i64, Vec<(Instant, Instant)>>,
    customers: HashMap<i64, History<String>>,
    /// Of each customer, the oldest first.
    orders: HashMap<i64, Vec<Ordered>>,
    bought_with: HashMap<i64, Vec<i64>>,
}

#[derive(Debug, Clone)]
struct Ordered {
    id: i64,
    lines: Vec<(i64, i64, i64)>,
    made: Option<(Instant, Instant)>,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checked {
    pub(super) answers: u64,
    /// Those of them that had something which had been changed before it was asked for.
    pub(super) old: u64,
    /// Of these the oldest.
    pub(super) oldest: Duration,
}

#[derive(Deserialize)]
struct Item {
    product: Product,
    price: Option<Price>,
}

#[derive(Deserialize)]
struct ProductPage {
    product: Product,
    price: Option<Price>,
    bought_with: Vec<Item>,
}

impl Oracle {
    /// What the seeds have made.
    pub(super) async fn read(db: &Db) -> anyhow::Result<Self> {
        let names: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, name FROM categories ORDER BY name")
                .fetch_all(db.read())
                .await?;
        let select = "SELECT id, category_id, name, description, version FROM products";
        let products: Vec<Product> = sqlx::query_as(select).fetch_all(db.read()).await?;
        let select = "SELECT product_id, cents, version FROM prices";
        let prices: Vec<Price> = sqlx::query_as(select).fetch_all(db.read()).await?;
        let select = "SELECT product_id, quantity FROM stock";
        let stock: Vec<(i64, i64)> = sqlx::query_as(select).fetch_all(db.read()).await?;
        let select = "SELECT id, email, name, version FROM customers";
        let customers: Vec<Customer> = sqlx::query_as(select).fetch_all(db.read()).await?;
        let select = "SELECT id, customer_id FROM orders ORDER BY id";
        let orders: Vec<(i64, i64)> = sqlx::query_as(select).fetch_all(db.read()).await?;
        let select = "SELECT order_id, product_id, quantity, cents FROM order_lines ORDER BY order_id, product_id";
        let lines: Vec<(i64, i64, i64, i64)> = sqlx::query_as(select).fetch_all(db.read()).await?;

        let mut members = HashMap::<_, Vec<_>>::new();
        for product in &products {
            members.entry(product.category_id).or_default().push(product.id);
        }
        let count = |id: i64| members.get(&id).map_or(0, |members| count(members.iter()));
        let categories = names
            .into_iter()
            .map(|(id, name)| Category { id, name, products: count(id) })
            .collect();
        let mut lines_of = HashMap::<_, Vec<_>>::new();
        for (order, product, quantity, cents) in lines {
            lines_of.entry(order).or_default().push((product, quantity, cents));
        }
        let bought_with = bought_with(&lines_of);
        let mut orders_of = HashMap::<_, Vec<_>>::new();
        for (id, customer) in orders {
            let lines = lines_of.remove(&id).unwrap_or_default();
            orders_of.entry(customer).or_default().push(Ordered { id, lines, made: None });
        }
        let name = |product: &Product| (product.id, History::new(product.name.clone()));
        Ok(Self {
            categories,
            members,
            names: products.iter().map(name).collect(),
            products: products.into_iter().map(|product| (product.id, product)).collect(),
            prices: prices
                .iter()
                .map(|price| (price.product_id, History::new(price.cents)))
                .collect(),
            stock: stock.into_iter().collect(),
            sold: HashMap::new(),
            customers: customers.into_iter().map(|one| (one.id, History::new(one.name))).collect(),
            orders: orders_of,
            bought_with,
        })
    }

    /// Fails at the first answer that is wrong, or older than promised.
    pub(super) fn check(&self, records: &[Record], promised: Duration) -> anyhow::Result<Checked> {
        let mut after = self.clone();
        for record in records {
            after.write(record).with_context(|| record.said())?;
        }
        for orders in after.orders.values_mut() {
            orders.sort_by_key(|order| order.id);
        }
        let mut checked = Checked::default();
        for record in records.iter().filter(|record| record.ask.kind.is_read()) {
            let age = after.age(record).with_context(|| record.said())?;
            ensure!(age <= promised, "{age:?} too old: {}", record.said());
            checked.answers += 1;
            checked.old += u64::from(!age.is_zero());
            checked.oldest = checked.oldest.max(age);
        }
        Ok(checked)
    }

    fn write(&mut self, record: &Record) -> anyhow::Result<()> {
        let (began, ended) = (record.began, record.ended);
        match record.ask.kind {
            Kind::SetPrice => {
                let Price { product_id, cents, version } = record.json()?;
                let price = self.prices.get_mut(&product_id).context("no such product")?;
                price.write(usize::try_from(version)?, cents, began, ended);
            }
            Kind::RenameProduct => {
                let Product { id, name, version, .. } = record.json()?;
                let names = self.names.get_mut(&id).context("no such product")?;
                names.write(usize::try_from(version)?, name, began, ended);
            }
            Kind::RenameCustomer => {
                let Customer { id, name, version, .. } = record.json()?;
                let customer = self.customers.get_mut(&id).context("no such customer")?;
                customer.write(usize::try_from(version)?, name, began, ended);
            }
            Kind::CheckOut => {
                let Receipt { order, cents } = record.json()?;
                let line = record
                    .ask
                    .body
                    .as_ref()
                    .and_then(|basket| basket["lines"][0]["product"].as_i64());
                let product = line.context("no product")?;
                self.sold.entry(product).or_default().push((began, ended));
                let lines = vec![(product, 1, cents)];
                let made = Some((began, ended));
                let orders = self.orders.entry(record.id()?).or_default();
                orders.push(Ordered { id: order, lines, made });
            }
            _ => {}
        }
        Ok(())
    }

    /// How long what was answered had been something else. An error if it never was that.
    fn age(&self, record: &Record) -> anyhow::Result<Duration> {
        match record.ask.kind {
            Kind::Product => self.product_page(record),
            Kind::List => self.list(record, |names| {
                let page: usize = record.parameter("page").context("no page")?.parse()?;
                let page_size = usize::try_from(PAGE)?;
                Ok(names.iter().skip(page * page_size).take(page_size).map(|(_, id)| *id).collect())
            }),
            Kind::Search => self.list(record, |names| {
                let words = record.parameter("words").context("no words")?;
                let words: Vec<_> = words.split("%20").collect();
                let has_all =
                    |name: &str| words.iter().all(|word| name.to_lowercase().contains(word));
                let found = names.iter().filter(|(name, _)| has_all(name)).map(|(_, id)| *id);
                Ok(found.take(usize::try_from(PAGE)?).collect())
            }),
            Kind::Categories => {
                let categories: Vec<Category> = record.json()?;
                ensure!(categories == self.categories, "other categories");
                Ok(Duration::ZERO)
            }
            Kind::Profile => {
                let Customer { id, name, version, .. } = record.json()?;
                ensure!(id == record.id()?, "another customer");
                let history = self.customers.get(&id).context("no such customer")?;
                age(history, version, &name, record)
            }
            Kind::Orders => self.orders(record),
            Kind::Stock => self.stock(record),
            _ => Ok(Duration::ZERO),
        }
    }

    fn product_page(&self, record: &Record) -> anyhow::Result<Duration> {
        let ProductPage { product, price, bought_with } = record.json()?;
        ensure!(product.id == record.id()?, "another product");
        let with: Vec<_> = bought_with.iter().map(|item| item.product.id).collect();
        let expected = self.bought_with.get(&product.id).map_or(&[][..], |with| with);
        ensure!(with == expected, "bought with {expected:?}");
        let own = self.item(&Item { product, price }, record)?;
        Ok(self.items(&bought_with, record)?.max(own))
    }

    fn items(&self, items: &[Item], record: &Record) -> anyhow::Result<Duration> {
        let mut oldest = Duration::ZERO;
        for item in items {
            oldest = oldest.max(self.item(item, record)?);
        }
        Ok(oldest)
    }

    fn item(&self, item: &Item, record: &Record) -> anyhow::Result<Duration> {
        let Item { product, price } = item;
        let first = self.products.get(&product.id).context("no such product")?;
        let is_same =
            (product.category_id, &product.description) == (first.category_id, &first.description);
        ensure!(is_same, "another category or description");
        let names = self.names.get(&product.id).context("no such product")?;
        let price = price.as_ref().context("no price")?;
        ensure!(price.product_id == product.id, "the price of another product");
        let prices = self.prices.get(&product.id).context("no such product")?;
        let name_age = age(names, product.version, &product.name, record)?;
        Ok(age(prices, price.version, &price.cents, record)?.max(name_age))
    }

    /// A list whose ids are taken from the names of its category, in their order.
    fn list(
        &self,
        record: &Record,
        expected: impl Fn(&[(&str, i64)]) -> anyhow::Result<Vec<i64>>,
    ) -> anyhow::Result<Duration> {
        let items: Vec<Item> = record.json()?;
        let age = self.items(&items, record)?;
        let ids: Vec<_> = items.iter().map(|item| item.product.id).collect();
        let category = match record.parameter("category") {
            Some(category) => category.parse()?,
            None => record.id()?,
        };
        let members = self.members.get(&category).context("no such category")?;
        for old in TRIED {
            // Some clocks begin with the process.
            let from = record.began.checked_sub(old).unwrap_or(record.began);
            let names = |id: &i64| {
                let history = self.names.get(id).context("no such product")?;
                let possible = history.between(from, record.ended).map(|name| (name.as_str(), *id));
                anyhow::Ok(possible.collect::<Vec<_>>())
            };
            let possible = members.iter().map(names).collect::<anyhow::Result<Vec<_>>>()?;
            for mut way in ways(&possible)? {
                way.sort_unstable();
                if expected(&way)? == ids {
                    return Ok(age.max(old));
                }
            }
        }
        bail!("no such list")
    }

    fn orders(&self, record: &Record) -> anyhow::Result<Duration> {
        let read: Vec<Order> = record.json()?;
        let all = self.orders.get(&record.id()?).map_or(&[][..], |orders| orders);
        let Some(newest) = read.first() else {
            ensure!(all.iter().all(|order| order.made.is_some()), "orders are missing");
            return Ok(superseded(all.first(), record));
        };
        let at = all.iter().position(|order| order.id == newest.id).context("no such order")?;
        let seen = &all[..=at];
        let is_future =
            seen.iter().any(|order| order.made.is_some_and(|(began, _)| began > record.ended));
        ensure!(!is_future, "an order that was not made yet");
        let expected = seen.iter().rev().take(10).map(|order| (order.id, order.lines.clone()));
        let lines = |order: &Order| {
            order
                .lines
                .iter()
                .map(|line| (line.product_id, line.quantity, line.cents))
                .collect::<Vec<_>>()
        };
        ensure!(read.iter().map(|order| (order.id, lines(order))).eq(expected), "other orders");
        Ok(superseded(all.get(at + 1), record))
    }

    /// It is not cached, and may be nothing but what it was at that moment.
    fn stock(&self, record: &Record) -> anyhow::Result<Duration> {
        let (product, quantity) = (record.id()?, record.json::<i64>()?);
        let first = self.stock.get(&product).context("no such product")?;
        let sold = self.sold.get(&product).map_or(&[][..], |sold| sold);
        let surely = count(sold.iter().filter(|(_, ended)| *ended <= record.began));
        let perhaps = count(sold.iter().filter(|(began, _)| *began <= record.ended));
        let expected = first - perhaps..=first - surely;
        ensure!(expected.contains(&quantity), "{quantity} of {expected:?}");
        Ok(Duration::ZERO)
    }
}

fn count(all: impl Iterator) -> i64 {
    i64::try_from(all.count()).unwrap_or(i64::MAX)
}

fn age<T: PartialEq>(
    history: &History<T>,
    version: i64,
    value: &T,
    record: &Record,
) -> anyhow::Result<Duration> {
    let age = history.age(usize::try_from(version)?, value, (record.began, record.ended));
    age.map_err(|wrong| anyhow::anyhow!("{wrong:?}"))
}

/// How long the next order had been there.
fn superseded(next: Option<&Ordered>, record: &Record) -> Duration {
    let made = next.and_then(|order| order.made);
    made.map_or(Duration::ZERO, |(_, ended)| record.began.saturating_duration_since(ended))
}

/// Each way to pick one of each.
fn ways<T: Copy>(possible: &[Vec<T>]) -> anyhow::Result<Vec<Vec<T>>> {
    let mut ways = vec![Vec::with_capacity(possible.len())];
    for choices in possible {
        ensure!(ways.len() * choices.len() <= MOST_WAYS, "too much was renamed at once");
        let (first, others) = choices.split_first().context("nothing to pick")?;
        let more: Vec<Vec<T>> = others
            .iter()
            .flat_map(|choice| ways.iter().map(|way| [&way[..], &[*choice]].concat()))
            .collect();
        for way in &mut ways {
            way.push(*first);
        }
        ways.extend(more);
    }
    Ok(ways)
}

/// As the query has it: the six that are bought most often with each.
fn bought_with(orders: &HashMap<i64, Vec<(i64, i64, i64)>>) -> HashMap<i64, Vec<i64>> {
    let mut counts = HashMap::<i64, HashMap<i64, i64>>::new();
    for lines in orders.values() {
        for (mine, ..) in lines {
            for (other, ..) in lines.iter().filter(|(other, ..)| other != mine) {
                *counts.entry(*mine).or_default().entry(*other).or_default() += 1;
            }
        }
    }
    let most = |others: HashMap<i64, i64>| {
        let mut others: Vec<_> = others.into_iter().map(|(id, count)| (-count, id)).collect();
        others.sort_unstable();
        others.into_iter().take(6).map(|(_, id)| id).collect()
    };
    counts.into_iter().map(|(id, others)| (id, most(others))).collect()
}

impl Record {
    fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// What the path is about: `/products/7/price`.
    fn id(&self) -> anyhow::Result<i64> {
        let path = self.ask.path.split('?').next().unwrap_or_default();
        let id = path.split('/').nth(2).context("no id")?;
        Ok(id.parse()?)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let (_, parameters) = self.ask.path.split_once('?')?;
        let mut parameters =
            parameters.split('&').filter_map(|parameter| parameter.split_once('='));
        parameters.find(|(its_name, _)| *its_name == name).map(|(_, value)| value)
    }

    fn said(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!("{} {}: {body}", self.ask.method, self.ask.path)
    }
}
