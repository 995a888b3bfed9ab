//! Loading without an attribute.

use std::{any::TypeId, future::Future, time::Duration};

use super::{Cache, scope};
use crate::{
    call::{Cacheable, Call, CallBuilder, Codec, Fallible, InArc, InLabel, Keep, Life, Shape as _},
    clock::nanos,
    key::{Jitter, KeyBytes, KeyText, Lifetimes, MOST_TAGS, Site, load_instance},
};

/// How long [`Cache::get_or_load`] keeps what it loads.
///
/// ```
/// use std::time::Duration;
/// use larder::Options;
///
/// let a_minute = Options::ttl(Duration::from_secs(60)).jitter(Duration::from_secs(10));
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Options<'a> {
    lifetimes: Lifetimes,
    version: u32,
    tags: [&'a str; MOST_TAGS],
    tag_count: u8,
}

impl<'a> Options<'a> {
    /// The life of a stored value. Nothing is stored if it is zero.
    pub const fn ttl(ttl: Duration) -> Self {
        Self {
            lifetimes: Lifetimes { ttl: nanos(ttl), ..Lifetimes::new() },
            version: 0,
            tags: [""; MOST_TAGS],
            tag_count: 0,
        }
    }

    /// Adds 0 to `jitter` to each life, drawn for each value. Default: nothing.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.lifetimes.jitter = Jitter::Upto(nanos(jitter));
        self
    }

    /// The life of a value that serde has as none: a `None`, or a `()`. Default: not stored.
    pub const fn none_ttl(mut self, ttl: Duration) -> Self {
        self.lifetimes.none_ttl = nanos(ttl);
        self
    }

    /// How long past its life a value is served while one caller in the fleet refreshes it, which waits for
    /// its `load`. Default: not at all.
    pub const fn stale(mut self, time: Duration) -> Self {
        self.lifetimes.freshness.stale = nanos(time);
        self
    }

    /// How long past its life a value is served after `load` has failed or panicked; then it is not
    /// called again for as long as `ttl`, or the cache's `lease` if that is shorter. Default: not at all.
    pub const fn stale_if_error(mut self, time: Duration) -> Self {
        self.lifetimes.freshness.stale_if_error = nanos(time);
        self
    }

    /// The life in the memory of the process, if that is to be shorter. Zero keeps values out of
    /// it. Default: as long as the value lives.
    pub const fn local(mut self, life: Duration) -> Self {
        self.lifetimes.local = nanos(life);
        self
    }

    /// What the value is removed by together with others, as they are given:
    /// [`Cache::invalidate_tag`] takes the same text. At most eight; more do not compile. Default:
    /// none.
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// # use larder::{Cache, Options};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = Cache::memory();
    /// # let team = 7;
    /// let options = Options::ttl(Duration::from_secs(60));
    /// let tag = format!("team:{team}");
    /// let load = async { Ok::<_, Infallible>("Ada".to_owned()) };
    /// let name = cache.get_or_load("user:42:name", options.tags([&tag, "users"]), load).await?;
    /// cache.invalidate_tag(&tag).await?;
    /// # assert_eq!(name, "Ada");
    /// # Ok(())
    /// # }
    /// ```
    pub const fn tags<const N: usize>(mut self, tags: [&'a str; N]) -> Self {
        const { assert!(N <= MOST_TAGS, "a value has at most 8 tags") };
        self.tags = [""; MOST_TAGS];
        self.tag_count = 0;
        while (self.tag_count as usize) < N {
            self.tags[self.tag_count as usize] = tags[self.tag_count as usize];
            self.tag_count += 1;
        }
        self
    }

    /// The version of the value's meaning: values of another version are not read. Default: 0.
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }
}

impl Cache {
    /// The value under a key, from the cache or from `load`: one load per key and process however
    /// many callers, as for an annotated function.
    ///
    /// The key is used as it is given; whoever writes it sees to it that two different things
    /// never get one key. `invalidate` takes the same text. Only `Ok` is stored. A value is shared
    /// with the callers that waited; an error is not, each of them makes its own attempt.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    /// use larder::{Cache, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Infallible> {
    /// let cache = Cache::memory();
    /// let a_minute = Options::ttl(Duration::from_secs(60));
    /// let load = async { Ok::<_, Infallible>("Ada".to_owned()) };
    /// let name: String = cache.get_or_load("user:42:name", a_minute, load).await?;
    /// assert_eq!(name, "Ada");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What `load` returned.
    pub async fn get_or_load<T: Cacheable, E>(
        &self,
        key: &str,
        options: Options<'_>,
        load: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if options.tag_count == 0 {
            load_as(self, key, options, Fallible::<T, E, InArc>::of_loader(), load).await
        } else {
            load_as(self, key, options, Fallible::<T, E, InLabel>::of_loader(), load).await
        }
    }
}

async fn load_as<T: Cacheable, E, K: Keep<T>>(
    cache: &Cache,
    key: &str,
    options: Options<'_>,
    shape: Fallible<T, E, K>,
    load: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let (version, tags) = (options.version, options.tag_count);
    let instance = load_instance(TypeId::of::<T>(), version, tags, shape.codec());
    let mut key = KeyBytes::of_text(key);
    if tags > 0 {
        let tags = options.tags.iter().take(usize::from(tags));
        key.tag(tags.map(|tag| KeyText::literal(tag)).collect());
    }
    let mut call = Call::given(cache.clone(), scope(), key, instance);
    if options.lifetimes.local != u64::MAX || options.lifetimes.freshness.is_any() {
        call.set_lifetimes(options.lifetimes);
    }
    let life = LoadLife { lifetimes: options.lifetimes, codec: shape.codec() };
    CallBuilder::of_load(call, life, shape).or_else_by(load).await
}

/// What a loader returns has one shape, so a `None` in it shows only in its stored form.
#[derive(Debug, Clone, Copy)]
struct LoadLife {
    lifetimes: Lifetimes,
    codec: &'static Codec,
}

impl<T: Cacheable> Life<T> for LoadLife {
    fn life(&self, _: &Site, value: &T) -> u64 {
        let Lifetimes { ttl, none_ttl, .. } = self.lifetimes;
        if self.codec.is_none(value) { none_ttl } else { ttl }
    }

    fn lifetimes<'a>(&'a self, _: &'a Site) -> &'a Lifetimes {
        &self.lifetimes
    }
}
