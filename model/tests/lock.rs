//! Each rule of a lock is there for something: without it two have it.

use larder_model::lock::{CASES, SMALL, explore};

#[test]
fn what_goes_wrong_without_a_rule_is_found() {
    for broken in CASES {
        let wrong = explore(&SMALL[0], Some(broken)).unwrap_err();
        assert!(wrong.starts_with("two have it"), "{broken:?}: {wrong}");
    }
}
