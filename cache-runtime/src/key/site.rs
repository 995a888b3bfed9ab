use std::{
    any::TypeId,
    collections::BTreeMap,
    sync::{OnceLock, PoisonError, RwLock},
};

use super::tags::{Tag, TagSet};
use crate::{cache::Installed, call::Codec, clock::MILLI, local::Freshness, remote::fingerprint};

/// One annotated function: what its attribute says. A `static` in the function's body.
#[derive(Debug)]
#[doc(hidden)]
pub struct Site {
    /// `None`: the path of the function and a hash of its arguments.
    template: Option<&'static str>,
    version: u32,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) remote: bool,
    tags: TagSet,
    known: OnceLock<Known>,
}

/// How long values live. In nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) ttl: u64,
    /// 0: a `None` is not stored.
    pub(crate) none_ttl: u64,
    /// In the memory of the process, at most. 0: not there at all.
    pub(crate) local: u64,
    pub(crate) jitter: Jitter,
    pub(crate) freshness: Freshness,
}

/// How much is added to a life, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Jitter {
    None,
    /// In nanoseconds.
    Upto(u64),
    Percent(u32),
}

impl Lifetimes {
    pub(crate) const fn new() -> Self {
        Self {
            ttl: 0,
            none_ttl: 0,
            local: u64::MAX,
            jitter: Jitter::None,
            freshness: Freshness::NONE,
        }
    }

    /// A life with its jitter; `random` is drawn per fill.
    pub(crate) fn ttl_from(&self, ttl: u64, random: impl FnOnce() -> u64) -> u64 {
        ttl.saturating_add(self.extra(ttl, random))
    }

    /// The life of a `None`: a jitter in percent applies to it too, a time is meant for `ttl`.
    pub(crate) fn none_ttl_from(&self, random: impl FnOnce() -> u64) -> u64 {
        match self.jitter {
            Jitter::Percent(_) => self.ttl_from(self.none_ttl, random),
            Jitter::None | Jitter::Upto(_) => self.none_ttl,
        }
    }

    fn extra(&self, life: u64, random: impl FnOnce() -> u64) -> u64 {
        let most = match self.jitter {
            Jitter::None => return 0,
            Jitter::Upto(most) => most,
            Jitter::Percent(percent) => (life / 100).saturating_mul(u64::from(percent)),
        };
        // The high half of a product spreads the draw evenly: Lemire, «Fast random integer
        // generation in an interval», 2019.
        ((u128::from(random()) * (u128::from(most) + 1)) >> 64) as u64
    }
}

/// What a site learns when it is called for the first time.
#[derive(Debug)]
struct Known {
    /// The path without type parameters.
    function: Box<str>,
    /// Of the first instance that was called. A generic function has others, found in a table.
    path: &'static str,
    value: TypeId,
    first: Instance,
}

impl Known {
    /// Whether the first instance is the one of that path and value.
    #[inline]
    fn is<V: 'static>(&self, site: &Site, path: &'static str) -> bool {
        // The same instance of the function, which is all there is of one that is not generic;
        // with a template, the value alone tells instances apart. The text is mostly at one
        // address, but a second unit of compilation may have its own.
        self.value == TypeId::of::<V>()
            && (site.template.is_some() || std::ptr::eq(self.path, path) || self.path == path)
    }
}

/// One instance of an annotated function: all that its calls have in common.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) site: &'static Site,
    /// The place of the site's counters in every cache.
    pub(crate) number: u32,
    pub(crate) entity: &'static Entity,
    /// The number of the entity, here for a hit.
    pub(crate) entity_number: u32,
    /// Whether the output has a `None`.
    pub(crate) reads_none: bool,
    pub(crate) codec: &'static Codec,
    /// Of the value's type, the version and the tags: what a value in a remote tier is recognised by.
    pub(crate) fingerprint: u64,
    /// Known once there is one.
    installed: OnceLock<Installed>,
}

