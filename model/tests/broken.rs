//! Each rule of the protocol is there for something: without it, the explorer finds what goes wrong.
//! `scripts/model --trace RULE` prints how.

use larder_model::{
    broken::{Broken, CASES},
    explorer::End,
};

macro_rules! caught {
    ($($name:ident: $broken:ident,)*) => {$(
        #[test]
        fn $name() {
            assert_caught(Broken::$broken);
        }
    )*};
}

caught! {
    a_fill_without_token_is_caught: FillWithoutToken,
    an_insert_without_generation_is_caught: InsertWithoutGeneration,
    one_bump_instead_of_two_is_caught: OneBump,
    a_bump_that_only_comes_after_is_caught: OneBumpAfter,
    a_settle_that_outdates_nothing_before_is_caught: NoBumpBeforeSettle,
    an_invalidation_that_leaves_nothing_pending_is_caught: NoPending,
    a_hold_with_a_single_token_is_caught: SingleTokenHold,
    followers_without_f5_are_caught: FollowersWithoutF5,
    a_replayed_put_is_caught: ReplayedPut,
    an_invalidation_that_ends_a_hold_is_caught: InvalidationEndsHold,
    a_hold_that_is_not_published_is_caught: SilentHold,
    a_renewal_that_marks_nothing_is_caught: RenewalAlone,
    a_settle_that_keeps_a_value_is_caught: SettleKeepsValue,
    a_settle_that_marks_nothing_is_caught: SettleUnmarked,
    a_value_without_an_answered_hold_is_caught: ValueWithoutHold,
    a_subscription_that_outdates_nothing_is_caught: NoBumpOnSubscribe,
    a_proof_that_is_dated_late_is_caught: LateProof,
    joining_an_old_flight_without_a_link_is_caught: UntrustedJoin,
    an_update_that_is_dated_late_is_caught: LateUpdate,
    an_unconfirmed_value_that_stays_is_caught: KeepsUnconfirmed,
    a_leader_that_hands_nothing_over_is_caught: NoHandOver,
}

fn assert_caught(broken: Broken) {
    let case = CASES.iter().find(|case| case.broken == broken).unwrap();
    let end = case.explore().end;
    assert!(matches!(&end, End::Wrong(wrong, _) if *wrong == case.wrong), "{end:?}");
}
