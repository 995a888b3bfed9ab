//! The protocol of `larder` about one key and its tag, explored state by state: `scripts/model`.
//!
//! [`protocol`] says what can happen, [`configurations`] to whom, [`broken`] what each rule is for,
//! and [`explorer`] visits all of it. A change of the protocol is made here first: what it breaks is
//! found in seconds, with the shortest way to it. [`lock`] is apart: locks have nothing to do with entries.
//!
//! # What is modelled
//!
//! One key in one Redis, in some configurations with a tag, or with values that grow old; two
//! processes with memory, pending keys and tags, flights and a link each; up to four readers and three
//! writers among them. Values are versions of the database: 0, and one more with each commit. A step is what one of them does to
//! what others can see. So a command and its execution are one step, and its answer is the next one
//! of its sender, unless nothing comes between that matters to anybody. A caller that joins between
//! the sending of a command and its execution is one that joins after it: such a caller is promised
//! less by the code, and is owed no more.
//!
//! - A command that is not answered stays in its socket: it arrives later, after any number of other
//!   steps, or never. Arriving at once is the case of an answer that was lost.
//! - Generations are not counted. A bump drops the entry and outdates the flights of its process,
//!   which is all that an unequal generation does.
//! - Time is one bit. When `max_staleness` passes, every proof, entry and flight from before is too
//!   old, and what was announced before must not be served any more. That it passes later for one
//!   than for another is covered by the stricter rule that holds without any time: a hit respects
//!   all that had been announced when the proof was asked for that it relies on.
//! - Leases and holds end at any moment, as often as a configuration allows. A wait ends at any
//!   moment, as often as it likes. That a renewal comes in time is not assumed.
//! - What a hold covers: a crash of its process is no excuse for an old value at rest if the hold
//!   stood when the database committed. A crash that no hold covers is one.
//! - A tag is a second key, with the same scripts and a slot of its own. A stamp is unlike all that
//!   ever were, but nothing is known of it: states that differ in the names of their stamps are one.
//!   Stamps are read in the same step as the value or the lease that they are read with, and what is
//!   made of them is the next step. If there is none, a load of another entry may make one.
//! - What is changed by tag is promised to its process as what is changed by key is, and to all if
//!   stamps are read with each value. Else the others are promised what memory is: what a process
//!   takes by the stamp that it has respects what had been announced by the proof that it relies on.
//! - What is served for its youth, an entry or a flight with a tag, respects what had been announced
//!   at the moment from which its age is counted. That holds without any time, too.
//! - A value is fresh, then stale, then kept for errors, then past its end. All values of one age grow
//!   older at once, wherever they are: so the copies of one value are of one age, as they are by the
//!   server's clock. A newer value may catch up with an older one, as with a jitter, and then they
//!   grow old together.
//! - A refresh or a pause ends at any moment. One whose time is over may still store, and be given back,
//!   until somebody else is elected.
//! - What was said to those who asked LEASE is known beside the key: a key that forgets who runs the
//!   function, or that nobody is to for a while, is found by what it says next. A lease that expires, a
//!   value that Redis evicts and a change end what was said; that time passes for a value does not.
//! - After an error what is old is read again, when the lease was given back: what was found before the run
//!   may be another value than the one whose refresh LEASE has granted, and of a tag LEASE and RELEASE
//!   know nothing. An error that is returned is shared by all who follow.
//! - What a run returns that is not to be stored is followed by an invalidation, as by a writer.
//! - Messages come in the order in which they were sent. Those about a change say nothing else, so it
//!   is of no use to exchange them; none overtakes the answer to a PING.
//! - "Nobody waits for ever" is two checks: a state in which somebody waits has a step that comes
//!   about by itself, and no steps lead back to where they began. Together: every run ends, and all
//!   who are alive have returned.
//!
//! # What is not
//!
//! Wake-ups (a waiter looks again whenever something has changed), errors that cannot be shared,
//! callers that wait for each other in a circle, a follower whose patience ends, several tags of an
//! entry, stamps that a process learns from other entries, `clear`, several keys, more than one node, a
//! failover, and a database that commits after the writer that sent the commit is gone. Of freshness:
//! when a value is refreshed early (it may be at any time), clocks that differ, how many runs a process
//! has in the background, a caller that takes after `max_wait` what its leader has found, a pause that a
//! process remembers, and a cache without Redis.

pub mod broken;
pub mod configurations;
pub mod explorer;
pub mod lock;
pub mod protocol;
