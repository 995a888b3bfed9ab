//! The stamps of a service and of tags, as they are asked for and answered, and the grants that keep
//! what was read of them until a value is stored with it.

use std::{collections::HashMap, time::Duration};

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::{
    failure::Failure,
    scripts::expiry,
    wire::{number, text},
};
use crate::{
    blob::{self, Decoded, Stamps},
    remote::ReadStamps,
    sync::{Mutex, lock},
};

/// How long a stamp of a tag is kept at least that is used. Values that live longer keep it longer.
pub(super) const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a lease brought along that its fill needs.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// The service's stamp, read with the lease and so before the run.
    pub(super) stamp: Option<u64>,
    /// The tags by their keys, and their stamps, read as early; `None` if one of them is held.
    pub(super) tags: Option<Vec<(String, u64)>>,
    /// The server's time in milliseconds, and the moment when it arrived here. It was read
    /// before that: a value seems older by the way of the answer than it is, never younger.
    pub(super) server: u64,
    pub(super) at: Instant,
}

impl Grant {
    /// The stamps of a value; `None` where nobody could tell whether it is still good.
    pub(super) fn stamps(&self) -> Option<Stamps> {
        let tags = self.tags.as_ref()?;
        tags.iter()
            .try_fold(Stamps::of_service(self.stamp?), |all, (_, stamp)| all.with_tag(*stamp))
    }

    /// By their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.tags.iter().flatten().map(|(key, _)| key)
    }

    /// Whether the stamps of its tags are what they were.
    pub(super) fn is_still(&self, standing: &Standing<'_>) -> bool {
        self.tags.iter().flatten().all(|(key, then)| standing.of(key) == Stamp::Is(*then))
    }
}

/// What stands where the stamp of a tag should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    Is(u64),
    /// Nothing, or nothing that is one.
    Lost,
    /// Writers are in the middle of a change.
    Held,
    /// It could not be read.
    Unknown(Failure),
}

impl Stamp {
    /// Whether one would have to be made.
    pub(super) fn is_missing(self) -> bool {
        matches!(self, Self::Lost | Self::Held)
    }
}

/// Asks for several keys at once.
pub(super) fn mget<'a>(keys: impl IntoIterator<Item = &'a str>) -> Cmd {
    let mut mget = Cmd::new();
    mget.arg("MGET");
    for key in keys {
        mget.arg(key);
    }
    mget
}

/// The tags of several entries, each of them once.
#[derive(Debug)]
pub(super) struct TagKeys<'a>(Vec<&'a str>);

impl<'a> TagKeys<'a> {
    pub(super) fn of(keys: impl IntoIterator<Item = &'a String>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }

    /// Asks for their stamps, if there are any.
    pub(super) fn mget(&self) -> Option<Cmd> {
        if self.0.is_empty() { None } else { Some(mget(self.iter())) }
    }

    /// What that was answered.
    pub(super) fn read(&self, answer: Option<&Value>) -> Standing<'a> {
        let failure = match answer {
            Some(Value::Array(stamps)) if stamps.len() == self.0.len() => {
                return Standing(self.iter().zip(stamps.iter().map(stamp)).collect());
            }
            Some(Value::ServerError(error)) => Failure::of_server(error),
            _ => Failure::Garbage,
        };
        Standing(self.iter().map(|key| (key, Stamp::Unknown(failure))).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().copied()
    }
}

/// The stamps of tags that stand.
#[derive(Debug)]
pub(super) struct Standing<'a>(Vec<(&'a str, Stamp)>);

impl Standing<'_> {
    /// Of a tag that was asked for.
    pub(super) fn of(&self, key: &str) -> Stamp {
        self.at(key).map_or(Stamp::Lost, |at| self.0[at].1)
    }

    /// Of all tags of an entry; `None` if one is lost or held.
    pub(super) fn of_all(&self, keys: &[String]) -> Result<ReadStamps, Failure> {
        let mut all = Some(Vec::with_capacity(keys.len()));
        for key in keys {
            match (self.of(key), &mut all) {
                (Stamp::Is(stamp), Some(all)) => all.push(stamp),
                (Stamp::Is(_), None) => {}
                (Stamp::Lost | Stamp::Held, _) => all = None,
                (Stamp::Unknown(failure), _) => return Err(failure),
            }
        }
        Ok(all)
    }

    /// What is known of it by now.
    pub(super) fn set(&mut self, key: &str, stamp: Stamp) {
        if let Some(at) = self.at(key) {
            self.0[at].1 = stamp;
        }
    }

    fn at(&self, key: &str) -> Option<usize> {
        self.0.binary_search_by(|(of, _)| (*of).cmp(key)).ok()
    }
}

fn stamp(value: &Value) -> Stamp {
    match value {
        Value::BulkString(bytes) if blob::decode(bytes, 0) == Decoded::Hold => Stamp::Held,
        value => text(value).and_then(|_| number(value)).map_or(Stamp::Lost, Stamp::Is),
    }
}

/// Until when the stamps of tags are kept, as far as this process has seen to it.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<HashMap<String, (u64, Instant)>>);

/// So many at most. Of those that were forgotten it is seen to again.
const MOST: usize = 4096;

impl Kept {
    /// What keeps the stamps at least as long as a value that lives so long, where that is not known.
    /// A stamp that is lost earlier takes the value along.
    pub(super) fn keep(&self, tags: &[(String, u64)], life: Duration) -> Vec<Cmd> {
        if tags.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        // A while longer, so that it is not to be seen to again with each value.
        let millis = expiry(KEPT.max(life.saturating_mul(2)));
        let keep = Duration::from_millis(millis);
        let mut kept = lock(&self.0);
        let mut commands = Vec::new();
        for (key, stamp) in tags {
            let is_kept = kept.get(key).is_some_and(|(of, until)| {
                of == stamp && until.saturating_duration_since(now) >= keep / 2
            });
            if is_kept {
                continue;
            }
            if kept.len() >= MOST {
                kept.clear();
            }
            kept.insert(key.clone(), (*stamp, now.checked_add(keep).unwrap_or(now)));
            commands.push(Cmd::new().arg("PEXPIRE").arg(key).arg(millis).arg("GT").take());
        }
        commands
    }
}
