//! What others see of a cache: its counters, published under names that stay, the times that are
//! recorded when something has taken them, and the events that are told when they happen.
//!
//! The counters are always on, and read by `stats`. The feature `metrics` gives them to the recorder of the
//! crate `metrics`: `table` says what there is, a `reading` is what it is at one moment, and the `publisher`
//! gives it. `times` are recorded at once, and so are
//! `events`, for the subscriber of the crate `tracing`.

pub(crate) mod events;
#[cfg(feature = "metrics")]
mod publisher;
#[cfg(feature = "metrics")]
mod reading;
#[cfg(feature = "metrics")]
mod table;
mod times;

#[cfg(feature = "tracing")]
pub use events::{EVENTS, Event};
#[cfg(feature = "metrics")]
pub(crate) use publisher::Publisher;
#[cfg(feature = "metrics")]
pub use table::{Kind, METRICS, Metric};
#[cfg(feature = "metrics")]
pub(crate) use times::record_run;
pub(crate) use times::{Since, Times};
