//! Rules that the protocol could leave out, each with a configuration that shows why it does not.
//!
//! Some are not here, for nothing goes wrong without one of them alone. The bump when a change has
//! landed: what begins while the key is pending begins after the change, if the one before it was
//! sent has outdated the rest. (Of a tag it is needed: a load from before reads the old stamp while
//! the tag is pending.) The bump when the loss of a link is noticed: without a proof only what is
//! young is served, and that may be as old in any case. Nor is it needed that a load from before a bump
//! of its tag stores nothing, if only nobody joins it: what it stores carries the old stamp. After an error
//! all that was asked before an old value is read again (whether LEASE has said that one stays, and RELEASE
//! that the lease stood), what others have changed since and the proof of the link could be left out: what
//! is read then is what stands there. They tell whether there is anything to read.

use crate::{
    configurations,
    explorer::{Explored, Wrong, explore},
    protocol::{Protocol, Rule},
};

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// FILL stores whatever stands there.
    FillWithoutToken,
    /// Memory keeps what was loaded before its slot moved.
    InsertWithoutGeneration,
    /// A change bumps when it begins, and that is all.
    OneBump,
    /// A change bumps when it has landed, and not before it is sent.
    OneBumpAfter,
    /// A hold bumps when it begins and when it has ended, and not before its end is sent.
    NoBumpBeforeSettle,
    /// A key whose invalidation has not landed is read and stored like any other.
    NoPending,
    /// A hold is the token of the writer that came last.
    SingleTokenHold,
    /// A follower takes what its leader has.
    FollowersWithoutF5,
    /// A SETTLE that failed is repaired by writing its value.
    ReplayedPut,
    /// INVALIDATE removes a hold like anything else.
    InvalidationEndsHold,
    /// A hold is not published when it begins.
    SilentHold,
    /// A renewal that does not find its hold makes one that was never contended.
    RenewalAlone,
    /// SETTLE leaves a value that stands where its hold was.
    SettleKeepsValue,
    /// SETTLE leaves the hold of others as it is if it finds its own gone.
    SettleUnmarked,
    /// A writer whose HOLD was not answered settles with its value.
    ValueWithoutHold,
    /// A process that has a link again forgets nothing.
    NoBumpOnSubscribe,
    /// A proof is dated when it comes.
    LateProof,
    /// A flight is joined whatever its age, without a link.
    UntrustedJoin,
    /// What a writer keeps of its change is dated when SETTLE was answered, and not when it was sent.
    LateUpdate,
    /// A value that Redis knows nothing of stays in memory like any other.
    KeepsUnconfirmed,
    /// A leader that is dropped leaves its followers alone.
    NoHandOver,
    /// A load reads its stamps when the function has run.
    StampsAfterRun,
    /// The message of a bump says which stamp comes next, and is believed.
    MessageSetsStamp,
    /// A process keeps a stamp that it has read, though its slot has moved meanwhile.
    KeepsMovedStamp,
    /// A tag has a number, which each bump raises, and which begins anew when it is lost.
    CountedStamps,
    /// A value is rejected by the stamp that a process has.
    RejectsByLocalStamp,
    /// LEASE leaves what its caller has rejected.
    LeaseWithoutSeen,
    /// A flight of before a bump of its tag is joined after it.
    JoinsAcrossBump,
    /// A bump of a tag moves its slot before it is sent, and that is all.
    OneBumpOfTag,
    /// An entry whose tag is to be bumped is read and stored like any other.
    NoPendingTag,
    /// SEED makes a stamp in the place of a hold.
    SeedsHeldTag,
    /// FILL confirms followers, whatever has become of the tag.
    FillWithoutStamps,
    /// RELEASE does.
    ReleaseWithoutStamps,
    /// The age of an entry is that of its load, though it was judged by a stamp that is older.
    DatedByLoad,
    /// What a writer keeps of a change to a tagged entry is dated when SETTLE was sent.
    UpdateDatedBySettle,
    /// SETTLE stores its value with the stamp of that moment.
    UpdateStampsLate,
    /// The missing stamp of a value that is put is made when its hold has begun.
    SeedsAfterHold,
    /// A process keeps its stamps when its link breaks.
    StampsOutliveLink,
    /// A refresh does not put off the expiry of its value.
    RefreshWithoutExpiry,
    /// A value past its end counts as absent, whoever refreshes it.
    PastCountsAsAbsent,
    /// A value that is kept for errors is served while somebody refreshes it.
    StaleForErrors,
    /// The refresh of a fresh value leaves no token in it.
    EarlyWithoutToken,
    /// A value is stored with the token of who stores it.
    StoredTokenStays,
    /// RELEASE after an error leaves the value as it was before the refresh.
    ReleaseWithoutPause,
    /// After an error what was found before the run is served, and is not read again.
    OldOfAnother,
    /// The same of what has a tag, if that is what it was when LEASE was asked.
    OldOfOldStamps,
    /// The same, though LEASE has said that nothing stands there.
    OldThoughGone,
    /// The same, whatever RELEASE has said.
    OldWithoutRelease,
    /// The same, though the link is not proven.
    OldWithoutLink,
    /// After an error what stands there is served, though this process has changed it.
    OldWithoutGeneration,
    /// The same, though its tag was bumped.
    OldWithoutStamps,
    /// The same, past its end.
    OldWithoutEnd,
    /// A follower of a run that failed gets what is old, whenever it has joined.
    OldUnconfirmed,
    /// A leader that has taken over serves what the one before it has found, and finds nothing itself.
    HandsOldOver,
    /// Who has waited long enough takes what another caller has found before.
    TakesAnothersOld,
    /// Memory serves what is past its end.
    MemoryWithoutEnd,
    /// What a refresh returned is not to be stored, and the old value stays.
    KeepsReplaced,
}

