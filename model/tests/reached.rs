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
    let refreshed = "db 0, Stale { value: 0, refresher: Some(4) }";
    assert_reached("a refresh and an invalidation", "reader 1: LEASE", refreshed);
}
