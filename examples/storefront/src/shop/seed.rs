//! What is in an empty database at first: the same every time.

use argon2::{
    Argon2, PasswordHasher as _,
    password_hash::{Error, SaltString},
};
use fastrand::Rng;
use sqlx::AnyConnection;

use crate::{db::Db, popularity::Popularity};

/// The password of each customer.
pub(crate) const PASSWORD: &str = "larder";

/// In one INSERT.
const ROWS: usize = 1_000;

pub(crate) const CATEGORIES: [&str; 40] = [
    "Armchairs",
    "Baskets",
    "Bedding",
    "Benches",
    "Blankets",
    "Bookcases",
    "Bowls",
    "Cabinets",
    "Candles",
    "Chairs",
    "Clocks",
    "Coat racks",
    "Cups",
    "Curtains",
    "Cushions",
    "Cutlery",
    "Desks",
    "Dressers",
    "Frames",
    "Glasses",
    "Jugs",
    "Kettles",
    "Knives",
    "Lamps",
    "Mirrors",
    "Pans",
    "Pillows",
    "Plates",
    "Pots",
    "Rugs",
    "Shelves",
    "Sofas",
    "Stools",
    "Tables",
    "Teapots",
    "Towels",
    "Trays",
    "Vases",
    "Wardrobes",
    "Whisks",
];
const LOOKS: [&str; 16] = [
    "amber", "black", "blue", "bright", "dark", "folding", "green", "grey", "heavy", "light",
    "low", "red", "round", "small", "tall", "white",
];
const MATERIALS: [&str; 16] = [
    "ash", "bamboo", "beech", "brass", "clay", "copper", "cotton", "glass", "iron", "linen", "oak",
    "pine", "steel", "stone", "walnut", "wool",
];

/// Fills an empty database with so many products, and half as many customers, three quarters as many orders: some
/// six rows for each product. Does nothing in one that is not empty.
pub(crate) async fn seed(db: &Db, products: u32) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    // Whoever stores the categories stores all of it: an instance that begins at the same time waits here until that is
    // committed, and has nothing to do then.
    let categories = CATEGORIES.iter().zip(1..).map(|(name, id)| format!("({id}, '{name}')"));
    let categories = categories.collect::<Vec<_>>().join(", ");
    let first = format!(
        "INSERT INTO categories (id, name) VALUES {categories} ON CONFLICT (id) DO NOTHING"
    );
    let inserted = sqlx::query(&first).persistent(false).execute(&mut *tx).await?;
    if inserted.rows_affected() == 0 {
        return Ok(());
    }
    let mut random = Rng::with_seed(1);
    let rows = (1..=products).map(|id| product(id, &mut random));
    insert(&mut tx, "products (category_id, name, description)", rows).await?;
    let rows = (1..=products).map(|id| format!("({id}, {})", price(id)));
    insert(&mut tx, "prices (product_id, cents)", rows).await?;
    let rows = (1..=products).map(|id| format!("({id}, 1000000)"));
    insert(&mut tx, "stock (product_id, quantity)", rows).await?;

    let hash = hash().map_err(anyhow::Error::msg)?;
    let customers = customers(products);
    let rows = (1..=customers)
        .map(|id| format!("({id}, 'customer{id}@example.com', 'Customer {id}', '{hash}')"));
    insert(&mut tx, "customers (id, email, name, password_hash)", rows).await?;

    let orders = products * 3 / 4;
    let popular = Popularity::new(products);
    let bought: Vec<_> = (1..=orders).map(|_| order(&popular, &mut random)).collect();
    let cents = |order: &[u32]| order.iter().map(|id| price(*id)).sum::<u32>();
    let rows = bought.iter().zip(1..).map(|(order, id)| {
        format!("({}, 'seed-{id}', {})", random.u32(1..=customers), cents(order))
    });
    insert(&mut tx, "orders (customer_id, basket, cents)", rows).await?;
    let rows = bought.iter().zip(1..).flat_map(|(order, id)| {
        order.iter().map(move |product| format!("({id}, {product}, 1, {})", price(*product)))
    });
    insert(&mut tx, "order_lines (order_id, product_id, quantity, cents)", rows).await?;
    tx.commit().await?;
    Ok(())
}

/// How many there are in a shop with so many products.
pub(crate) fn customers(products: u32) -> u32 {
    (products / 2).max(1)
}

/// Of the password of each customer. A shop that is none has another salt for each.
pub(super) fn hash() -> Result<String, Error> {
    let salt = SaltString::from_b64("bGFyZGVyLXNob3A")?;
    Ok(Argon2::default().hash_password(PASSWORD.as_bytes(), &salt)?.to_string())
}

fn product(id: u32, random: &mut Rng) -> String {
    let category = id % CATEGORIES.len() as u32 + 1;
    let kind = CATEGORIES[category as usize - 1].trim_end_matches('s').to_lowercase();
    let (look, material) = (pick(&LOOKS, random), pick(&MATERIALS, random));
    let other = pick(&MATERIALS, random);
    format!(
        "({category}, '{look} {material} {kind} {id}', 'A {look} {kind} of {material}, with a little \
         {other}. Made to be used every day, and to be handed on.')"
    )
}

fn pick<'a>(words: &[&'a str], random: &mut Rng) -> &'a str {
    words[random.usize(..words.len())]
}

/// In cents.
fn price(id: u32) -> u32 {
    id * 7919 % 20_000 + 99
}

/// One to four products, of which some are bought by many.
fn order(popular: &Popularity, random: &mut Rng) -> Vec<u32> {
    let mut products: Vec<_> = (0..random.u8(1..=4)).map(|_| popular.pick(random)).collect();
    products.sort_unstable();
    products.dedup();
    products
}

/// Only what is above comes here, and nothing that anybody has typed.
async fn insert(
    tx: &mut AnyConnection,
    into: &str,
    rows: impl Iterator<Item = String>,
) -> anyhow::Result<()> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let values: Vec<_> = rows.by_ref().take(ROWS).collect();
        let insert = format!("INSERT INTO {into} VALUES {}", values.join(", "));
        sqlx::query(&insert).persistent(false).execute(&mut *tx).await?;
    }
    Ok(())
}
