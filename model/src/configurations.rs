//! Who takes part, and what may happen to them.

use crate::protocol::{
    Chances,
    Change::{self, Bump, Hold, HoldTag, Invalidate, Put, Update},
};

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Configuration {
    /// What it is about.
    pub name: &'static str,
    /// The process of each reader.
    pub readers: &'static [u8],
    /// The process of each writer, and how it changes the entry.
    pub writers: &'static [(u8, Change)],
    /// Whether the function keeps values in memory.
    pub memory: bool,
    /// Whether the value is in Redis at the beginning, and in the memory of process 1.
    pub stored: bool,
    /// Whether it has a tag.
    pub tagged: Tagged,
    /// How its values grow old.
    pub freshness: Freshness,
    /// The readers that call `refresh()`: a bit for each.
    pub refreshing: u8,
    /// What may happen.
    pub chances: Chances,
}

/// How values grow old, and what is served then.
#[allow(clippy::struct_excessive_bools, reason = "as many options, each by itself")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// `stale`: what is no longer fresh is served while somebody makes it newer.
    pub is_stale: bool,
    /// `stale_if_error`: it is kept for longer, and served after an error.
    pub is_for_errors: bool,
    /// `refresh_early`: it is made newer while it is fresh.
    pub is_early: bool,
    /// Owned arguments: the run goes on in the background, and its caller is served at once.
    pub leaves: bool,
    /// `max_wait`: callers wait for the run, but not longer than they like.
    pub waits: bool,
}

/// Whether an entry has a tag, and how its stamp is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    /// It has none.
    No,
    /// A process keeps the stamp.
    Locally,
    /// `tags_strict`: the stamp is read with each value.
    Strictly,
}

impl Freshness {
    pub(crate) fn is_any(self) -> bool {
        self != FRESH
    }
}

const NEVER: Chances = Chances {
    expiries: 0,
    agings: 0,
    errors: 0,
    rejections: 0,
    hold_expiries: 0,
    crashes: 0,
    cancels: 0,
    failures: 0,
    breaks: 0,
    ticks: 0,
    pings: 0,
};

const FRESH: Freshness = Freshness {
    is_stale: false,
    is_for_errors: false,
    is_early: false,
    leaves: false,
    waits: false,
};

const fn of(
    name: &'static str,
    readers: &'static [u8],
    writers: &'static [(u8, Change)],
) -> Configuration {
    let (memory, stored, tagged, freshness) = (false, false, Tagged::No, FRESH);
    let (refreshing, chances) = (0, NEVER);
    Configuration { name, readers, writers, memory, stored, tagged, freshness, refreshing, chances }
}

impl Configuration {
    const fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    const fn in_memory(self) -> Self {
        Self { memory: true, ..self }
    }

    const fn tagged(self) -> Self {
        Self { tagged: Tagged::Locally, ..self }
    }

    const fn strictly(self) -> Self {
        Self { tagged: Tagged::Strictly, ..self }
    }

    const fn stale(self) -> Self {
        Self { freshness: Freshness { is_stale: true, ..self.freshness }, ..self }
    }

    const fn stale_if_error(self) -> Self {
        Self { freshness: Freshness { is_for_errors: true, ..self.freshness }, ..self }
    }

    const fn early(self) -> Self {
        Self { freshness: Freshness { is_early: true, ..self.freshness }, ..self }
    }

    const fn leaving(self) -> Self {
        Self { freshness: Freshness { leaves: true, ..self.freshness }, ..self }
    }

    const fn waiting(self) -> Self {
        Self { freshness: Freshness { waits: true, leaves: true, ..self.freshness }, ..self }
    }

    const fn refreshing(self, readers: u8) -> Self {
        Self { refreshing: readers, ..self }
    }

    pub(crate) const fn refreshes(&self, reader: u8) -> bool {
        self.refreshing & (1 << reader) != 0
    }

    const fn with(self, chances: Chances) -> Self {
        Self { chances, ..self }
    }
}

