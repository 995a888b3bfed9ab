//! The attributes of [`larder`](https://docs.rs/larder). **Depend on `larder`, not on this
//! crate:** what the attributes emit names only `larder`.
//!
//! The way of an attribute: `args` (what is written in it), `signature` (what is under it),
//! `template` (its key and tags), `elements` (what a batch is of), `check` and `owned` (what does not go
//! together), `expand` (what is emitted), and `fallback` (what is emitted after an error).

mod args;
mod check;
mod elements;
mod errors;
mod expand;
mod fallback;
mod owned;
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
/// | [`tags(…)`](#tags) | templates, 8 at most | – | what an entry is invalidated by, along with others |
/// | [`tags_strict`](#tags_strict) | flag | off | whether a tag was invalidated is asked of Redis with every value |
/// | [`local`](#local-and-remote) | time or `false` | `ttl` | life in the memory of the process |
/// | [`remote`](#local-and-remote) | `false` | on | keeps the value in memory: it needs no serde |
/// | [`stale`](#stale) | time | 0 | serves a value this long past `ttl`, while one caller refreshes it |
/// | [`stale_if_error`](#stale_if_error) | time | 0 | serves one this long past `ttl` after an `Err` or a panic |
/// | [`refresh_early`](#refresh_early) | flag | off | now and then a caller refreshes before `ttl` is over |
/// | [`max_wait`](#max_wait) | time | none | waits at most so long for a run, then takes the old value |
/// | [`detached`](#detached) | flag or `= false` | refreshes | runs on a task of its own |
/// | [`each(id in ids)`](#each) | element and argument | – | loads many: an entry for each element |
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
/// # `tags`
///
/// Names that entries have in common, of any keys and functions, so that a writer can drop all of
/// them without knowing one. Each is a template as in `key`, over the same arguments; it may be a
/// literal alone.
///
/// ```
/// use larder::{cached, invalidates};
///
/// #[cached(ttl = 60, key = "user:{id}:{team}", tags("team:{team}", "users"))]
/// async fn get_user(id: u64, team: u64) -> Result<String, String> {
///     // SELECT …
/// #   Ok(format!("{id} of {team}"))
/// }
///
/// #[cached(ttl = "5m", key = "report:{team}", tags("team:{team}"))]
/// async fn report(team: u64) -> Result<u64, String> {
///     // SELECT sum(…) …
/// #   Ok(team)
/// }
///
/// #[invalidates(tag("team:{team}"))]
/// async fn dissolve(team: u64) -> Result<(), String> {
///     // DELETE …
/// #   Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// get_user(42, 7).await?;
/// report(7).await?;
/// dissolve(7).await?;                     // both are dropped, by one command
/// assert!(get_user(42, 7).peek().await.is_none());
/// assert!(report(7).peek().await.is_none());
/// # Ok(())
/// # }
/// ```
///
/// All values with a tag are dropped by one command, whatever their number: a tag has a stamp, each
/// value carries those of its tags, and one that carries an old stamp is a miss. That is exact in
/// the process that invalidates, and within
/// [`max_staleness`](struct.CacheBuilder.html#method.max_staleness) in others; with `tags_strict`
/// and `local = false` it is exact in all of them.
///
/// Values are written in a tag as they are in a key, escaped. So invalidate with
/// [`#[invalidates(tag(…))]`](attr.invalidates.html#tags), which writes them likewise, rather than with
/// [`Cache::invalidate_tag`](struct.Cache.html#method.invalidate_tag) and a text made by hand.
///
/// A tag does not make an argument part of the key. What a tag names beyond the key (a skipped
/// argument, a field, a `name = expr` of its own) tells entries apart in memory; in Redis they are
/// one, and the last that was stored stands. What it has in common with the key costs a call
/// nothing. The templates are part of what a stored value is recognised by: with other ones, old
/// values are misses.
///
/// ```
/// # use larder::cached;
/// # struct Db { shard: u32 }
/// # struct Date; impl Date { fn iso(&self) -> String { "2026-11-21".into() } }
/// #[cached(
///     ttl = 60,
///     key = "menu:{place}",
///     tags("shard:{db.shard}", ("day:{day}", day = date.iso())),
///     skip(db, date),
/// )]
/// async fn menu(db: &Db, place: u64, date: &Date) -> Result<String, String> { Ok(date.iso()) }
/// ```
///
/// # `tags_strict`
///
/// With every value that is read from Redis the stamps of its tags are, too; without it, this process
/// mostly knows them. So no value comes from Redis whose tag was invalidated before the read began,
/// in whatever process. For values in memory it changes nothing; `local = false` keeps them out.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, key = "rights:{user}", tags("rights"), tags_strict, local = false)]
/// async fn rights(user: u64) -> Result<Vec<String>, String> { Ok(vec![]) }
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
/// # `stale`
///
/// For so long past `ttl` callers get the old value at once, while one caller of the whole fleet
/// runs the function. If receiver and arguments are owned, that run goes on a
/// [task of its own](#detached), and the caller that started it gets the old value, too; else that
/// caller waits for it. What the run returns takes the place of the old value; what it returns and
/// is not stored removes it. After an error the old value stays. An invalidated value is never served.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, stale = "10m", key = "rates:{currency}")]
/// async fn rates(currency: String) -> Result<Vec<u64>, String> { Ok(vec![]) }
/// ```
///
/// # `stale_if_error`
///
/// Callers wait for the function when `ttl`, and `stale` if there is one, is over. If it fails or panics,
/// they get the value that is at most so long past `ttl` instead of the error, and until the shorter of
/// `ttl` and the builder's `lease` is over they get it at once, so that a failing origin is not hammered.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, stale = 30, stale_if_error = "1d", key = "weather:{city}")]
/// async fn weather(city: String) -> Result<String, String> { Err(format!("{city}: timed out")) }
/// ```
///
/// # `refresh_early`
///
/// In the second half of a life, and with a chance that grows with what the function costs and with
/// what is over of `ttl`, a caller runs the function before the value expires. So an entry that is read often
/// is always there, and nobody waits for it if the arguments are owned
/// (Vattani, Chierichetti and Lowenstein, «Optimal Probabilistic Cache Stampede Prevention», 2015).
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = "5m", refresh_early, key = "front:{page}")]
/// async fn front(page: u32) -> String { format!("page {page}") }
/// ```
///
/// # `max_wait`
///
/// Where there is an old value to give, a caller waits at most so long for the run. The run goes on
/// without it, so the arguments have to be owned.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, stale = "1h", max_wait = "200ms", key = "hits:{words}")]
/// async fn hits(words: String) -> Result<Vec<u64>, String> { Ok(vec![]) }
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
/// Without it, a run leaves its caller only where there is a value to give meanwhile: with
/// `stale`, `refresh_early` or `max_wait`, and if receiver and arguments are owned. That is told from how
/// they are written (no `&` but `&'static`, no lifetime, no `impl Trait`, no type parameter of the function),
/// and then rustc wants the body, the output and all they hold to be `Send + 'static`. Where they are not (an `Rc`,
/// a `Cow<str>`, a recursive function), `detached = false` keeps each run with its caller.
///
/// ```
/// # use larder::cached;
/// #[cached(ttl = 60, stale = 30, detached = false, key = "words:{of}")]
/// async fn words(of: u64) -> usize {
///     let words = std::rc::Rc::new(of.to_string());
///     tokio::task::yield_now().await;
///     words.len()
/// }
/// ```
///
/// # `each`
///
/// For a function that loads many at once. Each element has an entry of its own, which it shares with
/// any function of the same template and type of value; the body runs at most once, and its argument is
/// then what had no entry, each element once.
///
/// ```
/// use std::collections::HashMap;
/// use larder::cached;
///
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct User;
/// # struct Db;
/// #[cached(ttl = 60, key = "user:{id}", each(id in ids), skip(db))]
/// async fn load_users(db: &Db, ids: &[u64]) -> Result<HashMap<u64, User>, String> {
///     // SELECT … WHERE id = ANY(…)
/// #   Ok(ids.iter().map(|id| (*id, User)).collect())
/// }
///
/// #[cached(ttl = 60, key = "user:{id}", skip(db))]
/// async fn get_user(db: &Db, id: u64) -> Result<User, String> {
///     // SELECT … WHERE id = …
/// #   Ok(User)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), String> {
/// # let db = Db;
/// let users = load_users(&db, &[1, 2, 3]).await?;
/// assert_eq!(users.len(), 3);
/// get_user(&db, 2).await?;                // from memory
/// load_users(&db, &[3, 4]).await?;        // the body runs with `[4]`
/// # Ok(())
/// # }
/// ```
///
/// The argument is a slice or a `Vec` of what is a [`KeyPart`](trait.KeyPart.html) and
/// `Clone + Eq + Hash`; the function returns a `HashMap` with these as keys, or a `Result` of one. In `key`
/// and `tags` an element goes by its name, a reference to it in a `name = expr`. One that the map
/// lacks is a `None`, and stored only with `none_ttl`; `ttl` and `cache_if` by the value see one of the map's values.
/// An `Err` is that of the whole call. What a caller gets is a [`Batch`](struct.Batch.html), whose verbs are
/// for all of the elements.
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
/// [`#[invalidates]`](attr.invalidates.html) and [`#[updates]`](attr.updates.html) go below this one, and
/// act when the function runs. Attributes that wrap the body (`#[tracing::instrument]`) go
/// **above** this one; then they wrap the function, not the hits. Below it may stand only what leaves the body alone (docs, lints,
/// `cfg`, `must_use`, …). What is behind a `cfg_attr` is not looked into.
///
/// # A `Drop` that is late
///
/// Arguments move into the run. On a hit they are dropped unused, as soon as the call is.
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute("cached", args.into(), &item.into()).into()
}

