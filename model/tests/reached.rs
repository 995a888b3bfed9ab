//! What the protocol is for happens in the model, too: a model in which nothing happens breaks no
//! rule.

use larder_model::{
    configurations::named,
    explorer::{End, Model, Step, Wrong, explore},
    protocol::{Label, Protocol, State},
};

/// A search for a step with this label that leads to a state like this.
struct Search {
    protocol: Protocol,
    label: &'static str,
    state: &'static str,
}

impl Model for Search {
    type State = (State, bool);
    type Label = Label;
    type Rule = ();

    fn initial(&self) -> Self::State {
        (self.protocol.initial(), false)
    }

    fn steps(&self, (state, _): &Self::State, steps: &mut Vec<Step<Self>>) {
        let mut of_protocol = Vec::new();
        self.protocol.steps(state, &mut of_protocol);
        steps.extend(of_protocol.into_iter().map(|Step { label, after, is_certain }| {
            let is_found = label.to_string() == self.label && format!("{after:?}") == self.state;
            Step { label, after: (after, is_found), is_certain }
        }));
    }

    fn broken_rule(&self, (_, is_found): &Self::State) -> Option<()> {
        is_found.then_some(())
    }

    fn is_finished(&self, (state, _): &Self::State) -> bool {
        self.protocol.is_finished(state)
    }
}

fn assert_reached(configuration: &str, label: &'static str, state: &'static str) {
    let protocol = Protocol { configuration: named(configuration), broken: None };
    let explored = explore(&Search { protocol, label, state }, 1_000_000);
    assert!(matches!(explored.end, End::Wrong(Wrong::Rule(()), _)), "{:?}", explored.end);
}

#[test]
fn a_run_is_stored() {
    assert_reached("fill and invalidate", "reader 0: FILL", "db 0, Value(0)");
}

#[test]
fn what_changed_while_it_ran_is_not_stored() {
    assert_reached("fill and invalidate", "reader 0: FILL", "db 1, Absent");
}

#[test]
fn an_update_that_is_alone_is_stored_and_kept() {
    assert_reached("an update, and memory", "writer 0: SETTLE", "db 1, Value(1)");
    assert_reached("an update, and memory", "writer 0: returns", "db 1, Value(1), memory 0: 1");
}

#[test]
fn two_updates_at_once_leave_a_miss() {
    assert_reached("two updates", "writer 1: SETTLE", "db 2, Absent");
}

#[test]
fn a_renewal_puts_a_lost_hold_back() {
    let held = "db 0, Hold { writers: 1, contended: true }";
    assert_reached("two updates", "writer 0: renews a lost hold", held);
}

#[test]
fn a_link_that_broke_is_proven_again() {
    assert_reached("a link breaks", "process 1: sends SUBSCRIBE", "db 1, Absent");
    assert_reached("a link breaks", "reader 1: hits memory", "db 1, Value(1), memory 1: 1");
}

#[test]
fn a_late_command_arrives() {
    assert_reached(
        "update and invalidate that fail",
        "redis: a late command arrives",
        "db 1, Absent",
    );
}

#[test]
fn a_bump_leaves_a_value_that_is_replaced() {
    let bumped = "db 1, Value(0), stamp Absent, carried 1, local 1: 1";
    assert_reached("a tag is bumped", "writer 0: INVALIDATE", bumped);
    let leased = "db 1, Lease(4), stamp Absent, local 1: 1";
    assert_reached("a tag is bumped", "reader 0: LEASE", leased);
    let filled = "db 1, Value(1), stamp 1, carried 1, local 0: 1, local 1: 2";
    assert_reached("a tag is bumped", "reader 0: FILL", filled);
}

#[test]
fn an_old_stamp_is_read_anew_and_the_new_value_taken() {
    let known = "db 1, Value(1), stamp 1, carried 1, local 0: 1, local 1: 1";
    assert_reached("a tag is bumped", "reader 1: compares stamps", known);
}

#[test]
fn what_was_bumped_while_it_ran_is_stored_outdated() {
    let stored = "db 1, Value(0), stamp Absent, carried 1";
    assert_reached("fill and bump", "reader 2: FILL", stored);
}

