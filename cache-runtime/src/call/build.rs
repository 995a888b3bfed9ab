//! What an attribute emits: a call is built argument by argument, then given the body.

use std::{fmt, future::Future, marker::PhantomData, time::Duration};

use super::{
    Cached, Call, Front,
    body::{Inline, Leaving, open_plain},
    policy::{AdmitAll, AdmitBy, Knobs, LifeBy, LifeOf, Rules, SiteLife},
    shape::{HasError, HasNone, Shape},
    share::{ByClosure, ByType, ShareError, Unshared},
};
use crate::{
    cache::{AsCache, current, scope},
    clock::nanos,
    key::{Instance, KeyBytes, KeyPart, KeyWriter, Site},
};

/// The path of a closure: `app::Repo<u8>::list::{{closure}}`. It tells two types of one module
/// and two instances of a generic function apart, where `module_path!` and the function's name
/// do not.
#[inline]
pub fn path_of<F>(_closure: &F) -> &'static str {
    std::any::type_name::<F>()
}

/// The name of an argument's type.
#[must_use]
pub fn type_name_of<T: ?Sized>(_: &T) -> &'static str {
    std::any::type_name::<T>()
}

/// Starts a call in the cache that is current.
#[inline]
pub fn call<S: Shape, H>(
    key: KeyBytes,
    site: &'static Site,
    path: &'static str,
    shape: S,
    errors: H,
) -> CallBuilder<S, SiteLife, AdmitAll, H> {
    let instance = instance(site, path, shape);
    let call = Call::new(current(), key, instance);
    CallBuilder::of(call, SiteLife, AdmitAll, errors)
}

/// Starts a call that names its cache, and leaves the default alone.
#[inline]
pub fn call_on<S: Shape, H>(
    cache: &impl AsCache,
    key: KeyBytes,
    site: &'static Site,
    path: &'static str,
    shape: S,
    errors: H,
) -> CallBuilder<S, SiteLife, AdmitAll, H> {
    let instance = instance(site, path, shape);
    let call = Call::given(cache.as_cache().clone(), scope(), key, instance);
    CallBuilder::of(call, SiteLife, AdmitAll, errors)
}

#[inline]
fn instance<S: Shape>(site: &'static Site, path: &'static str, shape: S) -> &'static Instance {
    site.instance::<S::Value>(path, shape.codec(), S::READS_NONE)
}

/// A call without its body.
pub struct CallBuilder<S, L, C, H> {
    call: Call,
    knobs: Knobs<L, C, H>,
    shape: PhantomData<fn() -> S>,
}

// The bounds are on the methods, and not on the impl: a value that cannot be cached is one error
// about a bound, and not one more about each method that is not there.
impl<S, L, C, H> CallBuilder<S, L, C, H> {
    #[inline]
    fn of(call: Call, life: L, admit: C, share: H) -> Self {
        Self { call, knobs: Knobs { life, admit, share }, shape: PhantomData }
    }

    /// `ttl = expr`
    pub fn ttl(self, ttl: Duration) -> CallBuilder<S, LifeOf, C, H> {
        self.living(LifeOf(nanos(ttl)))
    }

    fn living<By>(self, life: By) -> CallBuilder<S, By, C, H> {
        let Knobs { admit, share, .. } = self.knobs;
        CallBuilder::of(self.call, life, admit, share)
    }

    /// `none_ttl`, of a function that has a `None`.
    pub fn none_ttl(&self)
    where
        S: HasNone,
    {
    }

    /// `ttl = |value| …`
    pub fn ttl_by<By>(self, life: By) -> CallBuilder<S, LifeBy<By>, C, H>
    where
        S: Shape,
        By: Fn(&S::Value) -> Duration + Copy + Send + Sync + 'static,
    {
        self.living(LifeBy(life))
    }

    /// `cache_if = |value| …`
    pub fn cache_if<By>(self, admit: By) -> CallBuilder<S, L, AdmitBy<By>, H>
    where
        S: Shape,
        By: Fn(&S::Value) -> bool + Copy + Send + Sync + 'static,
    {
        let Knobs { life, share, .. } = self.knobs;
        CallBuilder::of(self.call, life, AdmitBy(admit), share)
    }

