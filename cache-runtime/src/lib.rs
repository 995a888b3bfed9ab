//! What the attributes of [`larder`](https://docs.rs/larder) run on. **Depend on `larder`, not on
//! this crate:** the attributes reach it through `larder`, and its hidden parts change with them.
//!
//! A reader meets the story in this order: `call` (the call and its verbs, and the engine that
//! drives them), `cache` (the tiers and their settings), `local` (entries, generations, flights),
//! `change` (what a writer does to entries), `remote` (the seam to a tier that a fleet shares), `blob` (the bytes in that tier). `key` is
//! beneath all of them; `limit` (how often something may be done), `lock` (one at a time), `clock`, `counters`, `stats`,
//! `watch` (what is published of them) and `error` stand beside.

mod blob;
mod cache;
mod call;
mod change;
mod clock;
mod counters;
mod error;
mod hash;
mod key;
#[cfg(feature = "limit")]
mod limit;
mod local;
mod lock;
mod remote;
mod stats;
mod sync;
mod tally;
mod watch;

pub use blob::{Codec, Compression};
pub use cache::{Cache, CacheBuilder, OnRestart, Options};
pub use call::{
    Batch, Cacheable, Cached, Entry, Holds, IntoEntry, Progress, Shared, Source, WarmReport, warm,
};
pub use change::{Invalidation, InvalidationBuilder};
pub use clock::{Clock, ManualClock};
pub use error::{ConfigError, Error, InstallError};
pub use key::{KeyPart, KeyWriter};
#[cfg(feature = "limit")]
pub use limit::{Algorithm, Allowed, Limiter, RateLimited, WhenDown};
pub use lock::{Lock, LockError, LockGuard, fence};
pub use stats::{FunctionStats, LimitStats, LockStats, RedisStats, Stats};

/// What the attributes emit, and what tests put behind the seam to a remote tier.
#[doc(hidden)]
#[allow(missing_docs, reason = "for the attributes alone")]
pub mod __private {
    #[cfg(feature = "tracing")]
    pub use crate::watch::{EVENTS, Event};
    #[cfg(feature = "metrics")]
    pub use crate::watch::{Kind, METRICS, Metric};
    pub use crate::{
        call::{
            AnyError, BatchBuilder, CallBuilder, CloneOfOutput, ClonedError, EachOf, EachShape,
            FromDenied, FromUnheld, NoPart, Outcome, Output, Part, PartOf, ShapeOf, Success,
            Target, TextError, batch, batch_on, call, call_on, clone_of, denied, of, path_of,
            type_name_of, unexpanded, unexpanded_batch, unheld,
        },
        change::{Change, cache_of},
        key::{KeyBytes, Nesting, Site, Tag},
        lock::{LockSite, Locked, Run, lock, lock_on},
        remote::{
            Acquired, Answers, Ask, Claim, Fill, Found, Got, Hold, Lease, Leased, Memory, ReadOf,
            ReadStamps, Reason, Rejected, Remote, Reply, Seen, Settlement, Tags, Token, Turns,
            Wish,
        },
    };
    #[cfg(feature = "limit")]
    pub use crate::{
        limit::{
            Algorithm, LimitGuard, LimitSite, Limited, Rule, State, Step, Verdict, WhenDown, limit,
            limit_on,
        },
        remote::Limiting,
    };
}