/// Invalidates entries when an async function has changed what is in them.
///
/// ```
/// use larder::{cached, invalidates};
///
/// # type Error = String;
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct User;
/// #[cached(ttl = 60, key = "user:{id}")]
/// async fn get_user(id: u64) -> Result<User, Error> {
///     // SELECT …
/// #   Ok(User)
/// }
///
/// #[invalidates(get_user(id))]
/// async fn rename(id: u64, name: String) -> Result<(), Error> {
///     // UPDATE …
/// #   Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// get_user(42).await?;
/// rename(42, "Ada".to_owned()).await?;
/// assert!(get_user(42).peek().await.is_none());
/// # Ok(())
/// # }
/// ```
///
/// The function keeps its signature, and its callers get what it returned: what could not be
/// invalidated is repeated in the background, and is no error of the function. It may be free,
/// nested or generic, a method, an associated function, a method of a trait impl, or of an
/// `#[async_trait]` impl.
///
/// It acts after `Ok`, after `Some`, and after whatever is neither `Result` nor `Option`; aliases
/// of them are recognised. Of several layers the outermost decides, so that `Ok(None)` counts as
/// `Ok`.
///
/// A body that panics, or whose future is dropped after it began, may have changed something: what
/// is known by then is invalidated in the background. A client that hangs up while a `COMMIT` is on
/// its way is the usual case.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | [a call](#targets) | <code>Cached&lt;_></code> or <code>Entry&lt;_></code> | one at least | taken before the body runs |
/// | [a closure](#targets) | <code>&#124;out&#124; call</code> | – | taken after it, from the value inside the output |
/// | [`tag(…)`](#tags) | template | – | the entries with that tag |
/// | [`cache`](#cache) | expression | the current one | which cache the tags are of |
/// | [`hold`](#hold) | time | none | nothing is stored while the body runs |
/// | [`hold_required`](#hold_required) | flag | off | without the hold the body does not run |
/// | [`on`](#on) | `"ok"` or `"always"` | `"ok"` | whether it acts after `Err` and `None` too |
/// | [`crate`](#crate) | path | `::larder` | where this crate is |
///
/// A time is a whole number of seconds, or `"250ms"`, `"5s"`, `"5m"`, `"1h30m"`, `"7d"`; it is
/// above zero.
///
/// # Targets
///
/// Calls of cached functions, as many as there are to invalidate. They are not run: each is taken
/// as the name of its entry, before the body, which may therefore move the arguments. The compiler
/// checks them as what they are, so a renamed function is found and a wrong argument is an error.
///
/// `|out| call` is for keys that only the result knows. The closure gets a reference to the value
/// inside the output: to the `T` of `Result<T, _>` and `Option<T>`. Beside it, the closure sees the
/// arguments that the body has left: those that it does not use, and those that are `Copy`, as
/// references are. When the body fails there is no value, and nothing is taken from it.
///
/// ```
/// use larder::{cached, invalidates};
///
/// struct User { id: u64, name: String }
/// struct Users { org: u64 }
///
/// #[cached(ttl = 60, key = "name:{name}")]
/// async fn by_name(name: &str) -> Option<u64> { None }
///
/// impl Users {
///     #[cached(ttl = 60, key = "list:{self.org}")]
///     async fn list(&self) -> Vec<u64> { vec![] }
///
///     #[invalidates(self.list(), by_name(&name), |out| by_name(&out.name.to_lowercase()))]
///     async fn add(&self, name: String) -> Result<User, String> {
///         Ok(User { id: 1, name })
///     }
/// }
/// ```
///
/// # Tags
///
/// `tag("team:{team}")` is a target too: all entries with that [tag](attr.cached.html#tags),
/// whatever functions they are of, are dropped by one command whatever their number. It takes one
/// template over the arguments, as in `key`, also one with named expressions; and like a call it is
/// taken before the body, which may move the arguments. `|out| tag("team:{out.team}")` is taken after
/// it, from the value inside the output.
///
/// Its text is what counts: `tag("team:{id}")` is the tag that an entry has by `tags("team:{team}")`,
/// if both are 7. Values are written as in keys, escaped; so prefer this attribute over
/// [`Cache::invalidate_tag`](struct.Cache.html#method.invalidate_tag) with a text made by hand.
///
/// It is exact in this process, and within
/// [`max_staleness`](struct.CacheBuilder.html#method.max_staleness) in others; for functions with
/// `tags_strict` and `local = false` it is exact everywhere. With `hold`, nothing is stored under the
/// tag while the body runs.
///
/// ```
/// use larder::{cached, invalidates};
///
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct User { id: u64, team: u64 }
///
/// #[cached(ttl = 60, key = "user:{id}", tags("users"))]
/// async fn get_user(id: u64) -> Option<User> { Some(User { id, team: 7 }) }
///
/// #[cached(ttl = 60, key = "members:{team}", tags("users", "team:{team}"))]
/// async fn members(team: u64) -> Vec<User> { vec![] }
///
/// #[invalidates(get_user(id), tag("team:{from}"), tag("team:{to}"), hold = "5s")]
/// async fn transfer(id: u64, from: u64, to: u64) -> Result<(), String> {
///     // BEGIN … COMMIT
/// #   Ok(())
/// }
///
/// #[invalidates(|user| tag("team:{user.team}"))]
/// async fn remove(id: u64) -> Result<User, String> {
///     // DELETE … RETURNING …
/// #   Ok(User { id, team: 7 })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// members(7).await;
/// remove(42).await?;
/// assert!(members(7).peek().await.is_none());
///
/// members(8).await;
/// transfer(42, 7, 8).await?;
/// assert!(members(8).peek().await.is_none());
/// # Ok(())
/// # }
/// ```
///
/// A function of yours may be named `tag`: what is not given a literal first is a call of it.
///
/// # `cache`
///
/// The cache of the tags: an expression of type `Cache`, `&Cache` or `Arc<Cache>`, evaluated before
/// the body. A call has a cache of its own.
///
/// ```
/// # use larder::{Cache, cached, invalidates};
/// struct Users { cache: Cache, org: u64 }
///
/// impl Users {
///     #[cached(ttl = 60, key = "list:{self.org}", tags("org:{self.org}"), cache = self.cache)]
///     async fn list(&self) -> Vec<u64> { vec![] }
///
///     #[invalidates(tag("org:{self.org}"), cache = self.cache)]
///     async fn clear(&self) -> Result<(), String> { Ok(()) }
/// }
/// ```
///
/// # `hold`
///
/// Keeps readers from storing what they read while the body is in the middle of its change, and
/// invalidates when it begins, too. The hold is renewed as long as the body runs, so its length is
/// not that of the body: it is how long nothing is stored after a crash, or after the body is
/// dropped; half as much again at most. Without it, a process that
/// dies between its `COMMIT` and the invalidation leaves the old value for its `ttl`.
///
/// A hold that cannot be had in Redis is counted, and the body runs without it. The targets have to
/// be calls: a closure has nothing to hold before the body.
///
/// ```
/// # use larder::{cached, invalidates};
/// # #[cached(ttl = 60, key = "balance:{account}")]
/// # async fn balance(account: u64) -> Result<i64, String> { Ok(0) }
/// #[invalidates(balance(from), balance(to), hold = "5s")]
/// async fn transfer(from: u64, to: u64, cents: i64) -> Result<(), String> {
///     // BEGIN … COMMIT
/// #   Ok(())
/// }
/// ```
///
/// # `hold_required`
///
/// The body runs only under its hold; without it, the function returns the error. So the error of
/// the function has to be `From<larder::Error>`, as `anyhow::Error` and boxed errors are.
///
/// ```
/// # use larder::{cached, invalidates};
/// # #[cached(ttl = 60, key = "balance:{account}")]
/// # async fn balance(account: u64) -> Result<i64, String> { Ok(0) }
/// #[invalidates(balance(account), hold = "5s", hold_required)]
/// async fn withdraw(account: u64, cents: i64) -> Result<(), larder::Error> {
///     // BEGIN … COMMIT
/// #   Ok(())
/// }
/// ```
///
/// # `on`
///
/// `on = "always"` acts after `Err` and `None` too. Write it where a failure may have changed
/// something: a statement that ran into a timeout, the second of two writes without a transaction,
/// a `COMMIT` whose answer was lost. A target that is a closure needs a value, and so a success.
///
/// ```
/// # use larder::{cached, invalidates};
/// # #[cached(ttl = 60, key = "stock:{sku}")]
/// # async fn stock(sku: u64) -> Result<u32, String> { Ok(3) }
/// #[invalidates(stock(sku), on = "always")]
/// async fn order(sku: u64) -> Result<u64, std::io::Error> {
///     // POST …, which may time out
/// #   Ok(1)
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
/// Attributes of this crate stand together and nest as they are read. This one may be there more
/// than once, and goes below [`#[cached]`](attr.cached.html) of the same function: then it acts
/// when the function runs. Attributes that wrap the body (`#[tracing::instrument]`) go **above**
/// all of them. Below may stand only what leaves the body alone (docs, lints, `cfg`, `must_use`,
/// …).
///
/// ```
/// # use larder::{cached, invalidates};
/// # #[cached(ttl = 60, key = "pending")] async fn pending() -> u64 { 0 }
/// #[cached(ttl = "1h", key = "invoice:{order}")]
/// #[invalidates(pending())]
/// async fn invoice(order: u64) -> Result<u64, String> { Ok(order) }
/// ```
///
/// # A future that is `Send`
///
/// The output is held until the entries are invalidated. So it has to be `Send` where the future
/// has to be; it need not be `Sync`.
#[proc_macro_attribute]
pub fn invalidates(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute("invalidates", args.into(), &item.into()).into()
}

