//! What a function's entries are tagged with.

/// So many tags an entry has at most.
pub(crate) const MOST_TAGS: usize = 8;

/// One tag of a function: the literal pieces of its template, with `{}` for each placeholder, and
/// which part of a call's key each of these is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[doc(hidden)]
#[allow(clippy::exhaustive_structs, reason = "made by the attributes alone")]
pub struct Tag {
    pub template: &'static str,
    pub parts: &'static [usize],
}

/// The tags of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TagSet {
    pub(crate) all: &'static [Tag],
    /// How many parts a key has for itself: what follows is for the tags alone, and so only tells
    /// entries apart in memory.
    pub(crate) own: usize,
    /// Their stamps are read with every value.
    pub(crate) is_strict: bool,
}

impl TagSet {
    pub(crate) const NONE: Self = Self { all: &[], own: usize::MAX, is_strict: false };
}
