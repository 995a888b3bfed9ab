//! What an attribute says about the results of its function: how long they live, which are
//! stored, how errors are shared.

use std::{any::Any, time::Duration};

use super::{
    Call,
    engine::Boxed,
    entry::Put,
    shape::{Keep as _, Shape, Split},
    share::ShareError,
};
use crate::{
    clock::nanos,
    key::{Lifetimes, Site},
    local::{AnyValue, Kept, Lead, Outcome, SharedError, Stamp, Store, is_negative},
};

/// `ttl`: in the attribute, by an expression, or by the value.
#[doc(hidden)]
pub trait Life<V>: Copy + Send + Sync + 'static {
    /// In nanoseconds.
    fn life(&self, site: &Site, value: &V) -> u64;

    /// Jitter and the life of a `None`.
    #[allow(private_interfaces, reason = "the trait is for the attributes alone")]
    fn lifetimes<'a>(&'a self, site: &'a Site) -> &'a Lifetimes {
        &site.lifetimes
    }
}

#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct SiteLife;

impl<V> Life<V> for SiteLife {
    fn life(&self, site: &Site, _: &V) -> u64 {
        site.lifetimes.ttl
    }
}

#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct LifeOf(pub(crate) u64);

impl<V> Life<V> for LifeOf {
    fn life(&self, _: &Site, _: &V) -> u64 {
        self.0
    }
}

#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct LifeBy<L>(pub(crate) L);

impl<V, L: Fn(&V) -> Duration + Copy + Send + Sync + 'static> Life<V> for LifeBy<L> {
    fn life(&self, _: &Site, value: &V) -> u64 {
        nanos((self.0)(value))
    }
}

/// `cache_if`: every value, or some.
#[doc(hidden)]
pub trait Admit<V>: Copy + Send + Sync + 'static {
    fn admits(&self, value: &V) -> bool;
}

#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct AdmitAll;

impl<V> Admit<V> for AdmitAll {
    fn admits(&self, _: &V) -> bool {
        true
    }
}

#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct AdmitBy<C>(pub(crate) C);

impl<V, C: Fn(&V) -> bool + Copy + Send + Sync + 'static> Admit<V> for AdmitBy<C> {
    fn admits(&self, value: &V) -> bool {
        (self.0)(value)
    }
}

/// The three together.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Knobs<L, C, H> {
    pub(crate) life: L,
    pub(crate) admit: C,
    pub(crate) share: H,
}

/// What the three say about outputs of one shape.
#[doc(hidden)]
#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
pub trait Rules<S: Shape>: Copy + Send + Sync + 'static {
    /// How long an output lives, in nanoseconds; `None` if it is not stored.
    fn life(&self, call: &Call, output: &Split<S::Value, S::Error>) -> Option<u64>;

    /// What is handed to so many followers; `None` if the error cannot be shared.
    fn share(&self, error: &S::Error, followers: usize) -> Option<SharedError>;

    /// The copy of one of them.
    fn copy(shared: &SharedError) -> Option<S::Error>;
}

#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
impl<S, L, C, H> Rules<S> for Knobs<L, C, H>
where
    S: Shape,
    L: Life<S::Value>,
    C: Admit<S::Value>,
    H: ShareError<S::Error>,
{
    fn life(&self, call: &Call, output: &Split<S::Value, S::Error>) -> Option<u64> {
        let random = || call.cache().random();
        let site = call.instance.site;
        let lifetimes = self.life.lifetimes(site);
        let life = match output {
            Split::Value(value) if self.admit.admits(value) => {
                let ttl = self.life.life(site, value);
                // A life of zero is none, with or without jitter.
                if ttl == 0 { 0 } else { lifetimes.ttl_from(ttl, random) }
            }
            Split::None => lifetimes.none_ttl_from(random),
            Split::Value(_) | Split::Error(_) => 0,
        };
        (life > 0).then_some(life)
    }

    fn share(&self, error: &S::Error, followers: usize) -> Option<SharedError> {
        self.share.share(error, followers)
    }

    fn copy(shared: &SharedError) -> Option<S::Error> {
        H::copy(shared)
    }
}

/// The rules of a function, erased down to what it returns.
pub(crate) struct Policy<'a, R> {
    pub(super) knobs: &'a AnyKnobs,
    /// Makes the output of an entry's value, if it can be.
    pub(super) join: fn(AnyValue) -> Option<R>,
    /// The copy of an error that a follower returns.
    pub(super) fail: fn(&SharedError) -> Option<R>,
    /// Whether an output is an error.
    pub(super) is_failure: fn(&R) -> bool,
    settle: fn(&AnyKnobs, &Call, Lead, R) -> Settled<R>,
    put: fn(&AnyKnobs) -> Put<R>,
}

/// The knobs of a function, erased.
pub(super) type AnyKnobs = dyn Any + Send + Sync;

impl<'a, R> Policy<'a, R> {
    pub(super) fn of<S: Shape<Output = R>, K: Rules<S>>(knobs: &'a K) -> Self {
        Self {
            knobs,
            join: |kept| joined::<S>(S::Keep::take_last(kept)),
            fail: |shared| K::copy(shared).map(S::error),
            is_failure: S::is_failure,
            settle: |knobs, call, lead, output| settle::<S, K>(known(knobs), call, lead, output),
            put: |knobs| Put::of::<S, K>(*known(knobs)),
        }
    }

