use super::*;

#[test]
fn each_clear_moves_the_stamp() {
    let mut entry = Entry::new();
    let mut last = entry.service("one", Policy::Clear).outcome.stamp;
    for _ in 0..100 {
        let moved = entry.clear().outcome;
        assert!(moved > last);
        last = moved;
    }
    let serving = entry.service("one", Policy::Clear).outcome;
    assert_eq!(serving, Serving { stamp: last, changed: false });
}

#[test]
fn a_clear_makes_a_stamp_where_there_is_none() {
    let mut entry = Entry::new();
    let Answer { now, outcome } = entry.clear();
    assert_eq!(outcome / 1000, now);
    assert_eq!(entry.service("one", Policy::Clear).outcome.stamp, outcome);
}

#[test]
fn every_process_is_told() {
    let mut entry = Entry::new();
    entry.clear();
    entry.clear();
    assert_eq!(entry.heard(), ["cleared", "cleared"]);
}

#[test]
fn a_stamp_survives_the_clock_of_a_float() {
    // Sixteen digits, each of which counts.
    let mut entry = Entry::new();
    entry.set_field("stamp", "9007199254740001");
    assert_eq!(entry.clear().outcome, 9_007_199_254_740_002);
    assert_eq!(entry.clear().outcome, 9_007_199_254_740_003);
}
