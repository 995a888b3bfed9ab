//! Two instances on one PostgreSQL and one Redis: what one writes, the other reads.

mod common;

#[path = "fleet/coherence.rs"]
mod coherence;
#[path = "fleet/crash.rs"]
mod crash;
#[path = "fleet/guards.rs"]
mod guards;
#[path = "fleet/once.rs"]
mod once;
#[path = "fleet/outage.rs"]
mod outage;
#[path = "fleet/pair.rs"]
mod pair;
#[path = "fleet/things.rs"]
mod things;
