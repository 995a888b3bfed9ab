use std::{fmt, time::Duration};

use super::{Write, Writes, hold, hold_all, land};
use crate::{
    cache::{AsCache, Cache},
    call::{Entry, Holds, IntoEntry, Target},
    error::Error,
    key::{KeyBytes, KeyText},
};

/// What `#[invalidates]` and `#[updates]` put around a body.
///
/// Armed from the moment the body starts. Dropped while it is, nobody knows whether the body changed
/// something (its COMMIT may be on its way), so the entries are invalidated in the background, and
/// what is held stays so for as long as the hold says.
#[derive(Default)]
#[must_use = "a change does nothing until it begins"]
pub struct Change {
    writes: Writes,
    is_held: bool,
    /// How long the hold lasts if this process dies, where the attribute says it.
    term: Option<Duration>,
    always: bool,
}

impl Change {
    /// Of no entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// `hold = "5s"`
    pub fn hold(mut self, millis: u64) -> Self {
        self.is_held = true;
        self.term = Some(Duration::from_millis(millis));
        self
    }

    /// `on = "always"`
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// An entry to invalidate: before the body, or after it.
    pub fn target(&mut self, target: impl Target) {
        self.writes.all.extend(target.writes());
    }

    /// `tag("team:{team}")`, by its template and what stands in it.
    pub fn tag(&mut self, template: &'static str, parts: &KeyBytes) {
        self.tag_in(&Cache::current(), template, parts);
    }

    /// The same in a cache that is given.
    pub fn tag_in(&mut self, cache: &Cache, template: &'static str, parts: &KeyBytes) {
        let tag = KeyText::of_tag(template, parts.as_slice(&mut [0; 9]));
        self.writes.all.push(Write::of_tag(cache, tag));
    }

    /// The entry of `#[updates]`.
    pub fn updates<T: IntoEntry>(&mut self, entry: T) -> Entry<T::Output> {
        let entry = entry.into_entry();
        self.is_held = true;
        self.writes.all.push(entry.put_write());
        entry
    }

    /// The body is about to start. What cannot be held is changed unheld.
    pub async fn begin(&mut self) {
        self.writes.is_armed = true;
        if self.is_held {
            // What failed was counted, and the change is one like others.
            let _ = hold(&mut self.writes.all, self.term).await;
        }
    }

    /// The same, where it has to be held.
    ///
    /// # Errors
    ///
    /// An entry could not be held.
    pub async fn begin_required(&mut self) -> Result<(), Error> {
        self.writes.is_armed = true;
        if self.is_held { hold_all(&mut self.writes.all, self.term).await } else { Ok(()) }
    }

    /// The value that the body has given the entry of `#[updates]`.
    pub fn put<R: Holds<V, M>, V, M>(&mut self, entry: &Entry<R>, value: V) {
        if let (Some(write), Some(made)) = (self.writes.all.first_mut(), entry.made(value)) {
            write.put(made);
        }
    }

    /// The body returned `Ok`, `Some`, or what is neither of a `Result` nor of an `Option`.
    pub async fn succeeded(mut self) {
        let writes = self.writes.disarm();
        // What did not land is repaired.
        let _ = land(writes).await;
    }

    /// The body returned `Err` or `None`.
    pub async fn failed(mut self) {
        let always = self.always;
        let mut writes = self.writes.disarm();
        // A hold has to end, whatever came of it.
        writes.retain(|write| always || write.is_held());
        let _ = land(writes).await;
    }
}

/// `cache = expr`
pub fn cache_of(cache: &impl AsCache) -> Cache {
    cache.as_cache().clone()
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("entries", &self.writes.all.len()).finish_non_exhaustive()
    }
}
