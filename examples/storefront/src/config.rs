//! Which database, which Redis, and what is cached where.

use std::{
    env,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use example_servers::{Folder, Postgres, Redis};
use larder::Cache;

use crate::db::Db;

/// To the database, of one instance.
const CONNECTIONS: u32 = 16;

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) servers: bool,
    pub(crate) cache: Option<Tiers>,
    pub(crate) products: u32,
}

/// Where values are cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tiers {
    Off,
    Memory,
    Redis,
    Both,
}

impl Options {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { port: 8080, servers: false, cache: None, products: 20_000 };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--servers" => options.servers = true,
                "--port" => options.port = value()?.parse().context("--port needs a number")?,
                "--cache" => options.cache = Some(value()?.parse()?),
                "--products" => {
                    options.products = value()?.parse().context("--products needs a number")?;
                }
                other => bail!("{other}? There are --port, --servers, --cache and --products"),
            }
        }
        ensure!((100..=1_000_000).contains(&options.products), "100 to 1,000,000 products");
        Ok(options)
    }
}

impl FromStr for Tiers {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "off" => Self::Off,
            "memory" => Self::Memory,
            "redis" => Self::Redis,
            "both" => Self::Both,
            other => bail!("cached in {other}? There are off, memory, redis and both"),
        })
    }
}

impl Tiers {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Both => "both",
        }
    }
}

/// What the service stands on, and ends with it.
pub(crate) struct Backends {
    pub(crate) database_url: String,
    redis: RemoteRedis,
    /// Of a SQLite that nobody has named.
    _folder: Option<Folder>,
    _postgres: Option<Postgres>,
}

enum RemoteRedis {
    None,
    At(String),
    Own(OwnRedis),
}

/// One that was started for the service, and that its page may stop.
#[derive(Clone)]
pub(crate) struct OwnRedis(Arc<Mutex<Redis>>);

impl OwnRedis {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Redis> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backends {
    pub(crate) fn start(options: &Options) -> anyhow::Result<Self> {
        let postgres = if options.servers { Some(Postgres::start(&[])?) } else { None };
        let (database_url, folder) = match (&postgres, variable("DATABASE_URL")) {
            (Some(postgres), _) => (postgres.url(), None),
            (None, Some(url)) => (url, None),
            (None, None) => {
                let folder = Folder::new("storefront")?;
                let file = folder.path().join("shop.db");
                (format!("sqlite://{}?mode=rwc", file.display()), Some(folder))
            }
        };
        let redis = match (options.servers, variable("LARDER_URL")) {
            (true, _) => RemoteRedis::Own(OwnRedis(Arc::new(Mutex::new(Redis::start()?)))),
            (false, Some(url)) => RemoteRedis::At(url),
            (false, None) => RemoteRedis::None,
        };
        Ok(Self { database_url, redis, _folder: folder, _postgres: postgres })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Db> {
        Db::connect(&self.database_url, CONNECTIONS).await.context("the database")
    }

    /// The name of the service is the namespace of all its keys: `storefront:product:42`. Another service in the same
    /// Redis has another.
    pub(crate) fn cache(&self, tiers: Option<Tiers>) -> anyhow::Result<Cache> {
        let mut builder = Cache::builder("storefront");
        let url = self.redis_url();
        let tiers = tiers.unwrap_or(self.default_tiers());
        if url.is_empty() {
            let needs_redis = matches!(tiers, Tiers::Redis | Tiers::Both);
            ensure!(!needs_redis, "there is no Redis; name one in LARDER_URL, or add --servers");
        } else if tiers != Tiers::Memory {
            // Also where nothing is cached: the locks and the limits are those of the fleet.
            builder = builder.redis(url);
        }
        let builder = match tiers {
            Tiers::Off => builder.enabled(false),
            Tiers::Redis => builder.local_ttl(Duration::ZERO),
            Tiers::Memory | Tiers::Both => builder,
        };
        Ok(builder.build()?)
    }

    pub(crate) fn default_tiers(&self) -> Tiers {
        if self.redis_url().is_empty() { Tiers::Memory } else { Tiers::Both }
    }

    /// Empty if there is none.
    pub(crate) fn redis_url(&self) -> String {
        match &self.redis {
            RemoteRedis::None => String::new(),
            RemoteRedis::At(url) => url.clone(),
            RemoteRedis::Own(own) => own.lock().url(),
        }
    }

    pub(crate) fn own_redis(&self) -> Option<OwnRedis> {
        match &self.redis {
            RemoteRedis::Own(own) => Some(own.clone()),
            _ => None,
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