    /// `share_error = |error| …`
    pub fn share_error<By>(self, share: By) -> CallBuilder<S, L, C, ByClosure<By>>
    where
        S: Shape + HasError,
        By: Fn(&S::Error) -> S::Error + Copy + Send + Sync + 'static,
        S::Error: Send + 'static,
    {
        let Knobs { life, admit, .. } = self.knobs;
        CallBuilder::of(self.call, life, admit, ByClosure(share))
    }
}

impl<S, H> CallBuilder<S, SiteLife, AdmitAll, H> {
    /// Runs the body where the call is polled, by what stands in the site. Most functions are such,
    /// and so little is compiled for each of them.
    #[inline]
    pub fn or_else<B>(self, body: B) -> Cached<B>
    where
        S: Shape<Output = B::Output>,
        H: ByType + ShareError<S::Error>,
        B: Future,
    {
        let front = Front::new::<S>(self.call);
        Cached { front, open: open_plain::<S, H, B>, body }
    }
}

impl<S, L, C, H> CallBuilder<S, L, C, H> {
    /// Runs the body where the call is polled, by knobs of its own.
    #[inline]
    pub fn or_else_by<B>(self, body: B) -> Cached<Inline<Knobs<L, C, H>, B>>
    where
        S: Shape<Output = B::Output>,
        Knobs<L, C, H>: Rules<S>,
        B: Future,
    {
        let Self { call, knobs, .. } = self;
        let front = Front::new::<S>(call);
        Cached { front, open: Inline::open::<S>, body: Inline::new(knobs, body) }
    }

    /// Runs the body where the call is polled, and refreshes an old value on a task of its own.
    pub fn or_leave<B>(self, body: B) -> Cached<Leaving<S, Knobs<L, C, H>, B>>
    where
        S: Shape<Output = B::Output> + 'static,
        Knobs<L, C, H>: Rules<S>,
        B: Future + Send + 'static,
        S::Output: Send + 'static,
    {
        let Self { call, knobs, .. } = self;
        let front = Front::new::<S>(call);
        Cached { front, open: Leaving::open, body: Leaving::refreshing(knobs, body) }
    }

    /// Runs the body on a task of its own.
    pub fn or_spawn<B>(self, body: B) -> Cached<Leaving<S, Knobs<L, C, H>, B>>
    where
        S: Shape<Output = B::Output> + 'static,
        Knobs<L, C, H>: Rules<S>,
        B: Future + Send + 'static,
        S::Output: Send + 'static,
    {
        let Self { call, knobs, .. } = self;
        let front = Front::new::<S>(call);
        Cached { front, open: Leaving::open, body: Leaving::always(knobs, body) }
    }
}

impl<S: Shape, L> CallBuilder<S, L, AdmitAll, Unshared> {
    /// A load without an attribute.
    pub(crate) fn of_load(call: Call, life: L, _: S) -> Self {
        Self::of(call, life, AdmitAll, Unshared)
    }
}

impl<S, L, C, H> fmt::Debug for CallBuilder<S, L, C, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBuilder").field("call", &self.call).finish_non_exhaustive()
    }
}

/// An argument in a template. It displays only if it is a key part, so that `format_args!` of
/// the user's own literal says what is not, at the placeholder; nothing is ever displayed.
#[derive(Debug)]
pub struct Part<'a, T: ?Sized>(pub &'a T);

impl<T: KeyPart + ?Sized> fmt::Display for Part<'_, T> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Writes an argument.
pub trait PartOf {
    /// The argument.
    fn write_to(&self, out: KeyWriter<'_>);
    /// Its type, then the argument.
    fn write_typed_to(&self, out: KeyWriter<'_>);
}

impl<T: KeyPart + ?Sized> PartOf for Part<'_, T> {
    fn write_to(&self, mut out: KeyWriter<'_>) {
        out.part(self.0);
    }

    fn write_typed_to(&self, mut out: KeyWriter<'_>) {
        out.typed(self.0);
    }
}

/// Takes what is no key part, so that the one error about it is the one that `Part` makes.
pub trait NoPart {
    /// Nothing.
    fn write_to(&self, _: KeyWriter<'_>) {}
    /// Nothing.
    fn write_typed_to(&self, _: KeyWriter<'_>) {}
}

impl<T: ?Sized> NoPart for &Part<'_, T> {}

/// What an attribute with an error leaves in the body's place: the type stays, so that callers
/// see no second error.
pub fn unexpanded<F: Future>(_body: F) -> Cached<F> {
    unreachable!("the attribute did not expand")
}
