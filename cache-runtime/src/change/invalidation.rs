use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use super::{Write, hold_all, land};
use crate::{cache::Cache, call::IntoEntry, error::Error};

/// An invalidation around a change that no function wraps, such as a transaction that begins in one
/// place and ends in another. Made by [`Cache::invalidation`].
///
/// Name the entries and await it before the change; [`complete`](Self::complete) it after the
/// COMMIT.
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
/// applies later than that is covered only by [`hold`](Self::hold), for as long as that says. After a
/// rollback a drop costs a miss, or with a hold all of it; complete it, and it costs a miss. Dropped
/// before it was awaited it does nothing.
#[must_use = "an invalidation does nothing until it is awaited and completed"]
pub struct Invalidation {
    cache: Cache,
    writes: Vec<Write>,
    hold: Option<Duration>,
    is_armed: bool,
}

impl Invalidation {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, writes: Vec::new(), hold: None, is_armed: false }
    }

    /// One more entry, by a call of the function: `get_user(42)`. The entry's own cache counts.
    pub fn entry(mut self, entry: impl IntoEntry) -> Self {
        self.writes.push(entry.into_entry().write());
        self
    }

    /// One more entry, by its [key](crate::Cached::key): `user:42`.
    pub fn key(mut self, key: &str) -> Self {
        self.writes.push(Write::of_key(&self.cache, key));
        self
    }

    /// Keeps everybody from storing the entries from the moment this is awaited until it is
    /// completed; for so long if it is dropped or this process dies in between, at least a
    /// millisecond. Default: not held, and a process that dies between COMMIT and `complete` leaves
    /// the old values until their lives end.
    pub fn hold(mut self, at_most: Duration) -> Self {
        self.hold = Some(at_most);
        self
    }

    /// Invalidates. Once this has returned `Ok`, no call returns a value from before.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: some did not land in time, or Redis refused them; with more than
    /// one entry they are listed by [`Error::NotLanded`]. All are attempted, and what did not land is
    /// repeated until it has; until then this process does not serve it.
    pub async fn complete(mut self) -> Result<(), Error> {
        land(self.disarm()).await
    }

    fn disarm(&mut self) -> Vec<Write> {
        self.is_armed = false;
        std::mem::take(&mut self.writes)
    }
}

/// Before the change.
///
/// # Errors
///
/// With [`hold`](Invalidation::hold) and Redis: an entry could not be held. Without a hold, none.
impl IntoFuture for Invalidation {
    type Output = Result<Self, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            self.is_armed = true;
            if let Some(term) = self.hold {
                hold_all(&mut self.writes, Some(term)).await?;
            }
            Ok(self)
        })
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        if self.is_armed {
            self.disarm().into_iter().for_each(Write::abandon);
        }
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidation").field("entries", &self.writes.len()).finish_non_exhaustive()
    }
}