/// Those that are explored to their end with every change.
pub const SMALL: &[Configuration] =
    &[
        of("fill and invalidate", &[0, 1, 1], &[(0, Invalidate)])
            .with(Chances { expiries: 1, ..NEVER }),
        of("fill and invalidate, where all of it fails", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .with(Chances { cancels: 1, crashes: 1, expiries: 1, failures: 1, ..NEVER }),
        of("four cold readers", &[0, 0, 1, 1], &[]).with(Chances {
            expiries: 2,
            crashes: 1,
            cancels: 1,
            ..NEVER
        }),
        of("a refresh and an invalidation", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .with(Chances { agings: 2, expiries: 1, crashes: 1, failures: 1, ..NEVER }),
        of("invalidations that fail, and memory", &[0, 0, 1], &[(0, Invalidate)])
            .stored()
            .in_memory()
            .with(Chances { failures: 1, cancels: 1, ..NEVER }),
        of(
            "two invalidations of one process that fail",
            &[0, 0],
            &[(0, Invalidate), (0, Invalidate)],
        )
        .stored()
        .in_memory()
        .with(Chances { failures: 2, ..NEVER }),
        of("two updates", &[0, 1], &[(0, Update), (1, Update)]).with(Chances {
            expiries: 1,
            hold_expiries: 2,
            crashes: 1,
            ..NEVER
        }),
        of("an update, and memory", &[0, 0, 1], &[(0, Update)])
            .stored()
            .in_memory()
            .with(Chances { expiries: 1, hold_expiries: 2, ..NEVER }),
        of("an update, memory and time", &[0, 0], &[(0, Update)])
            .stored()
            .in_memory()
            .with(Chances { ticks: 1, cancels: 1, ..NEVER }),
        of("update and invalidate, memory and time", &[1], &[(0, Invalidate), (1, Update)])
            .stored()
            .in_memory()
            .with(Chances { ticks: 1, ..NEVER }),
        of("two updates, and memory", &[0, 1], &[(0, Update), (1, Update)])
            .stored()
            .in_memory()
            .with(Chances { crashes: 1, ..NEVER }),
        of("update and invalidate", &[0, 1], &[(0, Update), (1, Invalidate)]).with(Chances {
            expiries: 1,
            hold_expiries: 2,
            crashes: 1,
            ..NEVER
        }),
        of("three updates, whose holds expire", &[1], &[(0, Update), (0, Update), (1, Update)])
            .with(Chances { hold_expiries: 3, ..NEVER }),
        of("update and invalidate that fail", &[1], &[(0, Update), (1, Invalidate)])
            .with(Chances { failures: 2, hold_expiries: 2, crashes: 1, ..NEVER }),
        of("two updates that fail", &[], &[(0, Update), (1, Update)]).in_memory().with(Chances {
            failures: 2,
            hold_expiries: 2,
            cancels: 1,
            ..NEVER
        }),
        of("two holds and a crash", &[0, 1], &[(0, Hold), (1, Hold)]).stored().with(Chances {
            crashes: 1,
            expiries: 1,
            hold_expiries: 2,
            ..NEVER
        }),
        of("a hold, a crash, and memory", &[1, 1], &[(0, Hold)])
            .stored()
            .in_memory()
            .with(Chances { crashes: 1, hold_expiries: 2, failures: 1, ..NEVER }),
        of("hold and invalidate, and a crash", &[0, 1], &[(0, Hold), (1, Invalidate)])
            .stored()
            .with(Chances { crashes: 1, hold_expiries: 2, expiries: 1, ..NEVER }),
        of("put and invalidate", &[0, 1], &[(0, Put), (1, Invalidate)])
            .stored()
            .in_memory()
            .with(Chances { crashes: 1, hold_expiries: 2, ..NEVER }),
        of("a link breaks", &[1, 1, 1], &[(0, Invalidate)]).stored().in_memory().with(Chances {
            breaks: 1,
            crashes: 1,
            ticks: 1,
            pings: 1,
            ..NEVER
        }),
        of("two invalidations, and a link breaks", &[1, 1], &[(0, Invalidate), (0, Invalidate)])
            .stored()
            .in_memory()
            .with(Chances { breaks: 1, pings: 1, ..NEVER }),
        of("an invalidation fails, and a link breaks", &[0, 1], &[(0, Invalidate)])
            .stored()
            .in_memory()
            .with(Chances { failures: 1, breaks: 1, pings: 1, ..NEVER }),
        of("a tag is bumped", &[0, 1, 1], &[(0, Bump)])
            .stored()
            .tagged()
            .with(Chances { expiries: 1, ..NEVER }),
        of("a tag is bumped, and memory", &[0, 1, 1], &[(0, Bump)]).stored().tagged().in_memory(),
        of("fill and bump", &[0, 0, 1], &[(0, Bump)]).tagged(),
        of("fill and bump, and memory", &[0, 0, 1], &[(0, Bump)]).tagged().in_memory(),
        of("fill and bump, and time", &[1, 1], &[(0, Bump)]).tagged().with(Chances {
            ticks: 1,
            breaks: 1,
            ..NEVER
        }),
        of("a refresh and a bump", &[0, 1], &[(0, Bump)]).stored().stale().tagged().with(Chances {
            agings: 2,
            failures: 1,
            ..NEVER
        }),
        of("a tag is bumped, strictly", &[0, 1, 1], &[(0, Bump)])
            .stored()
            .strictly()
            .with(Chances { expiries: 1, ..NEVER }),
        of("bumps of two processes", &[0, 1], &[(0, Bump), (1, Bump)]).stored().tagged(),
        of("bumps that fail", &[0, 0, 1], &[(0, Bump)]).stored().tagged().with(Chances {
            failures: 1,
            cancels: 1,
            ..NEVER
        }),
        of("bumps that fail, and memory", &[0, 1], &[(0, Bump)])
            .stored()
            .tagged()
            .in_memory()
            .with(Chances { failures: 1, cancels: 1, ..NEVER }),
        of("fill and bump, strictly, with memory", &[0, 1, 1], &[(0, Bump)]).strictly().in_memory(),
        of("fill and bump, strictly, where all of it fails", &[0, 1, 1], &[(0, Bump)])
            .strictly()
            .with(Chances { failures: 1, cancels: 1, ..NEVER }),
        of("a bump and an invalidation, strictly", &[1, 1], &[(0, Bump), (1, Invalidate)])
            .strictly()
            .with(Chances { failures: 1, ..NEVER }),
        of("a bump, and a link breaks", &[1, 1], &[(0, Bump)]).stored().tagged().with(Chances {
            breaks: 1,
            ticks: 1,
            pings: 1,
            ..NEVER
        }),
        of("a bump, memory, and a link breaks", &[1, 1], &[(0, Bump)])
            .stored()
            .tagged()
            .in_memory()
            .with(Chances { breaks: 1, ticks: 1, pings: 1, ..NEVER }),
        of("a tag is held, and a crash", &[0, 1], &[(0, HoldTag)])
            .stored()
            .tagged()
            .with(Chances { crashes: 1, hold_expiries: 1, ..NEVER }),
        of("a tag is held, a crash, and memory", &[1, 1], &[(0, HoldTag)])
            .stored()
            .tagged()
            .in_memory()
            .with(Chances { crashes: 1, hold_expiries: 1, failures: 1, ..NEVER }),
        of("a tag is held and bumped", &[0, 1], &[(0, HoldTag), (1, Bump)])
            .stored()
            .tagged()
            .with(Chances { crashes: 1, hold_expiries: 1, ..NEVER }),
        of("an update and a bump", &[0, 1], &[(0, Bump), (1, Update)]).tagged(),
        of("an update and a bump, strictly", &[0, 1], &[(0, Bump), (1, Update)])
            .strictly()
            .with(Chances { expiries: 1, crashes: 1, ..NEVER }),
        of("an update and a bump, memory and time", &[1], &[(0, Bump), (1, Update)])
            .stored()
            .tagged()
            .in_memory()
            .with(Chances { ticks: 1, ..NEVER }),
        of("put and bump, and memory", &[0, 1], &[(0, Bump), (1, Put)]).tagged().in_memory(),
        of("old values and errors", &[0, 1, 1], &[])
            .stored()
            .stale()
            .stale_if_error()
            .with(Chances { agings: 4, errors: 1, expiries: 1, failures: 1, ..NEVER }),
        of("old values and errors, in memory", &[0, 1, 1], &[])
            .stored()
            .stale()
            .stale_if_error()
            .in_memory()
            .leaving()
            .with(Chances { agings: 4, errors: 1, expiries: 1, failures: 1, ..NEVER }),
        of("errors and an invalidation", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .with(Chances { agings: 2, errors: 1, ..NEVER }),
        of("errors and an invalidation that fails", &[0, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .with(Chances { agings: 2, errors: 1, failures: 1, ..NEVER }),
        of("errors and an invalidation, in memory", &[1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .stale_if_error()
            .in_memory()
            .with(Chances { agings: 3, errors: 1, failures: 1, ..NEVER }),
        of("errors, memory and time", &[1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .in_memory()
            .with(Chances { agings: 2, errors: 1, ticks: 1, ..NEVER }),
        of("errors, memory, and a link breaks", &[1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .in_memory()
            .with(Chances { agings: 2, errors: 1, breaks: 1, pings: 1, ..NEVER }),
        of("errors, a crash and a cancel", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .with(Chances { agings: 2, errors: 1, crashes: 1, cancels: 1, ..NEVER }),
        of("refreshes in the background", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .in_memory()
            .leaving()
            .with(Chances { agings: 2, ..NEVER }),
        of("refreshes in the background, a crash and a cancel", &[1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .in_memory()
            .leaving()
            .with(Chances { agings: 2, crashes: 1, cancels: 1, expiries: 1, ..NEVER }),
        of("refreshes in the background, without memory", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .leaving()
            .with(Chances { agings: 2, cancels: 1, ..NEVER }),
        of("early refreshes", &[0, 1, 1], &[(0, Invalidate)]).stored().early().with(Chances {
            agings: 1,
            errors: 1,
            expiries: 1,
            ..NEVER
        }),
        of("early refreshes, in memory", &[1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .early()
            .in_memory()
            .leaving()
            .with(Chances { agings: 2, errors: 1, expiries: 1, ..NEVER }),
        of("refresh() and errors", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .refreshing(0b10)
            .with(Chances { agings: 2, errors: 1, ..NEVER }),
        of("callers that wait no longer than they like", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .waiting()
            .with(Chances { agings: 1, errors: 1, cancels: 1, ..NEVER }),
        of("callers that wait, and memory", &[1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .stale_if_error()
            .in_memory()
            .waiting()
            .with(Chances { agings: 3, errors: 1, cancels: 1, ..NEVER }),
        of("a refresh that is not stored", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale()
            .in_memory()
            .with(Chances { agings: 1, rejections: 1, pings: 1, ..NEVER }),
        of("errors and an update", &[0, 1], &[(0, Update)])
            .stored()
            .stale()
            .stale_if_error()
            .in_memory()
            .with(Chances { agings: 2, errors: 1, hold_expiries: 1, ..NEVER }),
        of("errors and a bump", &[0, 1], &[(0, Bump)])
            .stored()
            .stale_if_error()
            .tagged()
            .with(Chances { agings: 2, errors: 1, ..NEVER }),
        of("errors and a bump, strictly", &[0, 1, 1], &[(0, Bump)])
            .stored()
            .stale_if_error()
            .strictly()
            .with(Chances { agings: 2, errors: 1, ..NEVER }),
        of("errors and a bump, in memory", &[1, 1], &[(0, Bump)])
            .stored()
            .stale()
            .stale_if_error()
            .tagged()
            .in_memory()
            .with(Chances { agings: 2, errors: 1, ticks: 1, ..NEVER }),
    ];

/// Those that take longer, and may be cut.
pub const LARGE: &[Configuration] =
    &[
        of("fill and invalidate, four readers, with failures", &[0, 0, 1, 1], &[(0, Invalidate)])
            .with(Chances { expiries: 1, failures: 1, crashes: 1, ..NEVER }),
        of("two updates, two readers, with failures", &[0, 1], &[(0, Update), (1, Update)])
            .with(Chances { expiries: 1, hold_expiries: 2, crashes: 1, failures: 1, ..NEVER }),
        of("fill and bump, where all of it fails", &[0, 1, 1], &[(0, Bump)])
            .tagged()
            .with(Chances { expiries: 1, failures: 1, cancels: 1, crashes: 1, ..NEVER }),
        of("an update and a bump, with failures", &[0, 1], &[(0, Bump), (1, Update)])
            .tagged()
            .with(Chances { expiries: 1, failures: 1, hold_expiries: 1, ..NEVER }),
        of("three changes that fail", &[1], &[(0, Update), (1, Hold), (1, Invalidate)])
            .stored()
            .with(Chances { failures: 1, hold_expiries: 2, ..NEVER }),
        of("put, update and hold", &[1], &[(0, Put), (1, Update), (0, Hold)])
            .stored()
            .with(Chances { hold_expiries: 2, failures: 1, ..NEVER }),
        of("three changes, and memory", &[1, 1], &[(0, Update), (0, Invalidate), (1, Put)])
            .stored()
            .in_memory(),
        of(
            "two invalidations that fail, and a link breaks",
            &[0, 1],
            &[(0, Invalidate), (1, Invalidate)],
        )
        .stored()
        .in_memory()
        .with(Chances { breaks: 1, failures: 1, ..NEVER }),
        of("old values and errors, four readers", &[0, 0, 1, 1], &[])
            .stored()
            .stale()
            .stale_if_error()
            .with(Chances { agings: 3, errors: 2, expiries: 1, ..NEVER }),
        of("errors and an invalidation, where all of it fails", &[0, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .with(Chances { agings: 2, errors: 1, failures: 1, cancels: 1, crashes: 1, ..NEVER }),
        of("errors and two changes, and memory", &[0, 1], &[(0, Update), (1, Invalidate)])
            .stored()
            .stale()
            .stale_if_error()
            .in_memory()
            .leaving()
            .with(Chances { agings: 3, errors: 1, failures: 1, ..NEVER }),
        of("errors, memory, a link and time", &[1, 1, 1], &[(0, Invalidate)])
            .stored()
            .stale_if_error()
            .in_memory()
            .with(Chances { agings: 2, errors: 1, breaks: 1, ticks: 1, pings: 1, ..NEVER }),
        of("early refreshes, refresh() and an update", &[0, 1, 1], &[(0, Update)])
            .stored()
            .stale()
            .early()
            .in_memory()
            .refreshing(0b10)
            .with(Chances { agings: 2, errors: 1, expiries: 1, hold_expiries: 1, ..NEVER }),
        of("errors and a bump, strictly, where all of it fails", &[0, 1], &[(0, Bump)])
            .stored()
            .stale_if_error()
            .strictly()
            .with(Chances { agings: 2, errors: 1, failures: 1, cancels: 1, expiries: 1, ..NEVER }),
    ];

/// Any two changes, in one process or in two, with a mishap or two.
#[must_use]
pub fn pairs() -> Vec<Configuration> {
    let chances = [
        ("two failures", Chances { failures: 2, ..NEVER }),
        ("a failure and a cancel", Chances { failures: 1, cancels: 1, ..NEVER }),
        ("a failure and a crash", Chances { failures: 1, crashes: 1, ..NEVER }),
        ("a failure and a lost hold", Chances { failures: 1, hold_expiries: 2, ..NEVER }),
        ("time", Chances { ticks: 1, ..NEVER }),
        ("a failure and a refresh", Chances { failures: 1, agings: 1, ..NEVER }),
        ("a cancel and a crash", Chances { cancels: 1, crashes: 1, ..NEVER }),
        ("a cancel and a lost hold", Chances { cancels: 1, hold_expiries: 2, ..NEVER }),
        ("a crash and a lost hold", Chances { crashes: 1, hold_expiries: 2, ..NEVER }),
        ("a crash and a lost lease", Chances { crashes: 1, expiries: 1, ..NEVER }),
        ("a crash and a lost link", Chances { crashes: 1, breaks: 1, ..NEVER }),
        ("a lost link and a ping", Chances { breaks: 1, pings: 1, ..NEVER }),
        ("an error", Chances { agings: 2, errors: 1, ..NEVER }),
        ("an error and a failure", Chances { agings: 1, errors: 1, failures: 1, ..NEVER }),
        ("an error and a ping", Chances { agings: 1, errors: 1, pings: 1, ..NEVER }),
    ];
    let kinds = [Invalidate, Hold, Update, Put, Bump, HoldTag];
    let mut pairs = Vec::new();
    for (number, first) in kinds.into_iter().enumerate() {
        for second in kinds.into_iter().skip(number) {
            for (place, process) in [("here", 0), ("elsewhere", 1)] {
                for (what, chances) in chances {
                    let writers = vec![(0, first), (process, second)].leak();
                    let name = format!("{first:?}, and {second:?} {place}, {what}").leak();
                    let mut pair = of(name, &[0, 1], writers).stored().with(chances);
                    if chances.agings > 0 {
                        pair = pair.stale();
                    }
                    if chances.errors > 0 {
                        pair = pair.stale_if_error();
                    }
                    if matches!(second, Bump | HoldTag) {
                        let name = format!("{name}, strictly").leak();
                        pairs.push(Configuration { name, ..pair }.strictly());
                        pair = pair.tagged();
                    }
                    if pair.tagged == Tagged::Locally || chances.breaks + chances.ticks == 0 {
                        pairs.push(pair);
                    }
                    for readers in [&[0, 0], &[1, 1]] {
                        let name = format!("{name}, memory {}", readers[0]).leak();
                        pairs.push(Configuration { name, readers, ..pair }.in_memory());
                    }
                }
            }
        }
    }
    pairs
}

/// The small configuration of this name.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn named(name: &str) -> Configuration {
    let found = SMALL.iter().find(|configuration| configuration.name == name);
    *found.unwrap_or_else(|| panic!("there is no configuration {name:?}"))
}
