use std::sync::{Arc, OnceLock};

use crate::{
    cache::Cache,
    call::Call,
    local::{self, Flights, Known, Moment, Named},
};

/// The stamps that were read of all tags of an entry, in their order. `None` if they were not read, or
/// one of them is lost or held.
pub type ReadStamps = Option<Vec<u64>>;

/// The tags of an entry, whose stamps a value carries and is compared with.
///
/// A copy is the same.
#[derive(Debug, Clone)]
pub struct Tags(Option<Arc<Asked>>);

#[derive(Debug)]
struct Asked {
    call: Call,
    /// Their stamps, where they are known and count.
    known: Option<Known>,
    /// Named once they are asked for, which is at that moment.
    named: OnceLock<(local::Tags, Moment)>,
}

impl Tags {
    /// Of an entry that has none.
    pub const NONE: Self = Self(None);

    /// Those of a read.
    pub(crate) fn of_read(call: &Call) -> Self {
        Self::of(call, |cache, id| {
            let known = || Flights::known(cache, id, cache.time.now());
            if call.is_strict() { None } else { known() }
        })
    }

    /// Those of a run that is about to begin: whatever is known, they are read.
    pub(crate) fn of_run(call: &Call) -> Self {
        Self::of(call, |_, _| None)
    }

    fn of(call: &Call, known: impl FnOnce(&Cache, u64) -> Option<Known>) -> Self {
        Self(call.tags_id().map(|id| {
            let known = known(call.cache(), id);
            Arc::new(Asked { call: call.clone(), known, named: OnceLock::new() })
        }))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Where their stamps are in the tier. To be asked for right before these are.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let Some(asked) = &self.0 else {
            return Vec::new();
        };
        let cache = asked.call.cache();
        asked.named().map_or_else(Vec::new, |(tags, _)| {
            tags.iter().map(|tag| cache.remote_key(tag)).collect()
        })
    }

    /// Their stamps, if a value need not be read with them. Empty if there are no tags.
    #[must_use]
    pub fn known(&self) -> Option<&[u64]> {
        match &self.0 {
            None => Some(&[]),
            Some(asked) => asked.known.as_ref().map(Known::stamps),
        }
    }

    /// When those were asked for that are known; `u64::MAX` where a value is read with its stamps.
    pub(crate) fn as_of(&self) -> u64 {
        let known = self.0.as_ref().and_then(|asked| asked.known.as_ref());
        known.map_or(u64::MAX, Known::asked)
    }

    /// Remembers what was read.
    pub(crate) fn learn(&self, read: ReadStamps) {
        if let (Some(asked), Some(read)) = (&self.0, read)
            && let Some((tags, moment)) = asked.named()
        {
            Flights::learn(asked.call.cache(), tags, &read, *moment);
        }
    }
}

impl Asked {
    fn named(&self) -> Option<&(local::Tags, Moment)> {
        if let Some(named) = self.named.get() {
            return Some(named);
        }
        let tags = self.call.tags()?;
        let moment = Moment::of(self.call.cache(), &tags);
        Some(self.named.get_or_init(|| (tags, moment)))
    }
}

/// Where a tag's stamp is: beside the service's own key, which is the same without a tag. No key of an
/// entry begins like it.
pub(crate) fn key_of_tag(service: &str, tag: &Named) -> String {
    [TAGS, service, ":", &tag.text.to_text()].concat()
}

/// The tag that has its stamp there.
pub(crate) fn tag_of_key<'a>(service: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(TAGS)?.strip_prefix(service)?.strip_prefix(':')
}

/// What the keys of all services begin with, and of their tags.
pub(crate) const TAGS: &str = ":larder:";
