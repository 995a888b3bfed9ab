//! What a writer does to entries: it invalidates them, or puts values into them, with or without a
//! hold around the change.
//!
//! Everything that changes an entry comes through here: `invalidate()` and `put()` of a call, the
//! attributes, and the explicit form for a transaction.

mod attribute;
mod hold;
mod invalidation;

use std::time::Duration;

pub use attribute::{Change, cache_of};
pub use invalidation::{Invalidation, InvalidationBuilder};

use self::hold::Held;
use crate::{
    cache::Cache,
    call::{Call, Made},
    error::Error,
    key::KeyText,
    local::{Flights, Kept, Named},
    remote::{self, Fill, Hold, Repair, Settlement},
};

/// What a writer changes. Dropped while it is armed, nobody knows whether the change took place: it is
/// invalidated in the background.
#[derive(Default)]
struct Writes {
    all: Vec<Write>,
    is_armed: bool,
}

impl Writes {
    fn disarm(&mut self) -> Vec<Write> {
        self.is_armed = false;
        std::mem::take(&mut self.all)
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        if self.is_armed {
            self.disarm().into_iter().for_each(Write::abandon);
        }
    }
}

/// One entry that a writer changes, or a tag, and with it every entry that has it.
pub(crate) struct Write {
    target: Target,
    /// Whether a value may come of it.
    is_put: bool,
    held: Option<Held>,
    value: Option<Made>,
}

/// Which entry, or which tag.
#[derive(Clone)]
struct Target {
    cache: Cache,
    name: Named,
    /// Of an entry that was named by a call.
    call: Option<Call>,
}

impl Target {
    fn key(&self) -> String {
        self.name.text.to_text()
    }
}

impl Write {
    pub(crate) fn of(call: &Call) -> Self {
        let cache = call.cache().clone();
        let name = cache.flights.name(call.text());
        Self::of_target(Target { cache, name, call: Some(call.clone()) })
    }

    /// One that a value is to come of.
    pub(crate) fn of_put(call: &Call) -> Self {
        Self { is_put: true, ..Self::of(call) }
    }

    /// By a key as the user wrote it.
    pub(crate) fn of_key(cache: &Cache, key: &str) -> Self {
        Self::of_name(cache, cache.flights.name(KeyText::literal(key)))
    }

    pub(crate) fn of_tag(cache: &Cache, tag: KeyText) -> Self {
        Self::of_name(cache, cache.flights.name_tag(tag))
    }

    fn of_name(cache: &Cache, name: Named) -> Self {
        Self::of_target(Target { cache: cache.clone(), name, call: None })
    }

    fn of_target(target: Target) -> Self {
        Self { target, is_put: false, held: None, value: None }
    }

    /// It is to be stored if nobody else has changed the entry since the hold began. A cache that is
    /// switched off stores nothing.
    pub(crate) fn put(&mut self, value: Made) {
        self.value = Some(value).filter(|_| self.target.cache.is_enabled());
    }

    fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Nobody knows whether the change took place: invalidates in the background.
    fn abandon(self) {
        let Self { target, held, .. } = self;
        match held {
            Some(held) => drop(held),
            None if target.cache.remote.is_none() => outdate(&target),
            None => drop(repair(&target)),
        }
    }
}

fn outdate(target: &Target) {
    Flights::outdate(&target.cache, &target.name, target.call.as_ref());
}

/// From now on this process neither reads nor stores the key, until its invalidation has landed.
fn repair(target: &Target) -> Repair {
    let Target { cache, name, call } = target;
    let number = Flights::suspend(cache, name, call.as_ref());
    Repair::armed(cache, name.clone(), number)
}

/// As `hold`, where the change does not take place unless all are held: then what was held ends as soon
/// as it can.
pub(crate) async fn hold_all(writes: &mut [Write], term: Option<Duration>) -> Result<(), Error> {
    let held = hold(writes, term).await;
    if held.is_err() {
        writes.iter_mut().filter_map(|write| write.held.as_mut()).for_each(Held::change_is_over);
    }
    held
}

/// Begins the change of entries: until they have landed nobody stores them, for `term` at least if
/// this is dropped or the process dies, and half of it more at most; without one as long as a lease.
///
/// An error says that some could not be held, and these are changed all the same.
pub(crate) async fn hold(writes: &mut [Write], term: Option<Duration>) -> Result<(), Error> {
    for write in &mut *writes {
        write.held = Some(Held::begin(write.target.clone(), write.is_put));
    }
    let mut outcome = Ok(());
    for cache in caches(writes) {
        let term = term.unwrap_or(cache.settings.lease);
        // A renewal comes at half of the term at the latest, and then all of it is left.
        let lasts = term.saturating_mul(3) / 2;
        let mut held: Vec<_> = writes
            .iter_mut()
            .filter_map(|write| write.held.as_mut())
            .filter(|held| held.is_in(&cache))
            .collect();
        let holds: Vec<Hold> = held.iter().filter_map(|held| held.hold().cloned()).collect();
        cache.watched();
        let Some(remote) = cache.remote.as_ref().filter(|_| !holds.is_empty()) else {
            for held in held {
                held.granted(lasts, term);
            }
            continue;
        };
        let answers = remote.hold(&holds, lasts, false).await;
        let mut unheld = 0;
        for (held, answer) in held.iter_mut().zip(answers) {
            match answer {
                Ok(()) => held.granted(lasts, term),
                Err(error) => {
                    unheld += 1;
                    outcome = Err(error);
                }
            }
        }
        if unheld > 0 {
            cache.count_unheld(unheld);
        }
    }
    outcome
}

