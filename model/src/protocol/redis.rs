//! The key in Redis, and what each script makes of it in one step.

use super::Broken;

/// Who a lease or a hold belongs to: unlike all others.
pub type Token = u8;

/// What a tag has in Redis, and values carry: unlike all others. 0 for none.
pub type Stamp = u8;

/// What a reader has found in the key, as LEASE knows it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// As of this version of the database.
    pub value: u8,
    /// What it carried.
    pub stamp: Stamp,
}

/// What stands in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Key {
    /// Nothing.
    #[default]
    Absent,
    /// Somebody runs the function.
    Lease(Token),
    /// A value, as of this version of the database.
    Value(u8),
    /// A value that is served, but should be newer.
    Stale {
        /// As of this version.
        value: u8,
        /// Who runs the function to make it so.
        refresher: Option<Token>,
    },
    /// Writers are in the middle of a change.
    Hold {
        /// A bit for each.
        writers: u8,
        /// Whether one of them may not have been alone.
        contended: bool,
    },
}

/// What LEASE says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leased {
    Granted,
    /// Somebody has stored a value.
    Found(u8),
    /// Somebody else runs it.
    Busy(Token),
    /// A writer is in the middle of a change.
    Held,
}

/// A command whose sender has given up on it. It is still in a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of the scripts")]
pub enum Late {
    Lease { token: Token, seen: Option<Seen> },
    Fill { token: Token, value: u8, stamp: Stamp },
    Seed,
    Invalidate { writer: u8 },
    Hold { writer: u8 },
    Renew { writer: u8 },
    Settle { writer: u8, value: Option<u8> },
}

impl Key {
    /// The value that stands there.
    pub(super) fn value(self) -> Option<u8> {
        match self {
            Self::Value(value) | Self::Stale { value, .. } => Some(value),
            Self::Absent | Self::Lease(_) | Self::Hold { .. } => None,
        }
    }

    fn has(self, token: Token) -> bool {
        match self {
            Self::Lease(stands) | Self::Stale { refresher: Some(stands), .. } => stands == token,
            _ => false,
        }
    }

    pub(super) fn lease(&mut self, token: Token) -> Leased {
        match *self {
            Self::Absent => {
                *self = Self::Lease(token);
                Leased::Granted
            }
            Self::Lease(other) => Leased::Busy(other),
            Self::Stale { value, refresher: None } => {
                *self = Self::Stale { value, refresher: Some(token) };
                Leased::Granted
            }
            Self::Value(value) | Self::Stale { value, .. } => Leased::Found(value),
            Self::Hold { .. } => Leased::Held,
        }
    }

    /// Whether it was stored.
    pub(super) fn fill(&mut self, token: Token, value: u8, broken: Option<Broken>) -> bool {
        let stands = self.has(token) || broken == Some(Broken::FillWithoutToken);
        if stands {
            *self = Self::Value(value);
        }
        stands
    }

    /// Whether the token was found.
    pub(super) fn release(&mut self, token: Token) -> bool {
        let stands = self.has(token);
        match self {
            Self::Stale { refresher, .. } if stands => *refresher = None,
            _ if stands => *self = Self::Absent,
            _ => {}
        }
        stands
    }

    pub(super) fn invalidate(&mut self, broken: Option<Broken>) {
        match self {
            Self::Hold { contended, .. } if broken != Some(Broken::InvalidationEndsHold) => {
                *contended = true;
            }
            _ => *self = Self::Absent,
        }
    }

    pub(super) fn has_hold_of(self, writer: u8) -> bool {
        matches!(self, Self::Hold { writers, .. } if writers & (1 << writer) != 0)
    }

    pub(super) fn lose_hold_of(&mut self, writer: u8) {
        if let Self::Hold { writers, .. } = self {
            *writers &= !(1 << writer);
            if *writers == 0 {
                *self = Self::Absent;
            }
        }
    }

    pub(super) fn hold(&mut self, writer: u8, broken: Option<Broken>) {
        match self {
            Self::Hold { writers, contended } if broken != Some(Broken::SingleTokenHold) => {
                *contended |= *writers & (1 << writer) == 0;
                *writers |= 1 << writer;
            }
            _ => *self = Self::Hold { writers: 1 << writer, contended: false },
        }
    }

    /// A hold that is not found was lost, and somebody may have stored since.
    pub(super) fn renew(&mut self, writer: u8, broken: Option<Broken>) {
        if !self.has_hold_of(writer) {
            self.hold(writer, broken);
            if let Self::Hold { contended, .. } = self {
                *contended |= broken != Some(Broken::RenewalAlone);
            }
        }
    }

    /// Whether the writer was alone from beginning to end.
    pub(super) fn settle(&mut self, writer: u8, value: Option<u8>, broken: Option<Broken>) -> bool {
        let Self::Hold { writers, contended } = self else {
            if broken != Some(Broken::SettleKeepsValue) {
                *self = Self::Absent;
            }
            return false;
        };
        if *writers & (1 << writer) == 0 {
            let unmarked = [Some(Broken::SettleUnmarked), Some(Broken::SingleTokenHold)];
            *contended |= !unmarked.contains(&broken);
            return false;
        }
        *writers &= !(1 << writer);
        if *writers != 0 {
            return false;
        }
        let alone = !*contended;
        *self = match value {
            Some(value) if alone => Self::Value(value),
            _ => Self::Absent,
        };
        alone
    }
}
