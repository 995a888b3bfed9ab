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

    /// Asks for the stamps of the tags once more, if there are any.
    pub(super) fn again(&self) -> Option<Cmd> {
        let tags = self.tags.as_ref().filter(|tags| !tags.is_empty())?;
        Some(mget(tags.iter().map(|(key, _)| key)))
    }

    /// Whether they are what they were.
    pub(super) fn are_still(&self, answer: Option<&Value>) -> bool {
        let tags = self.tags.as_deref().unwrap_or_default();
        read(answer, tags.len()).is_ok_and(|now| {
            now.iter().zip(tags).all(|(now, (_, then))| now.number() == Some(*then))
        })
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
}

impl Stamp {
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Is(stamp) => Some(stamp),
            Self::Lost | Self::Held => None,
        }
    }
}

/// Asks for the stamps of tags.
pub(super) fn mget<'a>(keys: impl IntoIterator<Item = &'a String>) -> Cmd {
    let mut mget = Cmd::new();
    mget.arg("MGET");
    for key in keys {
        mget.arg(key);
    }
    mget
}

/// What `mget` of so many was answered.
pub(super) fn read(answer: Option<&Value>, count: usize) -> Result<Vec<Stamp>, Failure> {
    match answer {
        None if count == 0 => Ok(Vec::new()),
        Some(Value::Array(stamps)) if stamps.len() == count => {
            Ok(stamps.iter().map(stamp).collect())
        }
        Some(Value::ServerError(error)) => Err(Failure::of_server(error)),
        _ => Err(Failure::Garbage),
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
