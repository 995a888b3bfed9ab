//! What an attribute says about the results of its function: how long they live, which are
//! stored, how errors are shared.

use std::{marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use super::{
    Call,
    shape::{Shape, Split},
    share::ShareError,
};
use crate::{
    clock::nanos,
    key::{Lifetimes, Site},
    local::{Kept, KeptAny, Lead, Negative, Outcome, SharedError, Stamp},
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

/// The three together, for one shape.
#[doc(hidden)]
#[derive(Debug)]
pub struct Policy<S, L, C, H> {
    pub(crate) knobs: Knobs<L, C, H>,
    pub(crate) shape: PhantomData<fn() -> S>,
}

/// A policy whose parts are known.
#[doc(hidden)]
pub trait Settle: Sized + Send + Sync {
    type Shape: Shape;

    /// The policy without the shape, which may borrow: an error type may.
    type Knobs: Copy + Send + Sync + 'static;

    fn of(knobs: Self::Knobs) -> Self;

    fn knobs(&self) -> Self::Knobs;

    /// How long an output lives, in nanoseconds; `None` if it is not stored.
    fn life(&self, call: &Call, output: &SplitOf<Self::Shape>) -> Option<u64>;

    fn share(&self, error: &<Self::Shape as Shape>::Error, followers: usize)
    -> Option<SharedError>;

    fn copy(shared: &SharedError) -> Option<<Self::Shape as Shape>::Error>;
}

type SplitOf<S> = Split<<S as Shape>::Value, <S as Shape>::Error>;

impl<S, L, C, H> Settle for Policy<S, L, C, H>
where
    S: Shape,
    L: Life<S::Value>,
    C: Admit<S::Value>,
    H: ShareError<S::Error>,
{
    type Shape = S;
    type Knobs = Knobs<L, C, H>;

    fn of(knobs: Knobs<L, C, H>) -> Self {
        Self { knobs, shape: PhantomData }
    }

    fn knobs(&self) -> Knobs<L, C, H> {
        self.knobs
    }

    fn life(&self, call: &Call, output: &SplitOf<S>) -> Option<u64> {
        let random = || call.cache.random();
        let site = call.instance.site;
        let lifetimes = self.knobs.life.lifetimes(site);
        let life = match output {
            Split::Value(value) if self.knobs.admit.admits(value) => {
                let ttl = self.knobs.life.life(site, value);
                // A life of zero is none, with or without jitter.
                if ttl == 0 { 0 } else { lifetimes.ttl_from(ttl, random) }
            }
            Split::None => lifetimes.none_ttl_from(random),
            Split::Value(_) | Split::Error(_) => 0,
        };
        (life > 0).then_some(life)
    }

    fn share(&self, error: &S::Error, followers: usize) -> Option<SharedError> {
        self.knobs.share.share(error, followers)
    }

    fn copy(shared: &SharedError) -> Option<S::Error> {
        H::copy(shared)
    }
}

/// What settling a run comes to.
pub(crate) enum Settled<R> {
    Done(R),
    /// The value is on its way to the remote tier, and the output is what it will be kept as.
    Filling(Pin<Box<dyn Future<Output = Arc<KeptAny>> + Send>>),
}

/// Lands a run: stores what is to be stored, and gives the followers theirs.
pub(crate) fn settle<P: Settle>(
    policy: &P,
    call: &Call,
    lead: Lead,
    output: <P::Shape as Shape>::Output,
) -> Settled<<P::Shape as Shape>::Output> {
    let split = P::Shape::split(output);
    let life = policy.life(call, &split);
    match split {
        Split::Value(value) if life.is_none() && !lead.has_followers() => {
            lead.land(Outcome::Unshared);
            Settled::Done(P::Shape::value(value))
        }
        Split::Value(value) => {
            let header = call
                .header(lead.stamp(), life.unwrap_or(0), || (call.instance.codec.measure)(&value));
            let entry: Arc<KeptAny> = Arc::new(Kept { header, value: value.clone() });
            match call.keep(lead, life, entry) {
                Some(filling) => Settled::Filling(filling),
                None => Settled::Done(P::Shape::value(value)),
            }
        }
        Split::None => {
            let header = call.header(lead.stamp(), life.unwrap_or(0), || 0);
            let entry: Arc<KeptAny> = Arc::new(Kept { header, value: Negative });
            match call.keep(lead, life, entry) {
                Some(filling) => Settled::Filling(filling),
                // Only a shape that has a `None` splits into one.
                None => Settled::Done(P::Shape::none().unwrap_or_else(|| unreachable!())),
            }
        }
        Split::Error(error) => {
            lead.failed();
            // The copies are made with no lock held, for all who have joined by now.
            let followers = lead.close();
            let shared = if followers > 0 { policy.share(&error, followers) } else { None };
            lead.land(shared.map_or(Outcome::Unshared, Outcome::Error));
            Settled::Done(P::Shape::error(error))
        }
    }
}

/// Makes the entry that an output is kept as, from the stamp that it is to carry.
pub(crate) type Made = Box<dyn FnOnce(Stamp) -> Arc<KeptAny> + Send>;

/// The entry that a `put` of this output makes; `None` where the function would not store it.
pub(crate) fn entry<P: Settle>(
    policy: &P,
    call: &Call,
    output: <P::Shape as Shape>::Output,
) -> Option<Made> {
    let split = P::Shape::split(output);
    let life = policy.life(call, &split)?;
    let call = call.clone();
    match split {
        Split::Value(value) => Some(Box::new(move |stamp| {
            let header = call.header(stamp, life, || (call.instance.codec.measure)(&value));
            Arc::new(Kept { header, value })
        })),
        Split::None => Some(Box::new(move |stamp| {
            Arc::new(Kept { header: call.header(stamp, life, || 0), value: Negative })
        })),
        Split::Error(_) => None,
    }
}

/// What the followers of a run make of its entry.
pub(crate) fn join<S: Shape>(entry: &KeptAny) -> Option<S::Output> {
    match entry.value.downcast_ref::<S::Value>() {
        Some(value) => Some(S::value(value.clone())),
        None if entry.is_negative() => S::none(),
        None => None,
    }
}