/// Puts what an async function returns into an entry.
///
/// ```
/// use larder::{cached, updates};
///
/// # type Error = String;
/// # #[derive(Debug, PartialEq, Clone, serde::Serialize, serde::Deserialize)] struct User { name: String }
/// #[cached(ttl = 60, key = "user:{id}")]
/// async fn get_user(id: u64) -> Result<User, Error> {
///     // SELECT …
/// #   Ok(User { name: "Ada".to_owned() })
/// }
///
/// #[updates(get_user(id))]
/// async fn rename(id: u64, name: String) -> Result<User, Error> {
///     // UPDATE … RETURNING …
/// #   Ok(User { name })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let user = rename(42, "Grace".to_owned()).await?;
/// assert_eq!(get_user(42).peek().await, Some(Ok(user)));
/// # Ok(())
/// # }
/// ```
///
/// The function keeps its signature, and its callers get what it returned. All that
/// [`#[invalidates]`](attr.invalidates.html) says of functions, of success and of a body that is
/// dropped holds here too: the value is put after `Ok`, `Some`, and whatever is neither `Result`
/// nor `Option`; after an `Err` or a `None` nothing is.
///
/// The entry is held while the body runs, for a [`lease`](struct.CacheBuilder.html#method.lease) if the
/// process dies meanwhile: it is removed before the body, and nobody stores it until the value is
/// put. Nothing is put where the same entry is named twice, for each is in the way of the other. Of two calls that change it at the same time neither
/// puts its value: both leave a miss, and never the value of the one that lost. A value that did
/// not land is an invalidation.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | [a call](#the-entry) | <code>Cached&lt;_></code> or <code>Entry&lt;_></code> | required | the entry, taken before the body runs |
/// | [`value`](#value) | <code>&#124;out&#124; value</code> | a clone | what is put |
/// | [`crate`](#crate) | path | `::larder` | where this crate is |
///
/// # The entry
///
/// One call of a cached function. It is not run: it is taken as the name of its entry, before the
/// body, which may therefore move the arguments. For two entries write the attribute twice.
///
/// ```
/// # use larder::{cached, updates};
/// # #[cached(ttl = 60, key = "user:{id}")]
/// # async fn get_user(id: u64) -> Result<String, String> { Ok(String::new()) }
/// # #[cached(ttl = 60, key = "nick:{nick}")]
/// # async fn by_nick(nick: &str) -> Option<String> { None }
/// #[updates(get_user(id))]
/// #[updates(by_nick(&nick))]
/// async fn set_nick(id: u64, nick: String) -> Result<String, String> {
///     // UPDATE … RETURNING …
/// #   Ok(nick)
/// }
/// ```
///
/// # `value`
///
/// Without it, a clone of the value inside the output: of the `T` of `Result<T, _>` and
/// `Option<T>`. It has to be what the entry holds: a `User` fits a function that returns `User`,
/// `Option<User>`, `Result<User, _>`, `Result<Option<User>, _>`, or one of these with `Arc<User>`.
/// A closure makes another of a reference to it. As with `put`, what the cached function would not
/// store (an `Err`, a `None` without `none_ttl`, a value that `cache_if` rejects) removes the
/// entry.
///
/// The value inside a `Result<Option<User>, _>` is the `Option<User>`: it fits a cached function
/// that returns one, with its `None`. For one that returns `Result<User, _>`, say what a `None`
/// is to it.
///
/// ```
/// # use larder::{cached, updates};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct User { name: String }
/// # #[cached(ttl = 60, key = "user:{id}")]
/// # async fn get_user(id: u64) -> Result<User, String> { Err(String::new()) }
/// # #[cached(ttl = 60, key = "name:{id}")]
/// # async fn get_name(id: u64) -> Option<String> { None }
/// #[updates(get_name(id), value = |out| out.name.clone())]
/// async fn save(id: u64, user: User) -> Result<User, String> { Ok(user) }
///
/// #[updates(get_user(id), value = |out| out.clone().ok_or("no such user".to_owned()))]
/// async fn rename(id: u64, name: String) -> Result<Option<User>, String> {
///     // UPDATE … RETURNING …, of no row or of one
/// #   Ok(None)
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
/// As of [`#[invalidates]`](attr.invalidates.html), which goes well with it.
///
/// ```
/// # use larder::{cached, invalidates, updates};
/// # #[cached(ttl = 60, key = "user:{id}")]
/// # async fn get_user(id: u64) -> Result<String, String> { Ok(String::new()) }
/// # #[cached(ttl = 60, key = "list")] async fn list() -> Vec<String> { vec![] }
/// #[updates(get_user(id))]
/// #[invalidates(list())]
/// async fn rename(id: u64, name: String) -> Result<String, String> { Ok(name) }
/// ```
#[proc_macro_attribute]
pub fn updates(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute("updates", args.into(), &item.into()).into()
}

