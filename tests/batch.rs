//! Functions that load many at once.

mod common;

#[path = "batch/db.rs"]
mod db;
#[path = "batch/elements.rs"]
mod elements;
#[path = "batch/failures.rs"]
mod failures;
#[path = "batch/forms.rs"]
mod forms;
#[path = "batch/remote.rs"]
mod remote;
#[path = "batch/stale.rs"]
mod stale;
#[path = "batch/threads.rs"]
mod threads;
#[path = "batch/verbs.rs"]
mod verbs;
