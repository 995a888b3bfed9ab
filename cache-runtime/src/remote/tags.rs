use crate::{
    cache::Cache,
    local::{self, Flights, Named},
};

/// What was read of the stamps of tags: of each in its order, and none of one that is lost or held.
/// `None` if they were not read.
pub type ReadStamps = Option<Vec<Option<u64>>>;

/// The tags of an entry, whose stamps a value carries and is compared with.
#[derive(Debug)]
pub struct Tags(Option<Asked>);

/// The tags that stamps are asked for, and what was known before.
#[derive(Debug)]
struct Asked {
    cache: Cache,
    tags: local::Tags,
    /// Their stamps, where all of them are known and count.
    known: Option<Vec<Option<u64>>>,
    is_strict: bool,
    /// The generations of their slots, and the time.
    generations: Vec<u32>,
    at: u64,
}

impl Tags {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(None);

    /// Those of a load that is about to ask. What it asks for a `lease`, or strictly, it compares with
    /// nothing that is known here.
    pub(crate) fn of(cache: &Cache, tags: Option<&local::Tags>, is_strict: bool) -> Self {
        Self(tags.map(|tags| {
            let at = cache.time.now();
            Asked {
                generations: tags.iter().map(|tag| cache.generations.at(tag.slot())).collect(),
                known: if is_strict { None } else { Flights::known(cache, tags, at) },
                cache: cache.clone(),
                tags: tags.clone(),
                is_strict,
                at,
            }
        }))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Where their stamps are in the tier.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let key =
            |asked: &Asked| asked.tags.iter().map(|tag| asked.cache.remote_key(tag)).collect();
        self.0.as_ref().map(key).unwrap_or_default()
    }

    /// Their stamps, if a value need not be read with them. Empty if there are no tags.
    #[must_use]
    pub fn known(&self) -> Option<&[Option<u64>]> {
        match &self.0 {
            None => Some(&[]),
            Some(asked) => asked.known.as_deref(),
        }
    }

    /// Whether they count as they are at the moment when a value is read or stored.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked.is_strict)
    }

    /// Remembers what was read.
    pub(crate) fn learn(&self, read: &ReadStamps) {
        let (Some(asked), Some(read)) = (&self.0, read) else {
            return;
        };
        for ((tag, generation), stamp) in asked.tags.iter().zip(&asked.generations).zip(read) {
            if let Some(stamp) = stamp {
                Flights::learn(&asked.cache, tag, *stamp, *generation, asked.at);
            }
        }
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