/// Limits how often an async function runs.
///
/// ```
/// use larder::{RateLimited, rate_limited};
/// # use std::net::{IpAddr, Ipv4Addr};
///
/// #[derive(Debug)]
/// enum LoginError {
///     TooMany(RateLimited),
///     WrongPassword,
/// }
///
/// impl From<RateLimited> for LoginError {
///     fn from(denial: RateLimited) -> Self {
///         Self::TooMany(denial)
///     }
/// }
///
/// #[rate_limited(limit = 3, per = "1m", key = "login:{ip}")]
/// async fn login(ip: IpAddr, password: &str) -> Result<(), LoginError> {
///     // SELECT …
/// #   if password == "1234" { Ok(()) } else { Err(LoginError::WrongPassword) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// for password in ["0000", "1111", "2222"] {
///     assert!(matches!(login(ip, password).await, Err(LoginError::WrongPassword)));
/// }
/// let Err(LoginError::TooMany(denial)) = login(ip, "1234").await else { panic!() };
/// assert_eq!((denial.limit, denial.remaining), (3, 0));
/// # }
/// ```
///
/// The function keeps its signature. It has to return a `Result` whose error can be made of a
/// [`RateLimited`](struct.RateLimited.html) by `From`, as `anyhow::Error` and boxed errors can: a
/// denial is an error that says when to come back, and has the headers for a response. It may be
/// free, nested or generic, a method, an associated function, a method of a trait impl, or of an
/// `#[async_trait]` impl. Needs the feature `limit`.
///
/// With Redis the limit is that of all processes with the same service together: one round trip, by
/// the clock of the server. Without it, it is that of the cache in this process. Until it may pass,
/// a call that was denied is denied again without a round trip.
///
/// What is admitted is counted, whatever the body then returns. A call that is dropped while it is
/// being admitted may be counted, too. [`Limiter`](struct.Limiter.html) is the same without the
/// attribute; it can also give back.
///
/// | option | value | default | meaning |
/// |---|---|---|---|
/// | [`limit`](#limit-and-per) | integer or expression | required | so many … |
/// | [`per`](#limit-and-per) | time | required | … in so long |
/// | [`key`](#key) | template | the function's path | each key has a limit of its own |
/// | [`burst`](#burst) | integer | `limit` | so many may come at once |
/// | [`algorithm`](#algorithm) | `"gcra"`, `"fixed_window"`, `"sliding_window"` | `"gcra"` | how it is counted |
/// | [`wait`](#wait) | time | none | waits up to so long to be admitted |
/// | [`when_down`](#when_down) | `"local"`, `"allow"`, `"deny"` | `"local"` | what holds while Redis is away |
/// | [`cost`](#cost) | integer or expression | 1 | what a call counts |
/// | [`cache`](#cache) | expression | the current one | which cache, and so which Redis |
/// | [`crate`](#crate) | path | `::larder` | where this crate is |
///
/// A time is a whole number of seconds, or `"250ms"`, `"5s"`, `"5m"`, `"1h30m"`, `"7d"`; it is
/// above zero. An expression is of type `u32`, over the arguments, and is evaluated with every call.
///
/// # `limit` and `per`
///
/// A limit that is an expression may differ from call to call; what was taken under another one still
/// counts. One of zero admits nobody.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// struct Plan { id: u64, searches: u32 }
///
/// #[rate_limited(limit = plan.searches, per = "1h", key = "search:{plan.id}")]
/// async fn search(plan: &Plan, words: &str) -> Result<Vec<u64>, RateLimited> { Ok(vec![]) }
/// ```
///
/// # `key`
///
/// A template as that of [`#[cached]`](attr.cached.html#key), that starts with a literal segment.
/// It need not name all arguments: a limit is not a value. What it names is escaped, so that no
/// caller can choose a text that is the key of another; a long key is as good as a short one.
///
/// Functions with one template share the limit where the values in it are the same and of one type,
/// if `algorithm` and `per` are the same, too. Without a key there is one limit for the function, by its path; each instance of a generic
/// type or function has its own.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// struct Api { tenant: u32 }
///
/// impl Api {
///     #[rate_limited(limit = 100, per = "1s", key = "api:{self.tenant}")]
///     async fn read(&self, id: u64) -> Result<String, RateLimited> { Ok(id.to_string()) }
///
///     #[rate_limited(limit = 100, per = "1s", key = "api:{self.tenant}")]
///     async fn write(&self, id: u64, text: String) -> Result<(), RateLimited> { Ok(()) }
/// }
///
/// #[rate_limited(limit = 5, per = 1)]
/// async fn send_mail(to: &str) -> Result<(), RateLimited> { Ok(()) }
/// ```
///
/// # `burst`
///
/// Of `"gcra"`: how many may come at once after a pause. They come back one by one, each after
/// `per` / `limit`, so that any time of the length `per` has at most `burst` + `limit` of them, and
/// in the long run `limit`. Without it that is twice the limit; `burst = 1` spaces calls evenly and
/// is the strictest.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// #[rate_limited(limit = 60, per = "1m", burst = 1)]
/// async fn crawl(url: &str) -> Result<String, RateLimited> { Ok(url.to_owned()) }
/// ```
///
/// # `algorithm`
///
/// - `"gcra"` is a bucket that fills evenly: see [`burst`](#burst). It is exact.
/// - `"fixed_window"` counts from one full `per` of the clock to the next. Exact in each of these windows; a
///   time of that length which lies across two of them may have twice the limit.
/// - `"sliding_window"` adds the part of the window before that is not over yet, as if its calls had
///   come evenly. They may not have: it is an approximation, which can be off by as much as a window is
///   uneven.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// #[rate_limited(limit = 1000, per = "1d", key = "export:{user}", algorithm = "fixed_window")]
/// async fn export(user: u64) -> Result<Vec<u8>, RateLimited> { Ok(vec![]) }
/// ```
///
/// # `wait`
///
/// Without it, who may not pass is denied at once. With it, calls wait to be admitted, and in one
/// process they are in the order that they came in. Who cannot be admitted in time is denied
/// without waiting for that.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// #[rate_limited(limit = 10, per = 1, burst = 1, wait = "2s", key = "geocoder")]
/// async fn locate(address: &str) -> Result<(f64, f64), RateLimited> { Ok((0.0, 0.0)) }
/// ```
///
/// # `when_down`
///
/// What holds while Redis does not answer. A call loses no more to that than the builder's
/// [`redis_budget`](struct.CacheBuilder.html#method.redis_budget).
///
/// - `"local"`: the same limit, in each process by itself and full at first. So a fleet of four has up to
///   four times the limit.
/// - `"allow"`: all pass.
/// - `"deny"`: nobody does, and `retry_after` is a second.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// #[rate_limited(limit = 3, per = "1d", key = "sms:{number}", when_down = "deny")]
/// async fn send_sms(number: &str) -> Result<(), RateLimited> { Ok(()) }
/// ```
///
/// # `cost`
///
/// A call counts so many times. One that counts more than may ever come at once never passes; its
/// `retry_after` is [`Duration::MAX`](std::time::Duration::MAX). One of zero always does.
///
/// ```
/// # use larder::{RateLimited, rate_limited};
/// #[rate_limited(limit = 1000, per = "1m", key = "import:{team}", cost = rows.len() as u32)]
/// async fn import(team: u64, rows: &[String]) -> Result<usize, RateLimited> { Ok(rows.len()) }
/// ```
///
/// # `cache`
///
/// An expression of type `Cache`, `&Cache` or `Arc<Cache>`: limits are kept where its entries are.
///
/// ```
/// # use larder::{Cache, RateLimited, rate_limited};
/// struct Api { cache: Cache }
///
/// impl Api {
///     #[rate_limited(limit = 100, per = 1, key = "api", cache = self.cache)]
///     async fn read(&self) -> Result<u64, RateLimited> { Ok(0) }
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
/// Attributes of this crate stand together and nest as they are read, the topmost outermost. This one may
/// stand anywhere among them, and more than once:
///
/// - **above** [`#[cached]`](attr.cached.html) it limits how often the call is awaited, hits too. The
///   call is still a [`Cached`](struct.Cached.html), and its verbs are free: `peek`, `put` and `invalidate`
///   are never limited; `refresh`, `uncached` and `with_source` are, as awaiting is;
/// - **below** it, it limits how often the function runs. A denial is then an error of the function: it is not
///   stored, [`stale_if_error`](attr.cached.html#stale_if_error) serves the old value instead, and callers that
///   waited for the run ask for themselves;
/// - above [`#[locked]`](attr.locked.html) it keeps callers from waiting for the lock, below it counts those that have it;
/// - above [`#[invalidates]`](attr.invalidates.html), what is denied changes nothing. Below it, a
///   denial is an `Err` of the function.
///
/// Attributes that wrap the body (`#[tracing::instrument]`) go **above** all of them. Below may stand only
/// what leaves the body alone (docs, lints, `cfg`, `must_use`, …).
///
/// ```
/// # use larder::{RateLimited, cached, rate_limited};
/// /// A hundred calls a second, and ten runs.
/// #[rate_limited(limit = 100, per = 1, key = "quotes:{user}")]
/// #[cached(ttl = 5, stale_if_error = "1h", key = "quote:{share}", skip(user))]
/// #[rate_limited(limit = 10, per = 1)]
/// async fn quote(user: u64, share: String) -> Result<u64, RateLimited> { Ok(share.len() as u64) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(quote(1, "ACME".to_owned()).await, Ok(4));
/// assert_eq!(quote(2, "ACME".to_owned()).peek().await, Some(Ok(4)));
/// # }
/// ```
#[proc_macro_attribute]
pub fn rate_limited(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute("rate_limited", args.into(), &item.into()).into()
}

