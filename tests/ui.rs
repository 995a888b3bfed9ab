//! What a user reads after a mistake. A case is named for its symptom.

/// The words of rustc around ours differ between its versions.
#[rustversion::attr(any(not(stable), before(1.95)), ignore = "needs stable 1.95 or later")]
#[test]
fn a_mistake_is_explained() {
    let cases = trybuild::TestCases::new();
    for of in ["cached", "invalidates", "key-part", "locked", "updates"] {
        cases.compile_fail(format!("tests/ui/{of}/*.rs"));
    }
    if cfg!(feature = "limit") {
        cases.compile_fail("tests/ui/rate_limited/*.rs");
    }
}
