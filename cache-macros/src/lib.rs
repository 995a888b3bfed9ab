//! The attributes of [`larder`](https://docs.rs/larder). **Depend on `larder`, not on this
//! crate:** what the attributes emit names only `larder`.
//!
//! The way of an attribute: `args` (what is written in it), `signature` (what is under it),
//! `template` (its key), `check` (what does not go together), `expand` (what is emitted), and
//! `fallback` (what is emitted after an error).

mod args;
mod check;
mod errors;
mod expand;
mod fallback;
mod signature;
mod template;

use proc_macro::TokenStream;

/// Caches an async function.
///
/// ```
/// use larder::cached;
///
/// # type Error = String;
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct User;
/// #[cached(ttl = 60, jitter = 10, key = "user:{id}")]
/// async fn get_user(id: u64) -> Result<User, Error> {
///     // SELECT …
/// #   Ok(User)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let user = get_user(42).await?;         // cached for 60 to 70 seconds
/// get_user(42).invalidate().await?;       // the call is also the handle of its entry
/// # Ok(())
/// # }
/// ```
///
/// The function becomes one that returns [`Cached`](struct.Cached.html), a future of what it
/// returned before; so callers do not change. It may be free, nested, generic or recursive, a
/// method, an associated function, a method of a trait impl, or of an `#[async_trait]` impl
/// (there it is cached, but what a caller gets is a boxed future without verbs).
///
/// Of a `Result` only `Ok` is stored, of an `Option` only `Some`; aliases of them are recognised.
/// However many callers find nothing, the function runs once per key; the others wait for it.
///
/// | option | value | default | meaning |
/// |---|---|---|---|
/// | [`ttl`](#ttl) | time, expression or closure | required | life of a stored value |
/// | [`jitter`](#jitter) | time, or `"10%"` | none | adds 0 to so much to each life |
/// | [`key`](#key) | template | path and hashed arguments | names the entry |
/// | [`skip(…)`](#skip) | names | – | arguments that cannot change the result |
/// | [`none_ttl`](#none_ttl) | time | not stored | life of a `None` |
/// | [`cache_if`](#cache_if) | <code>&#124;value&#124; bool</code> | all | which values are stored |
/// | [`share_error`](#share_error) | <code>&#124;error&#124; E</code> | by type | the copy of an error for callers that waited |
/// | [`local`](#local-and-remote) | time or `false` | `ttl` | life in the memory of the process |
/// | [`remote`](#local-and-remote) | `false` | on | keeps the value in memory: it needs no serde |
/// | [`detached`](#detached) | flag or `= false` | off | runs on a task of its own |
/// | [`version`](#version) | integer | 0 | a change makes old values misses |
/// | [`cache`](#cache) | expression | the current one | which cache |
/// | [`crate`](#crate) | path | `::larder` | where this crate is |
///
/// A time is a whole number of seconds, or `"250ms"`, `"5s"`, `"5m"`, `"1h30m"`, `"7d"`; it is
/// above zero.
///
/// # `ttl`
///
/// A time; or an expression of type `Duration` over the arguments, evaluated with every call; or a
/// closure that gets the value. What the closure captures has to be `Copy` and `'static`.
///
/// ```
/// use std::time::Duration;
/// use larder::cached;
///
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct Token { secs: u64 }
/// const SHORT: Duration = Duration::from_secs(5);
///
/// #[cached(ttl = SHORT, key = "rate:{currency}")]
/// async fn rate(currency: &str) -> u32 { 1 }
///
/// #[cached(ttl = |token| Duration::from_secs(token.secs), key = "token:{client}")]
/// async fn token(client: &str) -> Result<Token, String> { Ok(Token { secs: 300 }) }
/// ```
///
/// # `jitter`
///
/// So that entries that were stored together do not expire together. Drawn for each fill. In
/// percent it applies to `none_ttl` too.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, jitter = "10%", key = "page:{slug}")]
/// async fn page(slug: &str) -> String { slug.to_owned() }
/// ```
///
/// # `key`
///
/// A format string over the arguments, `{self.field}`, `{arg.field}`, `{T}` (a type parameter, by
/// `type_name`) and `{Self}`, that starts with a literal segment; or one with named expressions.
/// Placeholders are escaped, so that two different argument lists never share a key. Every
/// argument has to be in it or in `skip`.
///
/// Two functions may share a template on purpose: they share entries if their values have one
/// type. Without `key`, the entry belongs to the function alone: its path, its type parameters,
/// and a SHA-256 of its arguments.
///
/// ```
/// # use larder::cached;
/// # struct Date; impl Date { fn iso(&self) -> String { "2026-11-21".into() } }
/// struct Shop { tenant: u32 }
///
/// impl Shop {
///     #[cached(ttl = 60, key = "price:{self.tenant}:{sku}")]
///     async fn price(&self, sku: &str) -> Option<u64> { None }
/// }
///
/// #[cached(ttl = 60, key = ("menu:{day}", day = date.iso()))]
/// async fn menu(date: &Date) -> String { date.iso() }
///
/// #[cached(ttl = 60)]
/// async fn sum(left: u64, right: u64) -> u64 { left + right }
/// ```
///
/// # `skip`
///
/// Arguments, `self` and type parameters that cannot change the result. A `_` is skipped of
/// itself.
///
/// ```
/// # use larder::cached;
/// # struct Db;
/// #[cached(ttl = 60, key = "user:{id}", skip(db))]
/// async fn user_name(db: &Db, id: u64) -> Result<String, String> { Ok(format!("user {id}")) }
/// ```
///
/// # `none_ttl`
///
/// Without it a `None` is not stored, and the next call runs the function again.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, none_ttl = 5, key = "nick:{nick}")]
/// async fn by_nick(nick: &str) -> Result<Option<u64>, String> { Ok(None) }
/// ```
///
/// # `cache_if`
///
/// Sees the value, never a `None` or an `Err`. What is not stored is still given to the callers
/// that waited for the run.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, cache_if = |hits| !hits.is_empty(), key = "search:{words}")]
/// async fn search(words: &str) -> Vec<u64> { vec![] }
/// ```
///
/// # `share_error`
///
/// Callers that waited for a run that failed get its error: the same one if it is `Clone` (and
/// `Send + Sync`), else one made by `From<Shared>` (`anyhow::Error` and boxed errors have that).
/// Is it neither, each of them runs the function for itself, all at once. This makes the copy
/// instead. For an enum over `sqlx::Error` write this, return `Arc<DbError>`, or add a variant
/// `#[from] Shared` where nobody matches on variants.
///
/// ```
/// # use larder::cached;
/// # #[derive(Debug)]
/// enum DbError {
///     Io(std::io::Error),
///     Unavailable(String),
/// }
///
/// #[cached(
///     ttl = 60,
///     key = "stock:{sku}",
///     share_error = |error| DbError::Unavailable(format!("{error:?}")),
/// )]
/// async fn stock(sku: u64) -> Result<u32, DbError> { Ok(3) }
/// ```
///
/// # `local` and `remote`
///
/// `local` bounds the life in memory, or keeps the value out of it. `remote = false` keeps it out
/// of any other tier, so that it needs no serde, only `Clone + Send + Sync + 'static`.
///
/// ```
/// # use larder::cached;
/// #[derive(Clone)]
/// struct Compiled(std::sync::Arc<Vec<u8>>);
///
/// #[cached(ttl = "1h", remote = false, key = "template:{name}")]
/// async fn template(name: &str) -> Compiled { Compiled(Default::default()) }
/// ```
///
/// # `detached`
///
/// The function runs on a task of its own and so survives its caller: a request that times out
/// still fills the cache. The arguments have to be owned, and `Send + 'static` (rustc says which
/// is not); a recursive function cannot be detached. Without a runtime, and after
/// [`Cache::shutdown`](struct.Cache.html#method.shutdown), it runs where it is called.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, detached, key = "report:{year}")]
/// async fn report(year: u16) -> String { format!("all of {year}") }
/// ```
///
/// # `version`
///
/// Part of what a stored value is recognised by: raise it when the same type gets another meaning.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, version = 2, key = "total:{cart}")]
/// async fn total_with_tax(cart: u64) -> u64 { 0 }
/// ```
///
/// # `cache`
///
/// An expression of type `Cache`, `&Cache` or `Arc<Cache>`.
///
/// ```
/// # use larder::{Cache, cached};
/// struct Users { cache: Cache }
///
/// impl Users {
///     #[cached(ttl = 60, key = "user:{id}", cache = self.cache, skip(self))]
///     async fn get(&self, id: u64) -> Option<String> { None }
/// }
/// ```
///
/// # `crate`
///
/// For a manifest that names this crate otherwise (`pantry = { package = "larder", … }`):
/// `crate = ::pantry`.
///
/// # Other attributes
///
/// Attributes that wrap the body (`#[tracing::instrument]`) go **above** this one; then they wrap
/// the function, not the hits. Below it may stand only what leaves the body alone (docs, lints,
/// `cfg`, `must_use`, …). What is behind a `cfg_attr` is not looked into.
///
/// # A `Drop` that is late
///
/// Arguments move into the run. On a hit they are dropped unused, as soon as the call is.
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute("cached", args.into(), item.into()).into()
}

/// Makes a struct or an enum part of a cache key, by all of its fields.
///
/// A struct with one unnamed field is its field. A type parameter has to be a key part itself.
/// With another name for the crate: `#[key_part(crate = ::pantry)]`.
///
/// ```
/// use larder::{KeyPart, cached};
///
/// #[derive(KeyPart)]
/// struct UserId(u64);
///
/// #[derive(KeyPart)]
/// enum Page {
///     First,
///     After { id: u64, inclusive: bool },
/// }
///
/// #[cached(ttl = 60, key = "orders:{user}:{page}")]
/// async fn orders(user: UserId, page: Page) -> Vec<u64> { vec![] }
///
/// assert_eq!(orders(UserId(7), Page::First).key(), "orders:7:First");
/// assert_eq!(
///     orders(UserId(7), Page::After { id: 3, inclusive: true }).key(),
///     "orders:7:(After,3,true)",
/// );
/// ```
#[proc_macro_derive(KeyPart, attributes(key_part))]
pub fn derive_key_part(item: TokenStream) -> TokenStream {
    expand::key_part(item.into()).into()
}
