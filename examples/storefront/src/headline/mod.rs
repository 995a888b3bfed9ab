//! What caching is worth: the service under load with the cache off, in Redis alone, and in memory and Redis, on one
//! instance and on two, in turn; each answer is compared with what the database held.

mod drive;
mod fleet;
mod history;
mod oracle;
mod picture;
mod report;

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use example_servers::{Postgres, Redis};
use sqlx::{AnyConnection, Connection as _};

use crate::{config::Tiers, db::Db, load::Mix, shop::seed};
use drive::drive;
use fleet::Fleet;
use oracle::Oracle;
use report::Figures;

/// How it is measured.
struct Options {
    products: u32,
    /// At once, over all instances.
    clients: usize,
    /// Before it is measured.
    warm_up: Duration,
    measured: Duration,
    rounds: usize,
    /// Where the table and the picture go.
    out: PathBuf,
}

/// One of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setup {
    tiers: Tiers,
    instances: usize,
}

impl Setup {
    /// How old an answer may be. What changes something knows of it at once, and so does Redis; the memory of another
    /// instance when it is told, and if it cannot be, after a second (`CacheBuilder::max_staleness`).
    fn promise(self) -> Duration {
        if self.instances > 1 && self.tiers == Tiers::Both {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        }
    }
}

const TIERS: [Tiers; 3] = [Tiers::Off, Tiers::Redis, Tiers::Both];

pub(crate) async fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let options = Options::read(arguments)?;
    let postgres = Postgres::start(&["shared_preload_libraries=pg_stat_statements"])?;
    let mut admin = AnyConnection::connect(&{
        sqlx::any::install_default_drivers();
        postgres.url()
    })
    .await?;
    execute(&mut admin, "CREATE EXTENSION pg_stat_statements").await?;
    execute(&mut admin, "CREATE DATABASE seeded").await?;
    let oracle = {
        let db = Db::connect(&postgres.url_of("seeded"), 1).await?;
        seed::seed(&db, options.products).await?;
        sqlx::query("ANALYZE").execute(db.read()).await?;
        let oracle = Oracle::read(&db).await?;
        db.close().await;
        oracle
    };

    let setups: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|instances| TIERS.map(|tiers| Setup { tiers, instances }))
        .collect();
    let mut figures: Vec<Vec<Figures>> = setups.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (setup, figures) in setups.iter().zip(&mut figures) {
            eprintln!("round {round} of {}: {setup:?}", options.rounds);
            execute(&mut admin, "DROP DATABASE IF EXISTS shop").await?;
            execute(&mut admin, "CREATE DATABASE shop TEMPLATE seeded").await?;
            let url = postgres.url_of("shop");
            let measured = measure(*setup, &options, &url, &mut admin, &oracle).await;
            figures.push(measured.with_context(|| format!("{setup:?}"))?);
        }
    }
    let medians: Vec<_> =
        setups.iter().zip(&figures).map(|(setup, all)| (*setup, Figures::median(all))).collect();
    fs::create_dir_all(&options.out)?;
    let table = report::markdown(&medians, &options);
    print!("{table}");
    fs::write(options.out.join("headline.md"), table)?;
    fs::write(options.out.join("headline.svg"), picture::svg(&medians))?;
    Ok(())
}

async fn measure(
    setup: Setup,
    options: &Options,
    database: &str,
    admin: &mut AnyConnection,
    oracle: &Oracle,
) -> anyhow::Result<Figures> {
    let redis = Redis::start()?;
    let fleet = Fleet::start(setup, database, &redis.url())?;
    let mix = Mix::new(options.products, fastrand::u64(..));
    let driven = drive(&fleet, mix, options, async || {
        execute(admin, "SELECT pg_stat_statements_reset()").await
    })
    .await?;
    // What the database itself has counted.
    let select = "SELECT CAST(COALESCE(SUM(calls), 0) AS BIGINT) FROM pg_stat_statements
        WHERE query LIKE 'SELECT %' AND query NOT LIKE '%pg_%'";
    let queries: i64 = sqlx::query_scalar(select).fetch_one(admin).await?;
    fleet.stop()?;
    let checked = oracle.check(&driven.records, setup.promise())?;
    Ok(Figures::of(&driven, u64::try_from(queries)?, checked))
}

async fn execute(connection: &mut AnyConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::query(sql).persistent(false).execute(connection).await?;
    Ok(())
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            products: 20_000,
            clients: 64,
            warm_up: Duration::from_secs(30),
            measured: Duration::from_secs(10),
            rounds: 3,
            out: env::current_dir()?.join("docs"),
        };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--products" => options.products = value()?.parse()?,
                "--clients" => options.clients = value()?.parse()?,
                "--warm-up" => options.warm_up = Duration::from_secs(value()?.parse()?),
                "--seconds" => options.measured = Duration::from_secs(value()?.parse()?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--out" => options.out = value()?.into(),
                other => bail!(
                    "{other}? There are --products, --clients, --warm-up, --seconds, --rounds and --out"
                ),
            }
        }
        ensure!(options.clients > 0 && options.rounds > 0, "at least one client, and one round");
        ensure!(!options.measured.is_zero(), "at least a second");
        Ok(options)
    }
}
