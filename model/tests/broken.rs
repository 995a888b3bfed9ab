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
    stamps_that_are_read_after_the_run_are_caught: StampsAfterRun,
    a_message_that_sets_a_stamp_is_caught: MessageSetsStamp,
    a_stamp_that_is_kept_though_its_slot_moved_is_caught: KeepsMovedStamp,
    stamps_that_are_counted_from_one_are_caught: CountedStamps,
    a_value_that_is_rejected_by_a_local_stamp_is_caught: RejectsByLocalStamp,
    a_lease_that_leaves_what_was_rejected_is_caught: LeaseWithoutSeen,
    joining_a_flight_across_a_bump_is_caught: JoinsAcrossBump,
    one_bump_of_a_tag_instead_of_two_is_caught: OneBumpOfTag,
    a_bump_that_leaves_no_tag_pending_is_caught: NoPendingTag,
    seeding_a_held_tag_is_caught: SeedsHeldTag,
    a_fill_that_confirms_without_stamps_is_caught: FillWithoutStamps,
    a_release_that_confirms_without_stamps_is_caught: ReleaseWithoutStamps,
    an_entry_younger_than_its_stamp_is_caught: DatedByLoad,
    a_tagged_update_that_is_dated_late_is_caught: UpdateDatedBySettle,
    an_update_with_late_stamps_is_caught: UpdateStampsLate,
    a_put_that_seeds_late_is_caught: SeedsAfterHold,
    stamps_that_outlive_a_link_are_caught: StampsOutliveLink,
    a_refresh_whose_value_expires_is_caught: RefreshWithoutExpiry,
    a_value_past_its_end_that_hides_its_refresher_is_caught: PastCountsAsAbsent,
    a_value_for_errors_that_is_served_without_one_is_caught: StaleForErrors,
    an_early_refresh_without_a_token_is_caught: EarlyWithoutToken,
    a_token_that_is_stored_with_its_value_is_caught: StoredTokenStays,
    a_release_that_lets_others_try_at_once_is_caught: ReleaseWithoutPause,
    an_old_value_that_another_has_replaced_is_caught: OldOfAnother,
    an_old_value_whose_tag_was_bumped_before_the_lease_is_caught: OldOfOldStamps,
    an_old_value_that_is_gone_from_redis_is_caught: OldThoughGone,
    an_old_value_without_a_release_is_caught: OldWithoutRelease,
    an_old_value_without_a_link_is_caught: OldWithoutLink,
    an_old_value_whose_slot_has_moved_is_caught: OldWithoutGeneration,
    an_old_value_whose_tag_was_bumped_is_caught: OldWithoutStamps,
    an_old_value_past_its_end_is_caught: OldWithoutEnd,
    an_old_value_for_who_joined_after_the_release_is_caught: OldUnconfirmed,
    an_old_value_that_is_handed_over_is_caught: HandsOldOver,
    an_old_value_that_another_caller_has_found_is_caught: TakesAnothersOld,
    memory_past_its_end_is_caught: MemoryWithoutEnd,
    a_value_that_outlives_what_replaces_it_is_caught: KeepsReplaced,
}

fn assert_caught(broken: Broken) {
    let case = CASES.iter().find(|case| case.broken == broken).unwrap();
    let end = case.explore().end;
    assert!(matches!(&end, End::Wrong(wrong, _) if *wrong == case.wrong), "{end:?}");
}
