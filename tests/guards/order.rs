//! All orders of the attributes on one function, each traced through the same steps and held against what
//! reading them from the top to the bottom says.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use larder::{Cache, Limiter, Lock, cached, fence, invalidates, locked, rate_limited};

use super::{HOUR, Refused};

/// What stands on the function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layer {
    Cached,
    Limited,
    Locked,
    Changing,
}

use Layer::{Cached, Changing, Limited, Locked};

static RUNS: AtomicU32 = AtomicU32::new(0);
static FENCED: AtomicU32 = AtomicU32::new(0);

#[cached(ttl = 60, key = "changed:{order}")]
async fn changed(order: &str) -> u32 {
    1
}

fn run() -> u32 {
    FENCED.fetch_add(u32::from(fence().is_some()), Relaxed);
    RUNS.fetch_add(1, Relaxed)
}

/// A function with the attributes in this order, and the order.
macro_rules! orders {
    ($($name:ident: [$($layer:ident),*] $(#[$($attribute:tt)*])*;)*) => {
        $(
            $(#[$($attribute)*])*
            async fn $name() -> Result<u32, Refused> {
                Ok(run())
            }
        )*
        async fn call(order: &str) -> Result<u32, Refused> {
            match order {
                $(stringify!($name) => $name().await,)*
                other => unreachable!("{other}"),
            }
        }
        const ORDERS: &[(&str, &[Layer])] = &[$((stringify!($name), &[$($layer),*]),)*];
    };
}

orders! {
    a: [Limited, Locked, Cached, Changing]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "a"))]
        #[locked(key = "lock:a")]
        #[cached(ttl = 60, key = "value:a")]
        #[invalidates(changed("a"), on = "always")];
    b: [Locked, Limited, Cached, Changing]
        #[locked(key = "lock:b")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "b"))]
        #[cached(ttl = 60, key = "value:b")]
        #[invalidates(changed("b"), on = "always")];
    c: [Limited, Cached, Locked, Changing]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "c"))]
        #[cached(ttl = 60, key = "value:c")]
        #[locked(key = "lock:c")]
        #[invalidates(changed("c"), on = "always")];
    d: [Limited, Cached, Changing, Locked]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "d"))]
        #[cached(ttl = 60, key = "value:d")]
        #[invalidates(changed("d"), on = "always")]
        #[locked(key = "lock:d")];
    e: [Locked, Cached, Limited, Changing]
        #[locked(key = "lock:e")]
        #[cached(ttl = 60, key = "value:e")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "e"))]
        #[invalidates(changed("e"), on = "always")];
    f: [Locked, Cached, Changing, Limited]
        #[locked(key = "lock:f")]
        #[cached(ttl = 60, key = "value:f")]
        #[invalidates(changed("f"), on = "always")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "f"))];
    g: [Cached, Limited, Locked, Changing]
        #[cached(ttl = 60, key = "value:g")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "g"))]
        #[locked(key = "lock:g")]
        #[invalidates(changed("g"), on = "always")];
    h: [Cached, Locked, Limited, Changing]
        #[cached(ttl = 60, key = "value:h")]
        #[locked(key = "lock:h")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "h"))]
        #[invalidates(changed("h"), on = "always")];
    i: [Cached, Limited, Changing, Locked]
        #[cached(ttl = 60, key = "value:i")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "i"))]
        #[invalidates(changed("i"), on = "always")]
        #[locked(key = "lock:i")];
    j: [Cached, Locked, Changing, Limited]
        #[cached(ttl = 60, key = "value:j")]
        #[locked(key = "lock:j")]
        #[invalidates(changed("j"), on = "always")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "j"))];
    k: [Cached, Changing, Limited, Locked]
        #[cached(ttl = 60, key = "value:k")]
        #[invalidates(changed("k"), on = "always")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "k"))]
        #[locked(key = "lock:k")];
    l: [Cached, Changing, Locked, Limited]
        #[cached(ttl = 60, key = "value:l")]
        #[invalidates(changed("l"), on = "always")]
        #[locked(key = "lock:l")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "l"))];
    m: [Limited, Changing, Locked]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "m"))]
        #[invalidates(changed("m"), on = "always")]
        #[locked(key = "lock:m")];
    n: [Changing, Locked, Limited]
        #[invalidates(changed("n"), on = "always")]
        #[locked(key = "lock:n")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "n"))];
    o: [Locked, Limited, Changing]
        #[locked(key = "lock:o")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "o"))]
        #[invalidates(changed("o"), on = "always")];
    p: [Changing, Limited, Locked]
        #[invalidates(changed("p"), on = "always")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "p"))]
        #[locked(key = "lock:p")];
    q: [Limited, Locked, Changing]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "q"))]
        #[locked(key = "lock:q")]
        #[invalidates(changed("q"), on = "always")];
    r: [Locked, Changing, Limited]
        #[locked(key = "lock:r")]
        #[invalidates(changed("r"), on = "always")]
        #[rate_limited(limit = 5, per = "1h", key = ("limit:{at}", at = "r"))];
}