    /// Lands an output.
    pub(super) fn settle(&self, call: &Call, lead: Lead, output: R) -> Settled<R> {
        (self.settle)(self.knobs, call, lead, output)
    }

    /// How an output is put.
    pub(super) fn put(&self) -> Put<R> {
        (self.put)(self.knobs)
    }
}

/// The knobs of the type that they were erased from.
pub(super) fn known<K: Any>(knobs: &AnyKnobs) -> &K {
    knobs.downcast_ref().unwrap_or_else(|| unreachable!())
}

/// What settling a run comes to.
pub(crate) enum Settled<R> {
    Done(R),
    /// It has failed with this, and an old value may be in its place.
    Failing(R, Boxed<Option<Kept>>),
    /// The value is on its way to the remote tier, and the output is what it will be kept as.
    Filling(Boxed<Kept>),
}

/// Lands a run: stores what is to be stored, and gives the followers theirs.
pub(crate) fn settle<S: Shape, K: Rules<S>>(
    knobs: &K,
    call: &Call,
    lead: Lead,
    output: S::Output,
) -> Settled<S::Output> {
    let split = S::split(output);
    let life = knobs.life(call, &split);
    match split {
        Split::Value(value) if life.is_none() && !lead.has_followers() && !lead.replaces() => {
            lead.land(Outcome::Unshared);
            Settled::Done(S::value(value))
        }
        Split::Value(value) => {
            let kept = S::Keep::keep(value.clone());
            let measure = || (call.instance.codec.measure)(&kept);
            let cost = nanos(lead.cost());
            let header = call.header(lead.stamp(), life.unwrap_or(0), cost, measure);
            let entry = Kept { header, value: kept };
            match call.keep(lead, life, entry) {
                Some(filling) => Settled::Filling(filling),
                None => Settled::Done(S::value(value)),
            }
        }
        Split::None => {
            let cost = nanos(lead.cost());
            let header = call.header(lead.stamp(), life.unwrap_or(0), cost, || 0);
            let entry = Kept::negative(header, call.is_tagged());
            match call.keep(lead, life, entry) {
                Some(filling) => Settled::Filling(filling),
                // Only a shape that has a `None` splits into one.
                None => Settled::Done(S::none().unwrap_or_else(|| unreachable!())),
            }
        }
        Split::Error(error) => {
            lead.failed();
            // The copies are made with no lock held, for all who have joined by now.
            let followers = lead.close();
            // Who is denied is told when to come back, and nobody else is.
            let is_shared = followers > 0 && !lead.is_denied();
            let shared = if is_shared { knobs.share(&error, followers) } else { None };
            let outcome = shared.map_or(Outcome::Unshared, Outcome::Error);
            if call.old_of(&lead).is_some() {
                return Settled::Failing(S::error(error), call.fall_back(lead, outcome));
            }
            lead.land(outcome);
            Settled::Done(S::error(error))
        }
    }
}

/// What a `put` of an output stores.
pub(crate) struct Made {
    /// In nanoseconds.
    pub(crate) life: u64,
    /// Makes the entry from the stamp that it is to carry.
    pub(crate) entry: Box<dyn FnOnce(Stamp) -> Kept + Send>,
}

/// What a `put` of this output stores; `None` where the function would not store it.
pub(crate) fn entry<S: Shape, K: Rules<S>>(
    knobs: &K,
    call: &Call,
    output: S::Output,
) -> Option<Made> {
    let split = S::split(output);
    let life = knobs.life(call, &split)?;
    let call = call.clone();
    let entry: Box<dyn FnOnce(Stamp) -> Kept + Send> = match split {
        Split::Value(value) => Box::new(move |stamp| {
            let value = S::Keep::keep(value);
            let header = call.header(stamp, life, 0, || (call.instance.codec.measure)(&value));
            Kept { header, value }
        }),
        Split::None => Box::new(move |stamp| {
            Kept::negative(call.header(stamp, life, 0, || 0), call.is_tagged())
        }),
        Split::Error(_) => return None,
    };
    Some(Made { life, entry })
}

pub(super) fn joined<S: Shape>(taken: Result<S::Value, AnyValue>) -> Option<S::Output> {
    match taken {
        Ok(value) => Some(S::value(value)),
        Err(other) => was_negative(other).then(S::none).flatten(),
    }
}

/// Out of line, for few values are of another type than the call's. Drops it.
#[cold]
#[inline(never)]
fn was_negative(value: AnyValue) -> bool {
    let was_negative = is_negative(&value);
    drop(value);
    was_negative
}

/// What memory has for a call, as its output.
pub(crate) fn hit<S: Shape>(call: &Call) -> Option<S::Output> {
    match S::Keep::take_noted(Store::hit(call)?) {
        Ok(value) => Some(S::value(value)),
        Err(other) => other_hit::<S>(call, other),
    }
}

/// Out of line, so that a hit keeps nothing for it.
#[cold]
#[inline(never)]
fn other_hit<S: Shape>(call: &Call, kept: AnyValue) -> Option<S::Output> {
    let output = joined::<S>(S::Keep::take_current(kept, call));
    if output.is_none() {
        call.was_no_hit();
    }
    output
}