impl Instance {
    /// The installed cache, and the counters in it.
    #[inline]
    pub(crate) fn installed(&self) -> &Installed {
        match self.installed.get() {
            Some(installed) => installed,
            None => self.installed.get_or_init(|| Installed::of(self.number)),
        }
    }

    fn new(
        site: &'static Site,
        number: u32,
        entity: &'static Entity,
        reads_none: bool,
        codec: &'static Codec,
    ) -> Self {
        let fingerprint = fingerprint(codec.type_name(), entity.version, entity.tags);
        Self {
            site,
            number,
            entity,
            entity_number: entity.number,
            reads_none,
            codec,
            fingerprint,
            installed: OnceLock::new(),
        }
    }
}

/// What a key belongs to: a template or a function, with the type and version of its value, and its
/// tags. Two functions with one template, one type of value and the same tags share it, and so their
/// entries.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) number: u32,
    pub(crate) name: Name,
    pub(crate) value: TypeId,
    pub(crate) version: u32,
    pub(crate) tags: TagSet,
    /// Above zero for a function whose path another function has, too.
    pub(crate) ordinal: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// `user:{}`: the literal pieces, whatever the placeholders are called.
    Template(&'static str),
    /// The path of a function, and the address of its site.
    Function { path: &'static str, site: usize },
    /// A key that the caller wrote, with so many tags: `Cache::get_or_load`.
    Load { tags: u8 },
}

impl Entity {
    /// Whether its entries have tags.
    #[inline]
    pub(crate) fn is_tagged(&self) -> bool {
        !self.tags.all.is_empty() || matches!(self.name, Name::Load { tags: 1.. })
    }
}

/// What `Cache::get_or_load` counts under.
static LOADS: Site = Site::new();

/// Entities are made once and live as long as the process: as many as there are annotated
/// functions and instances of generic ones.
static ENTITIES: RwLock<Entities> = RwLock::new(BTreeMap::new());

type Entities = BTreeMap<(Name, TypeId, u32, TagSet), &'static Entity>;

/// The instances of generic functions but for the first of each, by site, path and value. So are
/// the loads of every type but one.
static INSTANCES: RwLock<BTreeMap<InstanceKey, &'static Instance>> = RwLock::new(BTreeMap::new());

type InstanceKey = (usize, Name, TypeId, u32);

/// The sites that were called, by their numbers.
static SITES: RwLock<Vec<&'static Site>> = RwLock::new(Vec::new());

impl Site {
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a static is made by a const fn")]
    pub const fn new() -> Self {
        Self {
            template: None,
            version: 0,
            lifetimes: Lifetimes::new(),
            remote: true,
            tags: TagSet::NONE,
            known: OnceLock::new(),
        }
    }

    #[must_use]
    pub const fn key(mut self, template: &'static str) -> Self {
        self.template = Some(template);
        self
    }

    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    #[must_use]
    pub const fn ttl(mut self, millis: u64) -> Self {
        self.lifetimes.ttl = millis.saturating_mul(MILLI);
        self
    }

    #[must_use]
    pub const fn jitter(mut self, millis: u64) -> Self {
        self.lifetimes.jitter = Jitter::Upto(millis.saturating_mul(MILLI));
        self
    }

    #[must_use]
    pub const fn jitter_percent(mut self, percent: u32) -> Self {
        self.lifetimes.jitter = Jitter::Percent(percent);
        self
    }

    #[must_use]
    pub const fn none_ttl(mut self, millis: u64) -> Self {
        self.lifetimes.none_ttl = millis.saturating_mul(MILLI);
        self
    }

    #[must_use]
    pub const fn local(mut self, millis: u64) -> Self {
        self.lifetimes.local = millis.saturating_mul(MILLI);
        self
    }

    #[must_use]
    pub const fn stale(mut self, millis: u64) -> Self {
        self.lifetimes.freshness.stale = millis.saturating_mul(MILLI);
        self
    }

    #[must_use]
    pub const fn stale_if_error(mut self, millis: u64) -> Self {
        self.lifetimes.freshness.stale_if_error = millis.saturating_mul(MILLI);
        self
    }

    #[must_use]
    pub const fn refresh_early(mut self) -> Self {
        self.lifetimes.freshness.is_early = true;
        self
    }

    #[must_use]
    pub const fn max_wait(mut self, millis: u64) -> Self {
        self.lifetimes.freshness.max_wait = Some(millis.saturating_mul(MILLI));
        self
    }

    #[must_use]
    pub const fn not_remote(mut self) -> Self {
        self.remote = false;
        self
    }

    /// `own` is how many parts a key has for itself: what follows is for the tags alone.
    #[must_use]
    pub const fn tags(mut self, tags: &'static [Tag], own: usize) -> Self {
        self.tags = TagSet { all: tags, own, is_strict: self.tags.is_strict };
        self
    }

    #[must_use]
    pub const fn tags_strict(mut self) -> Self {
        self.tags.is_strict = true;
        self
    }

    /// What the calls of this instance have in common. `path` is the path of a closure in it.
    #[inline]
    pub(crate) fn instance<V: 'static>(
        &'static self,
        path: &'static str,
        codec: &'static Codec,
        reads_none: bool,
    ) -> &'static Instance {
        match self.known.get() {
            Some(known) if known.is::<V>(self, path) => &known.first,
            _ => self.find_instance::<V>(path, codec, reads_none),
        }
    }

    /// Out of line, as it is of few functions, and of those mostly once.
    #[inline(never)]
    fn find_instance<V: 'static>(
        &'static self,
        path: &'static str,
        codec: &'static Codec,
        reads_none: bool,
    ) -> &'static Instance {
        let known = self.learn(path, TypeId::of::<V>(), codec, reads_none);
        if known.is::<V>(self, path) {
            &known.first
        } else {
            let name = self.name(path);
            self.other_instance(name, TypeId::of::<V>(), self.version, codec, reads_none)
        }
    }

    fn learn(
        &'static self,
        path: &'static str,
        value: TypeId,
        codec: &'static Codec,
        reads_none: bool,
    ) -> &'static Known {
        self.known.get_or_init(|| {
            let mut sites = SITES.write().unwrap_or_else(PoisonError::into_inner);
            let number = sites.len() as u32;
            sites.push(self);
            let entity = entity(self.name(path), value, self.version, self.tags);
            Known {
                function: without_parameters(function_of(path)).into(),
                path,
                value,
                first: Instance::new(self, number, entity, reads_none, codec),
            }
        })
    }

    fn other_instance(
        &'static self,
        name: Name,
        value: TypeId,
        version: u32,
        codec: &'static Codec,
        reads_none: bool,
    ) -> &'static Instance {
        let wanted = (std::ptr::from_ref(self).addr(), name, value, version);
        if let Some(instance) =
            INSTANCES.read().unwrap_or_else(PoisonError::into_inner).get(&wanted)
        {
            return instance;
        }
        let number = self.known.get().map_or(0, |known| known.first.number);
        let entity = entity(name, value, version, self.tags);
        let mut instances = INSTANCES.write().unwrap_or_else(PoisonError::into_inner);
        instances.entry(wanted).or_insert_with(|| {
            Box::leak(Box::new(Instance::new(self, number, entity, reads_none, codec)))
        })
    }

    fn name(&'static self, path: &'static str) -> Name {
        match self.template {
            Some(template) => Name::Template(template),
            None => {
                Name::Function { path: function_of(path), site: std::ptr::from_ref(self).addr() }
            }
        }
    }

    /// As `stats` shows it, once the site was called: `app::users::get_user`.
    pub(crate) fn function(&'static self) -> &'static str {
        self.known.get().map_or("", |known| &known.function)
    }
}

