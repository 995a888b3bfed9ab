//! The key in Redis, and what each script makes of it in one step.

use super::{
    Broken,
    freshness::{Age, Refresh},
};

/// Who a lease or a hold belongs to: unlike all others.
pub type Token = u8;

/// What a tag has in Redis, and values carry: unlike all others. 0 for none.
pub type Stamp = u8;

/// What a reader has found in the key, as LEASE knows it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// As of this version of the database.
    pub value: u8,
    /// How old it is.
    pub age: Age,
    /// Who had been elected to refresh it.
    pub token: Option<Token>,
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
    /// A value that is fresh, as of this version of the database.
    Value(u8),
    /// A value that is not, or that somebody refreshes all the same.
    Aged {
        /// As of this version.
        value: u8,
        /// How old it is.
        age: Age,
        /// Who makes it newer.
        refresh: Refresh,
    },
    /// Writers are in the middle of a change.
    Hold {
        /// A bit for each.
        writers: u8,
        /// Whether one of them may not have been alone.
        contended: bool,
    },
}

/// What LEASE is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Ask {
    /// A lease, or the refresh of a value that is no longer fresh.
    #[default]
    Load,
    /// The same, and the refresh of a fresh value.
    Early,
    /// The same, whoever has a lease or refreshes.
    Refresh,
}

/// What LEASE says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leased {
    /// The caller runs the function.
    Granted {
        /// Whether a value stays, and is served meanwhile.
        is_refresh: bool,
    },
    /// A fresh value, or one that somebody else refreshes.
    Found(u8, Age),
    /// Somebody else runs it.
    Busy(Token),
    /// A writer is in the middle of a change.
    Held,
}

/// A command whose sender has given up on it. It is still in a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of the scripts")]
pub enum Late {
    Lease { token: Token, ask: Ask, seen: Option<Seen> },
    Release { token: Token, failed: bool },
    Fill { token: Token, value: u8, stamp: Stamp },
    Seed,
    Invalidate { writer: u8 },
    Hold { writer: u8 },
    Renew { writer: u8 },
    Settle { writer: u8, value: Option<u8> },
}

impl Key {
    /// A value that somebody may do something about.
    fn aged(value: u8, age: Age, refresh: Refresh) -> Self {
        match (age, refresh) {
            (Age::Fresh, Refresh::Nobody) => Self::Value(value),
            // It counts as absent, and its expiry is near.
            (Age::Past, Refresh::Nobody | Refresh::Paused | Refresh::Late(_)) => Self::Absent,
            _ => Self::Aged { value, age, refresh },
        }
    }

    /// The value that stands there, whatever its age, and who refreshes it.
    fn any_value(self) -> Option<(u8, Age, Refresh)> {
        match self {
            Self::Value(value) => Some((value, Age::Fresh, Refresh::Nobody)),
            Self::Aged { value, age, refresh } => Some((value, age, refresh)),
            Self::Absent | Self::Lease(_) | Self::Hold { .. } => None,
        }
    }

    /// The value that stands there and may be served by its age.
    pub(super) fn found(self) -> Option<(u8, Age)> {
        let (value, age, _) = self.any_value()?;
        (age != Age::Past).then_some((value, age))
    }

    pub(super) fn value(self) -> Option<u8> {
        self.found().map(|(value, _)| value)
    }

    pub(super) fn refresh(self) -> Refresh {
        self.any_value().map_or(Refresh::Nobody, |(_, _, refresh)| refresh)
    }

    fn has(self, token: Token) -> bool {
        match self {
            Self::Lease(stands) => stands == token,
            _ => self.refresh().token() == Some(token),
        }
    }

    /// Whether anybody runs the function, or is kept from it.
    pub(super) fn is_run_for(self) -> bool {
        matches!(self, Self::Lease(_)) || self.refresh() != Refresh::Nobody
    }