#[test]
fn a_held_tag_gives_the_lease_back() {
    let held = "db 0, Absent, stamp Hold { writers: 1, contended: false }";
    assert_reached("a tag is held, and a crash", "reader 1: gives its lease back", held);
}

#[test]
fn a_tagged_update_carries_the_stamp_of_its_hold() {
    let stored = "db 1, Value(1), stamp 1, carried 1";
    assert_reached("an update and a bump", "writer 1: SETTLE", stored);
    let outdated = "db 2, Value(2), stamp Absent, carried 1";
    assert_reached("an update and a bump", "writer 1: SETTLE", outdated);
}

#[test]
fn a_value_is_served_while_it_is_refreshed() {
    let refreshed = "db 0, Aged { value: 0, age: Stale, refresh: By(4) }";
    assert_reached("a refresh and an invalidation", "reader 1: LEASE", refreshed);
}

#[test]
fn a_refresh_replaces_what_was_served_meanwhile() {
    let meanwhile = "db 0, Aged { value: 0, age: Stale, refresh: By(5) }, memory 1: 0, Stale";
    let background = "refreshes in the background";
    assert_reached(background, "reader 1: LEASE", meanwhile);
    assert_reached(background, "reader 2: takes what is old", meanwhile);
    assert_reached(background, "reader 1: FILL", "db 1, Value(1), memory 1: 0, Stale");
    assert_reached(background, "reader 1: lands", "db 1, Value(1), memory 1: 1");
}

#[test]
fn a_refresh_outlives_the_end_of_its_value() {
    let past = "db 0, Aged { value: 0, age: Past, refresh: By(4) }";
    let background = "refreshes in the background";
    assert_reached(background, "time: what is old is past its end", past);
    assert_reached(background, "reader 1: LEASE", past);
    assert_reached(background, "reader 0: FILL", "db 0, Value(0)");
}

#[test]
fn after_an_error_the_old_value_is_served_and_left_alone_for_a_while() {
    let paused = "db 0, Aged { value: 0, age: ForErrors, refresh: Paused }";
    let errors = "errors and an invalidation";
    assert_reached(errors, "reader 1: RELEASE after an error", paused);
    assert_reached(errors, "reader 1: reads what stands there", paused);
    assert_reached(errors, "reader 1: falls back on what is old", paused);
    assert_reached(errors, "reader 0: LEASE", paused);
    let free = "db 0, Aged { value: 0, age: ForErrors, refresh: Nobody }";
    assert_reached(
        "old values and errors",
        "redis: the time of a refresh or a pause is over",
        free,
    );
}

#[test]
fn after_an_invalidation_the_error_is_all_there_is() {
    assert_reached("errors and an invalidation", "reader 1: fails", "db 1, Absent");
}

#[test]
fn a_fresh_value_is_refreshed_early_and_served_meanwhile() {
    let early = "db 0, Aged { value: 0, age: Fresh, refresh: By(5) }";
    assert_reached("early refreshes", "reader 1: LEASE", early);
    assert_reached("early refreshes", "reader 0: GET, in no flight", early);
}

#[test]
fn refresh_takes_a_lease_over() {
    assert_reached("refresh() and errors", "reader 1: LEASE", "db 1, Lease(5)");
    assert_reached("refresh() and errors", "reader 0: FILL", "db 1, Lease(5)");
}

#[test]
fn a_caller_that_has_waited_long_enough_takes_what_is_old() {
    assert_reached(
        "callers that wait no longer than they like",
        "reader 1: has waited long enough, and takes what is old",
        "db 0, Aged { value: 0, age: ForErrors, refresh: By(5) }",
    );
}

#[test]
fn what_is_not_stored_removes_what_it_was_to_replace() {
    let stale = "db 1, Aged { value: 0, age: Stale, refresh: By(5) }, memory 1: 0, Stale";
    let not_stored = "a refresh that is not stored";
    assert_reached(not_stored, "reader 1: LEASE", stale);
    assert_reached(not_stored, "reader 1: lands what is not to be stored", stale);
    assert_reached(not_stored, "writer 2: returns", "db 1, Absent");
}
