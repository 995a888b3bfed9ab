//! What an attribute with `each` emits: a call of each element, then the function for those that need it.

use std::{
    collections::HashSet, fmt, future::Future, hash::BuildHasher, marker::PhantomData,
    time::Duration,
};

use super::{
    Batch,
    element::Inside,
    run::{Leaving, Loading, Rest, goes_on, spawn},
    shape::{EachOutput, EachShape, ElementOf, ElementShape, KeyOf, Ways},
};
use crate::{
    cache::{AsCache, Cache, current, scope},
    call::{
        Call, HasError, Keep, ShareError,
        policy::{AdmitAll, AdmitBy, Knobs, LifeBy, LifeOf, Rules, SiteLife},
        share::ByClosure,
    },
    clock::nanos,
    hash::RandomState,
    key::{Instance, KeyBytes, Site},
};

/// A batch with its function.
type Loads<T, V, E, R, K, L, C, H, F, B> =
    Batch<Loading<T, V, E, R, K, Knobs<L, C, Inside<H>>, F, B>>;

/// Starts a batch in the cache that is current.
pub fn batch<T, V, E, R, K, H>(
    elements: &[T],
    key: impl FnMut(&T) -> KeyBytes,
    site: &'static Site,
    path: &'static str,
    shape: EachShape<R, V, E, K>,
    errors: H,
) -> BatchBuilder<T, V, E, R, K, SiteLife, AdmitAll, H>
where
    T: ElementOf,
    R: EachOutput<Key: KeyOf<T>, Value = V, Error = E, Hasher: BuildHasher + Default>,
    V: 'static,
{
    let cache = current();
    let call = |key, instance| Call::new(cache.clone(), key, instance);
    BatchBuilder::of(elements, key, call, site, path, shape, errors)
}

/// Starts a batch that names its cache, and leaves the default alone.
pub fn batch_on<T, V, E, R, K, H>(
    cache: &impl AsCache,
    elements: &[T],
    key: impl FnMut(&T) -> KeyBytes,
    site: &'static Site,
    path: &'static str,
    shape: EachShape<R, V, E, K>,
    errors: H,
) -> BatchBuilder<T, V, E, R, K, SiteLife, AdmitAll, H>
where
    T: ElementOf,
    R: EachOutput<Key: KeyOf<T>, Value = V, Error = E, Hasher: BuildHasher + Default>,
    V: 'static,
{
    let (cache, scope): (&Cache, _) = (cache.as_cache(), scope());
    let call = |key, instance| Call::given(cache.clone(), scope.clone(), key, instance);
    BatchBuilder::of(elements, key, call, site, path, shape, errors)
}

/// What an attribute with an error leaves in the function's place: the type stays, so that callers see no
/// second error.
pub fn unexpanded_batch<F: Future>(_body: F) -> Batch<F> {
    unreachable!("the attribute did not expand")
}

/// A batch without its function.
pub struct BatchBuilder<T, V, E, R, K, L, C, H> {
    elements: Vec<T>,
    calls: Vec<Call>,
    ways: Ways<T, V, E, R>,
    knobs: Knobs<L, C, H>,
    keep: PhantomData<fn() -> K>,
}

impl<T, V, E, R, K, H> BatchBuilder<T, V, E, R, K, SiteLife, AdmitAll, H> {
    fn of(
        given: &[T],
        mut key: impl FnMut(&T) -> KeyBytes,
        call: impl Fn(KeyBytes, &'static Instance) -> Call,
        site: &'static Site,
        path: &'static str,
        shape: EachShape<R, V, E, K>,
        errors: H,
    ) -> Self
    where
        T: ElementOf,
        R: EachOutput<Key: KeyOf<T>, Value = V, Error = E, Hasher: BuildHasher + Default>,
        V: 'static,
    {
        let instance = site.instance::<V>(path, shape.0, true);
        let mut seen = HashSet::with_capacity_and_hasher(given.len(), RandomState::default());
        let (mut elements, mut calls) = (Vec::new(), Vec::new());
        for element in given {
            if seen.insert(element) {
                elements.push(element.clone());
                calls.push(call(key(element), instance));
            }
        }
        let knobs = Knobs { life: SiteLife, admit: AdmitAll, share: errors };
        Self { elements, calls, ways: Ways::of(), knobs, keep: PhantomData }
    }
}

// The bounds are on the methods, and not on the impl: as for a call.
impl<T, V, E, R, K, L, C, H> BatchBuilder<T, V, E, R, K, L, C, H> {
    fn with<L2, C2, H2>(
        self,
        knobs: impl FnOnce(Knobs<L, C, H>) -> Knobs<L2, C2, H2>,
    ) -> BatchBuilder<T, V, E, R, K, L2, C2, H2> {
        let Self { elements, calls, ways, keep, .. } = self;
        BatchBuilder { elements, calls, ways, knobs: knobs(self.knobs), keep }
    }

