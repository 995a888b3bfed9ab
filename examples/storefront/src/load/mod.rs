//! Those who use the shop.

mod mix;
mod visit;

pub(crate) use mix::{Ask, Kind, Mix};
pub(crate) use visit::{Visit, visit};