    /// Who runs the function, and may be waited for.
    pub(super) fn runner(self) -> Option<Token> {
        match (self, self.refresh()) {
            (Self::Lease(token), _) | (_, Refresh::By(token)) => Some(token),
            _ => None,
        }
    }

    pub(super) fn lease(&mut self, token: Token, ask: Ask, broken: Option<Broken>) -> Leased {
        let (value, age, refresh) = match *self {
            Self::Hold { .. } => return Leased::Held,
            Self::Lease(other) if other != token && ask != Ask::Refresh => {
                return Leased::Busy(other);
            }
            Self::Absent | Self::Lease(_) => {
                *self = Self::Lease(token);
                return Leased::Granted { is_refresh: false };
            }
            Self::Value(value) => (value, Age::Fresh, Refresh::Nobody),
            Self::Aged { value, age, refresh } => (value, age, refresh),
        };
        let is_mine = refresh.token() == Some(token);
        if age == Age::Past && !is_mine {
            if let Refresh::By(other) = refresh
                && ask != Ask::Refresh
                && broken != Some(Broken::PastCountsAsAbsent)
            {
                return Leased::Busy(other);
            }
            *self = Self::Lease(token);
            return Leased::Granted { is_refresh: false };
        }
        match refresh {
            _ if is_mine || ask == Ask::Refresh => {}
            _ if age == Age::Fresh && ask != Ask::Early => return Leased::Found(value, age),
            Refresh::By(other)
                if age == Age::ForErrors && broken != Some(Broken::StaleForErrors) =>
            {
                return Leased::Busy(other);
            }
            Refresh::By(_) | Refresh::Paused => return Leased::Found(value, age),
            Refresh::Nobody | Refresh::Late(_) => {}
        }
        let is_elected = ask != Ask::Early || broken != Some(Broken::EarlyWithoutToken);
        let refresh = if is_elected { Refresh::By(token) } else { refresh };
        *self = Self::aged(value, age, refresh);
        Leased::Granted { is_refresh: age != Age::Past }
    }

    /// Whether it was stored.
    pub(super) fn fill(&mut self, token: Token, value: u8, broken: Option<Broken>) -> bool {
        let stands = self.has(token) || broken == Some(Broken::FillWithoutToken);
        if stands {
            let keeps = broken == Some(Broken::StoredTokenStays);
            let refresh = if keeps { Refresh::By(token) } else { Refresh::Nobody };
            *self = Self::aged(value, Age::Fresh, refresh);
        }
        stands
    }

    /// Whether the token was found. After an error nobody tries again for a while.
    pub(super) fn release(&mut self, token: Token, failed: bool, broken: Option<Broken>) -> bool {
        let stands = self.has(token);
        if stands {
            *self = match *self {
                Self::Aged { value, age, .. } => {
                    let pauses = failed && broken != Some(Broken::ReleaseWithoutPause);
                    let refresh = if pauses { Refresh::Paused } else { Refresh::Nobody };
                    Self::aged(value, age, refresh)
                }
                _ => Self::Absent,
            };
        }
        stands
    }

    /// Time passes for the values of this age.
    pub(super) fn grow_older(&mut self, from: Age, to: Age, broken: Option<Broken>) {
        let Some((value, age, refresh)) = self.any_value() else { return };
        if age != from {
            return;
        }
        // Redis removes it, but a refresh has put that off.
        let is_gone = to == Age::Past && broken == Some(Broken::RefreshWithoutExpiry);
        *self = if is_gone { Self::Absent } else { Self::aged(value, to, refresh) };
    }

    /// The time of who refreshes it is over, or that for which nobody does after an error.
    pub(super) fn end_refresh(&mut self) {
        let Some((value, age, refresh)) = self.any_value() else { return };
        let refresh = match refresh {
            // Until somebody else is elected, it may still store.
            Refresh::By(token) => Refresh::Late(token),
            Refresh::Paused => Refresh::Nobody,
            Refresh::Nobody | Refresh::Late(_) => return,
        };
        *self = Self::aged(value, age, refresh);
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
