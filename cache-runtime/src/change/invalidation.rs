use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use super::{Write, Writes, hold_all, land};
use crate::{cache::Cache, call::IntoEntry, error::Error, key::KeyText};

/// An invalidation around a change that no function wraps, such as a transaction that begins in one
/// place and ends in another. Made by [`Cache::invalidation`], which names the entries and is awaited
/// before the change; [`complete`](Self::complete) it after the COMMIT.
///
/// ```
/// # use std::time::Duration;
/// # use larder::{Cache, cached};
/// # struct Tx; impl Tx { async fn commit(self) -> Result<(), larder::Error> { Ok(()) } }
/// # async fn begin() -> Tx { Tx }
/// #[cached(ttl = 60, key = "user:{id}")]
/// async fn get_user(id: u64) -> Result<String, String> { Ok(format!("user {id}")) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder::Error> { Cache::memory().scope(async {
/// let invalidation = Cache::current()
///     .invalidation()
///     .entry(get_user(42))
///     .hold(Duration::from_secs(5))
///     .await?;
/// let tx = begin().await;
/// // UPDATE …
/// tx.commit().await?;
/// // The change took place, whatever this says: what did not land is repeated in the background.
/// let _ = invalidation.complete().await;
/// # Ok(()) }).await }
/// ```
///
/// Dropped after it was awaited, the transaction counts as one of which nobody knows: its COMMIT may
/// have been on its way. So the entries are invalidated in the background. A COMMIT that the database
/// applies later than that is covered only by [`hold`](InvalidationBuilder::hold), for as long as that says. After a
/// rollback a drop costs a miss, or with a hold all of it; complete it, and it costs a miss. Dropped
/// before it was awaited it does nothing.
#[must_use = "an invalidation that is dropped keeps the entries of its hold from being stored"]
pub struct Invalidation {
    writes: Writes,
}

impl Invalidation {
    /// Invalidates. Once this has returned `Ok`, no call returns a value from before.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: some did not land in time, or Redis refused them; with more than
    /// one entry they are listed by [`Error::NotLanded`]. All are attempted, and what did not land is
    /// repeated until it has; until then this process does not serve it.
    pub async fn complete(mut self) -> Result<(), Error> {
        land(self.writes.disarm()).await
    }
}

/// What an [`Invalidation`] is to be about. Await it before the change:
/// `cache.invalidation().entry(get_user(42)).await?`.
#[must_use = "an invalidation does nothing until it is awaited and completed"]
pub struct InvalidationBuilder {
    cache: Cache,
    writes: Writes,
    hold: Option<Duration>,
}

impl InvalidationBuilder {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, writes: Writes::default(), hold: None }
    }

    /// One more entry, by a call of the function: `get_user(42)`. The entry's own cache counts.
    pub fn entry(mut self, entry: impl IntoEntry) -> Self {
        self.writes.all.push(entry.into_entry().write());
        self
    }

    /// One more entry, by its [key](crate::Cached::key): `user:42`.
    pub fn key(mut self, key: &str) -> Self {
        self.writes.all.push(Write::of_key(&self.cache, key));
        self
    }

    /// Every entry that has the tag, as in [`Cache::invalidate_tag`]: `team:7`.
    pub fn tag(mut self, tag: &str) -> Self {
        self.writes.all.push(Write::of_tag(&self.cache, KeyText::literal(tag)));
        self
    }

    /// Keeps everybody from storing the entries from the moment this is awaited until it is
    /// completed. If it is dropped or this process dies in between, for so long, at least a
    /// millisecond, and half as much again at most. Default: not held, and a process that dies
    /// between COMMIT and `complete` leaves the old values until their lives end.
    pub fn hold(mut self, at_least: Duration) -> Self {
        self.hold = Some(at_least.max(Duration::from_millis(1)));
        self
    }
}

/// Before the change.
///
/// # Errors
///
/// With [`hold`](InvalidationBuilder::hold) and Redis: an entry could not be held. Without a hold,
/// none.
impl IntoFuture for InvalidationBuilder {
    type Output = Result<Invalidation, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            self.writes.is_armed = true;
            if let Some(term) = self.hold {
                hold_all(&mut self.writes.all, Some(term)).await?;
            }
            Ok(Invalidation { writes: self.writes })
        })
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.writes.all.len();
        f.debug_struct("Invalidation").field("entries", &entries).finish_non_exhaustive()
    }
}

impl fmt::Debug for InvalidationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.writes.all.len();
        f.debug_struct("InvalidationBuilder").field("entries", &entries).finish_non_exhaustive()
    }
}
