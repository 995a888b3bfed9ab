//! Rules that the protocol could leave out, each with a configuration that shows why it does not.
//!
//! Two are not here, for nothing goes wrong without one of them alone. The bump when a change has
//! landed: what begins while the key is pending begins after the change, if the one before it was
//! sent has outdated the rest. The bump when the loss of a link is noticed: without a proof only
//! what is young is served, and that may be as old in any case.

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
