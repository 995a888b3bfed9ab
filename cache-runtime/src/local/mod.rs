//! The memory of the process: entries, the generations that say which of them are valid, and
//! the flights of what is being loaded.

mod flight;
mod fresh;
mod store;
mod tags;
mod trust;
mod waits;

pub(crate) use flight::{
    Begun, Flight, Flights, Followed, Follower, Lead, Mode, Named, Outcome, SharedError, Stamp,
    follow,
};
pub(crate) use fresh::{Aged, Freshness, Old, Remembered, Standing, Window};
pub(crate) use store::{
    AnyValue, Bound, Generations, Header, Kept, Store, is_negative, negative_label,
};
pub(crate) use tags::{Known, Label, Labelled, Moment, Tagged, Tags};
pub(crate) use trust::Trust;
pub(crate) use waits::{Batched, Edge, Run, WaitEdge};