/// Runs an async function once at a time, in all of a fleet.
///
/// ```
/// use larder::{LockError, locked};
///
/// #[derive(Debug)]
/// enum BillingError {
///     Busy(LockError),
///     Closed,
/// }
///
/// impl From<LockError> for BillingError {
///     fn from(error: LockError) -> Self {
///         Self::Busy(error)
///     }
/// }
///
/// #[locked(key = "billing:{month}", wait = "5s")]
/// async fn bill(month: u32) -> Result<u32, BillingError> {
///     // SELECT … INSERT …
/// #   if month > 12 { Err(BillingError::Closed) } else { Ok(month) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BillingError> {
/// let (first, second) = tokio::join!(bill(11), bill(11));     // one after the other
/// # first?;
/// # second?;
/// # Ok(())
/// # }
/// ```
///
/// The function keeps its signature. It has to return a `Result` whose error can be made of a
/// [`LockError`](enum.LockError.html) by `From`, as `anyhow::Error` and boxed errors can. It may be
/// free, nested or generic, a method, an associated function, a method of a trait impl, or of an
/// `#[async_trait]` impl.
///
/// With Redis the lock is that of all processes with the same service. Without it, it is that of
/// the cache in this process. [`Lock`](struct.Lock.html) is the same without the attribute:
/// `Lock::new(&cache, "billing:11")` is the lock above.
///
/// # What it is good for
///
/// It saves work that is not worth doing twice. **It is no proof that nobody else is at it:** a process that is
/// frozen for longer than its lease, and a Redis that fails over to a replica which has not heard of the lock,
/// can leave two holders, as with any lock that expires. Where that does harm, give the
/// [fence](#the-fence) to the resource, and let it refuse smaller ones.
///
/// | option | value | default | meaning |
/// |---|---|---|---|
/// | [`key`](#key) | template | required | names the lock |
/// | [`lease`](#lease) | time, 1 s to a year | 10 s | how long it outlives a process that dies |
/// | [`wait`](#wait) | time | none | waits up to so long for it |
/// | [`cache`](#cache) | expression | the current one | which cache, and so which Redis |
/// | [`crate`](#crate) | path | `::larder` | where this crate is |
///
/// A time is a whole number of seconds, or `"250ms"`, `"5s"`, `"5m"`, `"1h30m"`, `"7d"`; it is
/// above zero.
///
/// # `key`
///
/// A template as that of [`#[cached]`](attr.cached.html#key), that starts with a literal segment;
/// it may be a literal alone. It need not name all arguments. Functions whose keys come out as the
/// same text have one lock. A function that is locked and calls itself, or another with that lock,
/// waits for itself in vain.
///
/// ```
/// # use larder::{LockError, locked};
/// struct Stock { shop: u32 }
///
/// impl Stock {
///     #[locked(key = "stock:{self.shop}:{sku}")]
///     async fn take(&self, sku: u64, pieces: u32) -> Result<u32, LockError> { Ok(pieces) }
/// }
///
/// #[locked(key = "nightly")]
/// async fn nightly() -> Result<(), LockError> { Ok(()) }
/// ```
///
/// # `lease`
///
/// The lock is renewed at a third of it for as long as the body runs, however long that is; so this is how
/// long others wait after a process has died with it. If it cannot be renewed in time, it is lost:
/// **the body is dropped** where it awaits, and the function returns
/// [`LockError::Lost`](enum.LockError.html). What the body has done until then stands. Code that blocks the
/// thread is not stopped by anything, and is not renewed either if it blocks all threads.
///
/// A body that returns gives the lock back before the function does; one that panics or is dropped
/// gives it back in the background.
///
/// ```
/// # use larder::{LockError, locked};
/// #[locked(key = "reindex:{shard}", lease = 30)]
/// async fn reindex(shard: u32) -> Result<(), LockError> { Ok(()) }
/// ```
///
/// # `wait`
///
/// Without it, a lock that somebody has is [`LockError::TimedOut`](enum.LockError.html) at once.
/// With it, calls wait, and who comes first gets it first: in a process by task, in a fleet by
/// process. While Redis is away, a call without it is
/// [`LockError::Unavailable`](enum.LockError.html) within the builder's
/// [`redis_budget`](struct.CacheBuilder.html#method.redis_budget), and one with it tries for as
/// long as it waits: it is never the process's own lock instead.
///
/// ```
/// # use larder::{LockError, locked};
/// #[locked(key = "seats:{event}", wait = "2s")]
/// async fn reserve(event: u64, seats: u32) -> Result<(), LockError> { Ok(()) }
/// ```
///
/// # The fence
///
/// [`larder::fence()`](fn.fence.html) is a number in the body that is larger than that of anybody who had the
/// lock before. It is known to the task that the body is on, and not on tasks that it spawns.
///
/// ```
/// # use larder::{LockError, locked};
/// #[locked(key = "ledger:{account}")]
/// async fn book(account: u64, cents: i64) -> Result<u64, LockError> {
///     let fence = larder::fence().unwrap_or_default();
///     // UPDATE … SET fence = $fence WHERE … AND fence <= $fence
///     Ok(fence)
/// }
/// ```
///
/// # `cache`
///
/// An expression of type `Cache`, `&Cache` or `Arc<Cache>`: locks are kept where its entries are.
///
/// ```
/// # use larder::{Cache, LockError, locked};
/// struct Jobs { cache: Cache }
///
/// impl Jobs {
///     #[locked(key = "job:{id}", cache = self.cache)]
///     async fn run(&self, id: u64) -> Result<(), LockError> { Ok(()) }
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
/// Attributes of this crate stand together and nest as they are read, the topmost outermost. This one may
/// stand anywhere among them, and more than once: then the locks are taken from the topmost down, and two
/// functions that take them in different orders can wait for each other until `wait` is over.
///
/// - **Above** [`#[cached]`](attr.cached.html) it locks the awaiting of the call, hits too. The call is
///   still a [`Cached`](struct.Cached.html), and its verbs are free: `peek`, `put` and `invalidate` take no
///   lock; `refresh`, `uncached` and `with_source` do, as awaiting does;
/// - **below** it, it locks the run. (That one run of a fleet fills an entry needs no lock; this is for runs of
///   several entries.) A lock that is not had is an error of the function:
///   [`stale_if_error`](attr.cached.html#stale_if_error) serves the old value;
/// - above [`#[invalidates]`](attr.invalidates.html) the lock is kept until the entries are gone; below,
///   it is given back before.
///
/// Attributes that wrap the body (`#[tracing::instrument]`) go **above** all of them. Below may stand only
/// what leaves the body alone (docs, lints, `cfg`, `must_use`, …).
///
/// ```
/// # use larder::{LockError, cached, invalidates, locked};
/// # #[cached(ttl = 60, key = "free:{event}")] async fn free_seats(event: u64) -> u32 { 0 }
/// #[locked(key = "seats:{event}", wait = "2s")]
/// #[invalidates(free_seats(event))]
/// async fn reserve(event: u64, seats: u32) -> Result<(), LockError> { Ok(()) }
/// ```
#[proc_macro_attribute]
pub fn locked(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute("locked", args.into(), &item.into()).into()
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