    /// `ttl = expr`
    pub fn ttl(self, ttl: Duration) -> BatchBuilder<T, V, E, R, K, LifeOf, C, H> {
        self.with(|Knobs { admit, share, .. }| Knobs { life: LifeOf(nanos(ttl)), admit, share })
    }

    /// `none_ttl`: every element may have no value.
    pub fn none_ttl(&self) {}

    /// `ttl = |value| …`
    pub fn ttl_by<By>(self, life: By) -> BatchBuilder<T, V, E, R, K, LifeBy<By>, C, H>
    where
        By: Fn(&V) -> Duration + Copy + Send + Sync + 'static,
    {
        self.with(|Knobs { admit, share, .. }| Knobs { life: LifeBy(life), admit, share })
    }

    /// `cache_if = |value| …`
    pub fn cache_if<By>(self, admit: By) -> BatchBuilder<T, V, E, R, K, L, AdmitBy<By>, H>
    where
        By: Fn(&V) -> bool + Copy + Send + Sync + 'static,
    {
        self.with(|Knobs { life, share, .. }| Knobs { life, admit: AdmitBy(admit), share })
    }

    /// `share_error = |error| …`
    pub fn share_error<By>(self, share: By) -> BatchBuilder<T, V, E, R, K, L, C, ByClosure<By>>
    where
        R: HasError,
        By: Fn(&E) -> E + Copy + Send + Sync + 'static,
        E: Send + 'static,
    {
        self.with(|Knobs { life, admit, .. }| Knobs { life, admit, share: ByClosure(share) })
    }

    /// Runs the function where the batch is polled, for the elements that need it.
    #[allow(private_interfaces, reason = "for the attributes alone")]
    pub fn or_load<F, B>(self, load: F) -> Loads<T, V, E, R, K, L, C, H, F, B>
    where
        V: Clone + Send + Sync + 'static,
        K: Keep<V>,
        H: ShareError<E>,
        Knobs<L, C, Inside<H>>: Rules<ElementShape<V, E, K>>,
        F: FnOnce(Vec<T>) -> B,
        B: Future<Output = R>,
    {
        self.loading(load, None)
    }

    /// The same, and refreshes old values on a task of its own.
    #[allow(private_interfaces, reason = "for the attributes alone")]
    pub fn or_load_leaving<F, B>(self, load: F) -> Loads<T, V, E, R, K, L, C, H, F, B>
    where
        T: Send + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + 'static,
        R: 'static,
        K: Keep<V>,
        H: ShareError<E>,
        Knobs<L, C, Inside<H>>: Rules<ElementShape<V, E, K>>,
        F: FnOnce(Vec<T>) -> B + Send + 'static,
        B: Future<Output = R> + Send + 'static,
    {
        let leave = goes_on::<ElementShape<V, E, K>, Knobs<L, C, Inside<H>>, V, E>;
        self.loading(load, Some((leave, spawn)))
    }

    fn loading<F, B>(
        self,
        load: F,
        leaving: Option<Leaving<T, V, E, R, F, B>>,
    ) -> Loads<T, V, E, R, K, L, C, H, F, B>
    where
        V: Clone + Send + Sync + 'static,
        K: Keep<V>,
        Knobs<L, C, Inside<H>>: Rules<ElementShape<V, E, K>>,
        F: FnOnce(Vec<T>) -> B,
        B: Future<Output = R>,
    {
        let Self { elements, calls, ways, knobs, .. } = self;
        let Knobs { life, admit, share } = knobs;
        let knobs = Knobs { life, admit, share: Inside(share) };
        let run = Loading::new(Rest::new(elements, ways, load, &calls), calls, knobs, leaving);
        Batch { run, open: |run| run }
    }
}

impl<T, V, E, R, K, L, C, H> fmt::Debug for BatchBuilder<T, V, E, R, K, L, C, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchBuilder").field("calls", &self.calls).finish_non_exhaustive()
    }
}