/// What loads of this type have in common, under keys that the caller wrote, with so many tags.
pub(crate) fn load_instance(
    value: TypeId,
    version: u32,
    tags: u8,
    codec: &'static Codec,
) -> &'static Instance {
    // Known first, for its number; under a name that no load has.
    LOADS.instance::<()>("larder::Cache::get_or_load::{{closure}}", codec, false);
    LOADS.other_instance(Name::Load { tags }, value, version, codec, false)
}

/// The function of a site, by its number.
pub(crate) fn function(number: u32) -> &'static str {
    let sites = SITES.read().unwrap_or_else(PoisonError::into_inner);
    sites.get(number as usize).map_or("", |site| site.function())
}

/// Whether the function with that number has a use for old values.
pub(crate) fn serves_old(number: u16) -> bool {
    let sites = SITES.read().unwrap_or_else(PoisonError::into_inner);
    sites.get(usize::from(number)).is_some_and(|site| site.lifetimes.freshness.is_any())
}

/// Input: `app::Repo<u8>::list::{{closure}}`. Output: `app::Repo<u8>::list`.
///
/// The body of an `async fn` is a closure too, and a block in it another.
pub(crate) fn function_of(path: &'static str) -> &'static str {
    path.trim_end_matches("::{{closure}}")
}

/// Input: `app::Repo<u8>::list<String>`, `<app::Repo<u8> as app::List>::list`.
/// Output: `app::Repo::list`, `<app::Repo as app::List>::list`.
pub(crate) fn without_parameters(path: &str) -> String {
    let mut without = String::with_capacity(path.len());
    let mut open = Vec::new();
    for char in path.chars() {
        match char {
            // Parameters follow a name; `<A as B>` stands where a name could.
            '<' => open.push(without.ends_with(|last: char| last.is_alphanumeric() || last == '_')),
            '>' if open.pop() == Some(true) => continue,
            _ => {}
        }
        if !open.contains(&true) {
            without.push(char);
        }
    }
    without
}

/// The entity of that name, made when it is asked for the first time.
pub(crate) fn entity(name: Name, value: TypeId, version: u32, tags: TagSet) -> &'static Entity {
    let wanted = (name, value, version, tags);
    if let Some(entity) = ENTITIES.read().unwrap_or_else(PoisonError::into_inner).get(&wanted) {
        return entity;
    }
    let mut entities = ENTITIES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(entity) = entities.get(&wanted) {
        return entity;
    }
    let ordinal = match name {
        Name::Function { path, site } => ordinal(&entities, path, site),
        Name::Template(_) | Name::Load { .. } => 0,
    };
    let number = entities.len() as u32;
    let entity = Box::leak(Box::new(Entity { number, name, value, version, tags, ordinal }));
    entities.insert(wanted, entity);
    entity
}