/// What a step has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Trace {
    end: End,
    taken: u32,
    runs: u32,
    /// Runs that had a fence.
    fenced: u32,
    changed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum End {
    #[default]
    Ok,
    Limit,
    Lock,
}

/// How things stand before a step.
#[derive(Debug, Clone, Copy)]
struct Standing {
    is_stored: bool,
    is_held: bool,
    left: u32,
}

/// What the layers say, read from the top.
fn read(layers: &[Layer], standing: Standing, is_locked: bool) -> Trace {
    let Some((layer, below)) = layers.split_first() else {
        return Trace { runs: 1, fenced: u32::from(is_locked), ..Trace::default() };
    };
    match layer {
        Cached if standing.is_stored => Trace::default(),
        Cached => read(below, standing, is_locked),
        Limited if standing.left == 0 => Trace { end: End::Limit, ..Trace::default() },
        Limited => Trace { taken: 1, ..read(below, standing, is_locked) },
        Locked if standing.is_held => Trace { end: End::Lock, ..Trace::default() },
        Locked => read(below, standing, true),
        // Always: also if what is below it has failed.
        Changing => Trace { changed: true, ..read(below, standing, is_locked) },
    }
}

async fn trace(order: &str, limiter: &Limiter) -> Trace {
    changed(order).await;
    let left = limiter.peek(order).await.remaining;
    let (runs, fenced) = (RUNS.load(Relaxed), FENCED.load(Relaxed));
    let end = match call(order).await {
        Ok(_) => End::Ok,
        Err(Refused::Limit(_)) => End::Limit,
        Err(Refused::Lock) => End::Lock,
        Err(Refused::Origin) => unreachable!(),
    };
    Trace {
        end,
        taken: left - limiter.peek(order).await.remaining,
        runs: RUNS.load(Relaxed) - runs,
        fenced: FENCED.load(Relaxed) - fenced,
        changed: changed(order).peek().await.is_none(),
    }
}

#[tokio::test]
async fn attributes_act_in_the_order_in_which_they_are_read() {
    let cache = Cache::memory();
    cache.scope(all_orders(&cache)).await;
}

async fn all_orders(cache: &Cache) {
    for (name, layers) in ORDERS {
        // Those of the attributes, by their names.
        let limiter = Limiter::new(cache, "limit", 5, HOUR);
        let lock = Lock::new(cache, &format!("lock:{name}"));
        let mut is_stored = false;
        for step in 0..8 {
            // Of two steps the second one may find what the first one has stored; held in every second pair.
            let held = if step % 4 >= 2 { lock.try_acquire().await.unwrap() } else { None };
            let standing = Standing {
                is_stored,
                is_held: held.is_some(),
                left: limiter.peek(*name).await.remaining,
            };
            let traced = trace(name, &limiter).await;
            assert_eq!(
                traced,
                read(layers, standing, false),
                "{layers:?}, step {step}, {standing:?}"
            );
            if let Some(held) = held {
                held.release().await.unwrap();
            }
            is_stored |= layers.contains(&Cached) && traced.end == End::Ok;
            if step % 2 == 1 {
                is_stored = false;
                cache.invalidate(&format!("value:{name}")).await.unwrap();
            }
            if step == 4 {
                // Nothing is left of the limit from here on.
                let left = limiter.peek(*name).await.remaining;
                if left > 0 {
                    limiter.check_n(*name, left).await.unwrap();
                }
            }
        }
    }
}