/// Lands changes: once this has returned `Ok`, no call returns a value from before any of them.
///
/// All are attempted. What does not land, also because this is dropped, is repaired in the
/// background, and until then this process does not trust it.
pub(crate) async fn land(writes: Vec<Write>) -> Result<(), Error> {
    let count = writes.len();
    // Before the first await: from here on a future that is dropped has done its half.
    let mut on_their_way = Vec::new();
    for write in writes {
        match write.held {
            None if write.target.cache.remote.is_none() => outdate(&write.target),
            None => on_their_way.push(Way::Invalidation(repair(&write.target), write.target)),
            Some(held) if held.hold().is_none() => held.settle_here(write.value),
            Some(mut held) => {
                held.change_is_over();
                on_their_way.push(Way::Settlement(held, write.value));
            }
        }
    }
    let mut landing = Landing::default();
    while let Some(cache) = on_their_way.first().map(|way| way.target().cache.clone()) {
        let (here, elsewhere) =
            on_their_way.into_iter().partition(|way| way.target().cache.is(&cache));
        on_their_way = elsewhere;
        land_in(&cache, here, &mut landing).await;
    }
    let Landing { mut failed, unstored } = landing;
    match failed.pop() {
        None => unstored.map_or(Ok(()), Err),
        Some((_, error)) if count == 1 => Err(error),
        Some((key, source)) => {
            let keys = failed.into_iter().map(|(key, _)| key).chain([key]).collect();
            Err(Error::NotLanded { keys, source: Box::new(source) })
        }
    }
}

/// What went wrong.
#[derive(Default)]
struct Landing {
    /// What did not land, by key.
    failed: Vec<(String, Error)>,
    /// Why a value was not stored whose entry was invalidated.
    unstored: Option<Error>,
}

/// A change on its way to the remote tier. Dropped, it is repaired.
enum Way {
    Invalidation(Repair, Target),
    Settlement(Held, Option<Made>),
}

impl Way {
    fn target(&self) -> &Target {
        match self {
            Self::Invalidation(_, target) => target,
            Self::Settlement(held, _) => held.target(),
        }
    }
}

async fn land_in(cache: &Cache, ways: Vec<Way>, landing: &mut Landing) {
    let Some(remote) = &cache.remote else {
        return;
    };
    cache.watched();
    let (mut keys, mut invalidations) = (Vec::new(), Vec::new());
    let (mut settlements, mut settled) = (Vec::new(), Vec::new());
    for way in ways {
        match way {
            Way::Invalidation(repair, target) => {
                keys.push(cache.remote_key(&target.name));
                invalidations.push((repair, target));
            }
            Way::Settlement(held, made) => {
                held.end().await;
                // A hold that came too late cannot say who changed the entry before it.
                let made = made.filter(|_| held.is_granted());
                let (entry, value) = match made.map(|made| valued(&held, made)) {
                    Some(Ok((entry, value))) => (Some(entry), value),
                    None => (None, None),
                    Some(Err(error)) => {
                        landing.unstored = Some(error);
                        (None, None)
                    }
                };
                if let Some(hold) = held.hold().cloned() {
                    settlements.push(Settlement { hold, value });
                    settled.push((held, entry));
                }
            }
        }
    }
    if !keys.is_empty() {
        let answers = remote.invalidate(&keys).await;
        for ((repair, target), answer) in invalidations.into_iter().zip(answers) {
            match answer {
                Ok(()) => repair.landed(),
                Err(error) => landing.failed.push((target.key(), error)),
            }
        }
    }
    if !settlements.is_empty() {
        let answers = remote.settle(settlements).await;
        for ((held, entry), answer) in settled.into_iter().zip(answers) {
            match answer {
                Ok(was_alone) => held.settled(entry.filter(|_| was_alone)),
                // It has landed without its value.
                Err(error @ Error::TooLarge { .. }) => {
                    held.settled(None);
                    landing.unstored = Some(error);
                }
                Err(error) => landing.failed.push((held.target().key(), error)),
            }
        }
    }
}

/// The entry of a value, and its form in the remote tier if it has one there.
fn valued(held: &Held, made: Made) -> Result<(Kept, Option<Fill>), Error> {
    let Target { call, .. } = held.target();
    let life = made.life;
    let entry = held.entry(made);
    let value = match call.as_ref().filter(|call| remote::of(call).is_some()) {
        Some(call) => Some(remote::encoded(call, &entry, life, Duration::ZERO)?),
        None => None,
    };
    Ok((entry, value))
}

/// The caches of these, each once.
fn caches(writes: &[Write]) -> Vec<Cache> {
    let mut caches: Vec<Cache> = Vec::new();
    for Write { target, .. } in writes {
        if !caches.iter().any(|cache| cache.is(&target.cache)) {
            caches.push(target.cache.clone());
        }
    }
    caches
}