/// Which of the functions of this path the one at `site` is, in the order of their first calls.
fn ordinal(entities: &Entities, path: &str, site: usize) -> usize {
    let mut others = Vec::new();
    for entity in entities.values() {
        if let Name::Function { path: same, site: other } = entity.name
            && same == path
        {
            if other == site {
                return entity.ordinal;
            }
            others.push(other);
        }
    }
    // They are sorted by name.
    others.dedup();
    others.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_stats_is_named_without_type_parameters() {
        let without = [
            ("app::get_user", "app::get_user"),
            ("app::Repo<u8>::list<alloc::string::String>", "app::Repo::list"),
            ("<app::Repo<u8> as app::List<u8>>::list", "<app::Repo as app::List>::list"),
            ("app::free<u16, 3>", "app::free"),
        ];
        for (path, function) in without {
            assert_eq!(without_parameters(path), function);
        }
    }

    #[test]
    fn jitter_stays_within_its_bound() {
        let lifetimes = Lifetimes { jitter: Jitter::Upto(10), none_ttl: 7, ..Lifetimes::new() };
        assert_eq!(lifetimes.ttl_from(60, || 0), 60);
        assert_eq!(lifetimes.ttl_from(60, || u64::MAX), 70);
        assert_eq!(lifetimes.none_ttl_from(|| u64::MAX), 7);
        let lifetimes = Lifetimes { jitter: Jitter::Percent(10), none_ttl: 1000, ..lifetimes };
        assert_eq!(lifetimes.ttl_from(6000, || u64::MAX), 6600);
        assert_eq!(lifetimes.none_ttl_from(|| u64::MAX), 1100);
    }
}