/// What it comes to if a rule is not kept.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Which one.
    pub broken: Broken,
    /// What goes wrong.
    pub wrong: Wrong<Rule>,
    /// The configuration that shows it.
    pub shown_by: &'static str,
}

/// All of them.
pub const CASES: &[Case] = &[
    case(Broken::FillWithoutToken, Wrong::Rule(Rule::D1), "fill and invalidate"),
    case(
        Broken::InsertWithoutGeneration,
        Wrong::Rule(Rule::Own),
        "invalidations that fail, and memory",
    ),
    case(Broken::OneBump, Wrong::Rule(Rule::Own), "an update, and memory"),
    case(Broken::OneBumpAfter, Wrong::Rule(Rule::Own), "invalidations that fail, and memory"),
    case(Broken::NoBumpBeforeSettle, Wrong::Rule(Rule::Stale), "an update, memory and time"),
    case(Broken::NoPending, Wrong::Rule(Rule::Own), "invalidations that fail, and memory"),
    case(Broken::SingleTokenHold, Wrong::Rule(Rule::Rest), "two updates"),
    case(Broken::FollowersWithoutF5, Wrong::Rule(Rule::D1), "fill and invalidate"),
    case(Broken::ReplayedPut, Wrong::Rule(Rule::D1), "update and invalidate that fail"),
    case(Broken::InvalidationEndsHold, Wrong::Rule(Rule::Rest), "hold and invalidate, and a crash"),
    case(Broken::SilentHold, Wrong::Rule(Rule::Rest), "a hold, a crash, and memory"),
    case(Broken::RenewalAlone, Wrong::Rule(Rule::D1), "two updates"),
    case(Broken::SettleKeepsValue, Wrong::Rule(Rule::D1), "two updates"),
    case(Broken::SettleUnmarked, Wrong::Rule(Rule::D1), "two updates"),
    case(Broken::ValueWithoutHold, Wrong::Rule(Rule::D1), "update and invalidate that fail"),
    case(Broken::NoBumpOnSubscribe, Wrong::Rule(Rule::Stale), "a link breaks"),
    case(Broken::LateProof, Wrong::Rule(Rule::Stale), "a link breaks"),
    case(Broken::UntrustedJoin, Wrong::Rule(Rule::Stale), "a link breaks"),
    case(Broken::LateUpdate, Wrong::Rule(Rule::Stale), "update and invalidate, memory and time"),
    case(Broken::KeepsUnconfirmed, Wrong::Rule(Rule::Rest), "a hold, a crash, and memory"),
    case(Broken::NoHandOver, Wrong::DeadEnd, "fill and invalidate, where all of it fails"),
    case(Broken::StampsAfterRun, Wrong::Rule(Rule::D1), "a tag is bumped, strictly"),
    case(Broken::MessageSetsStamp, Wrong::Rule(Rule::Own), "bumps of two processes"),
    case(Broken::KeepsMovedStamp, Wrong::Rule(Rule::Own), "bumps that fail"),
    case(Broken::CountedStamps, Wrong::Rule(Rule::Own), "a tag is held and bumped"),
    case(Broken::RejectsByLocalStamp, Wrong::Rule(Rule::Kept), "a tag is bumped"),
    case(Broken::LeaseWithoutSeen, Wrong::Circle, "a tag is bumped, and memory"),
    case(Broken::JoinsAcrossBump, Wrong::Rule(Rule::Own), "fill and bump, and memory"),
    case(Broken::OneBumpOfTag, Wrong::Rule(Rule::Rest), "a tag is bumped, and memory"),
    case(Broken::NoPendingTag, Wrong::Rule(Rule::Own), "bumps that fail"),
    case(Broken::SeedsHeldTag, Wrong::Rule(Rule::Rest), "a tag is held, and a crash"),
    case(Broken::FillWithoutStamps, Wrong::Rule(Rule::D1), "a tag is bumped, strictly"),
    case(
        Broken::ReleaseWithoutStamps,
        Wrong::Rule(Rule::D1),
        "a bump and an invalidation, strictly",
    ),
    case(Broken::DatedByLoad, Wrong::Rule(Rule::Stale), "a bump, memory, and a link breaks"),
    case(
        Broken::UpdateDatedBySettle,
        Wrong::Rule(Rule::Stale),
        "an update and a bump, memory and time",
    ),
    case(Broken::UpdateStampsLate, Wrong::Rule(Rule::D1), "an update and a bump, strictly"),
    case(Broken::SeedsAfterHold, Wrong::Rule(Rule::Own), "put and bump, and memory"),
    case(Broken::StampsOutliveLink, Wrong::Rule(Rule::Stale), "a bump, and a link breaks"),
    case(Broken::RefreshWithoutExpiry, Wrong::Rule(Rule::L1), "refreshes in the background"),
    case(Broken::PastCountsAsAbsent, Wrong::Rule(Rule::L1), "refreshes in the background"),
    case(Broken::StaleForErrors, Wrong::Rule(Rule::Life), "errors and an invalidation"),
    case(Broken::EarlyWithoutToken, Wrong::Rule(Rule::L1), "early refreshes"),
    case(Broken::StoredTokenStays, Wrong::Rule(Rule::Idle), "errors and an invalidation"),
    case(Broken::ReleaseWithoutPause, Wrong::Rule(Rule::Pause), "errors and an invalidation"),
    case(Broken::OldOfAnother, Wrong::Rule(Rule::L5), "errors and an update"),
    case(Broken::OldOfOldStamps, Wrong::Rule(Rule::L5), "errors and a bump, strictly"),
    case(Broken::OldThoughGone, Wrong::Rule(Rule::L5), "errors and an invalidation, in memory"),
    case(Broken::OldWithoutRelease, Wrong::Rule(Rule::L5), "errors and an invalidation"),
    case(Broken::OldWithoutLink, Wrong::Rule(Rule::Stale), "errors, memory and time"),
    case(
        Broken::OldWithoutGeneration,
        Wrong::Rule(Rule::L5),
        "errors and an invalidation that fails",
    ),
    case(Broken::OldWithoutStamps, Wrong::Rule(Rule::L5), "errors and a bump, strictly"),
    case(Broken::OldWithoutEnd, Wrong::Rule(Rule::Life), "errors and an invalidation"),
    case(Broken::OldUnconfirmed, Wrong::Rule(Rule::D1), "errors and an invalidation"),
    case(
        Broken::HandsOldOver,
        Wrong::Rule(Rule::D1),
        "refreshes in the background, without memory",
    ),
    case(
        Broken::TakesAnothersOld,
        Wrong::Rule(Rule::D1),
        "callers that wait no longer than they like",
    ),
    case(Broken::MemoryWithoutEnd, Wrong::Rule(Rule::Life), "refreshes in the background"),
    case(Broken::KeepsReplaced, Wrong::Rule(Rule::D1), "a refresh that is not stored"),
];

const fn case(broken: Broken, wrong: Wrong<Rule>, shown_by: &'static str) -> Case {
    Case { broken, wrong, shown_by }
}

impl Case {
    /// Looks for what goes wrong.
    #[must_use]
    pub fn explore(&self) -> Explored<Rule> {
        let configuration = configurations::named(self.shown_by);
        explore(&Protocol { configuration, broken: Some(self.broken) }, usize::MAX)
    }
}
