//! One key of the server that a test plays: what the scripts of the tier in Redis do to it.

use std::time::Duration;

use larder::{
    __private::{Fill, Found, Leased, Rejected, Seen, Token},
    Codec,
};
use tokio::time::Instant;

use super::node::LEASE;

/// What a key is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    Absent,
    Lease(Token),
    /// A value, and the one who was elected to refresh it.
    Value(Found, Option<Token>),
    /// Writers are in the middle of a change, and whether anything else has changed the key since.
    Hold(Vec<Token>, bool),
    /// Of a tag.
    Stamp(u64),
}

impl State {
    /// As a process that no test plays would have held it.
    pub(crate) fn held() -> Self {
        Self::Hold(vec![Token(7)], false)
    }
}

/// A value that is set as one for errors alone is kept for so long.
pub(crate) const KEPT: Duration = Duration::from_secs(60);

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A value as another build of the program would have stored it.
pub(crate) fn found(payload: &str, fingerprint: u64) -> Found {
    let life = Duration::from_secs(60);
    Found {
        payload: payload.as_bytes().to_vec().into(),
        codec: Codec::Json,
        negative: false,
        fingerprint,
        age: Duration::ZERO,
        life,
        overdue: Duration::ZERO,
        stale: life,
        cost: Duration::ZERO,
    }
}

/// The same, past its life for so long, and served for so long while somebody refreshes it. One of
/// which no such time is left is kept for the case of an error.
pub(crate) fn stale(found: Found, overdue: Duration, left: Duration) -> Found {
    let age = found.age + found.life + overdue;
    Found { age, life: Duration::ZERO, overdue, stale: left, ..found }
}

/// What a reader says it has seen.
pub(super) fn seen(found: &Found) -> Rejected {
    Rejected(found.payload.iter().copied().take(128).collect())
}

#[derive(Debug, Default)]
pub(super) struct Key {
    state: State,
    /// When those end by themselves who hold it.
    ends: Vec<(Token, Instant)>,
    times: Option<Times>,
    /// Of the tags of a value.
    pub(super) stamps: Vec<u64>,
    /// How often a waiter was woken.
    pub(super) wakes: u64,
    /// Which of them was because nobody runs for it any more.
    pub(super) was_given_back: u64,
}

/// Of a value.
#[derive(Debug, Clone, Copy)]
struct Times {
    stored: Instant,
    servable_until: Instant,
    /// The election of who refreshes it, or without a token a pause after an error.
    refresh_until: Instant,
    /// Of the key.
    expires: Instant,
}

impl Key {
    /// What stands now: a value has aged, or its life is over, and then it is a lease if somebody
    /// refreshes it.
    pub(super) fn state(&self) -> State {
        let now = Instant::now();
        match (&self.state, self.times) {
            (State::Hold(tokens, contended), _) => {
                let holds =
                    |token: &&Token| self.ends.iter().all(|(of, end)| of != *token || now < *end);
                let holding: Vec<_> = tokens.iter().filter(holds).copied().collect();
                if holding.is_empty() { State::Absent } else { State::Hold(holding, *contended) }
            }
            (State::Value(_, refresher), Some(times)) if now >= times.servable_until => {
                match refresher.filter(|_| now < times.expires && now < times.refresh_until) {
                    Some(token) => State::Lease(token),
                    None => State::Absent,
                }
            }
            (State::Value(found, refresher), Some(times)) => {
                State::Value(aged(found, now - times.stored), *refresher)
            }
            (state, _) => state.clone(),
        }
    }

    /// Forgets who holds it no more, and what has expired.
    pub(super) fn expire(&mut self) {
        match self.state {
            State::Hold(..) => self.state = self.state(),
            State::Value(..) if self.times.is_some_and(|times| Instant::now() >= times.expires) => {
                self.state = State::Absent;
            }
            _ => {}
        }
    }

    pub(super) fn set(&mut self, state: State) {
        let left = match &state {
            State::Value(found, _) if found.life.max(found.stale).is_zero() => KEPT,
            State::Value(found, _) => found.life.max(found.stale),
            _ => Duration::ZERO,
        };
        self.set_for(state, left);
    }

    /// Stores a value that is servable for so long.
    fn set_for(&mut self, state: State, left: Duration) {
        let stored = Instant::now();
        let left = left.min(CENTURY);
        self.times = match &state {
            State::Value(_, refresher) => {
                let elected = if refresher.is_some() { LEASE } else { Duration::ZERO };
                Some(Times {
                    stored,
                    servable_until: stored + left,
                    refresh_until: stored + elected,
                    expires: stored + left.max(elected),
                })
            }
            _ => None,
        };
        self.state = state;
    }

    fn store(&mut self, value: Fill, stamps: Vec<u64>) {
        let left = value.life.saturating_add(value.stale.max(value.stale_if_error));
        self.stamps = stamps;
        self.set_for(State::Value(stored(value), None), left);
    }

    /// Whether the token is that of the lease or of the refresh: also after its time, if nobody else
    /// came.
    fn stands(&self, token: Token) -> bool {
        match &self.state {
            State::Lease(stands) => *stands == token,
            State::Value(_, refresher) => *refresher == Some(token),
            State::Absent | State::Hold(..) | State::Stamp(_) => false,
        }
    }

    /// What LEASE does.
    pub(super) fn lease(&mut self, token: Token, asked: &Seen) -> Leased {
        if self.stands(token) {
            return self.renewed(token);
        }
        let (found, refresher) = match self.state() {
            State::Hold(..) => return Leased::Held,
            State::Lease(_) if *asked != Seen::Refresh => return Leased::Busy,
            State::Value(found, refresher) => (found, refresher),
            State::Absent | State::Lease(_) | State::Stamp(_) => return self.leased(token),
        };
        let left = self.times.map_or(Duration::ZERO, |times| {
            times.refresh_until.saturating_duration_since(Instant::now())
        });
        let is_refreshed = refresher.is_some() && !left.is_zero();
        match asked {
            Seen::Rejected(rejected) if *rejected == seen(&found) => self.leased(token),
            Seen::Refresh => self.renewed(token),
            Seen::Nothing | Seen::Rejected(_) if !found.life.is_zero() => Leased::Found(found),
            // It has seen the one before.
            Seen::Early if found.age < found.life => Leased::Found(found),
            _ if left.is_zero() => self.renewed(token),
            _ if is_refreshed && found.stale.is_zero() => Leased::Busy,
            _ => Leased::Stale { found, pause: left, is_refreshed },
        }
    }

    /// A lease, whatever stood there.
    fn leased(&mut self, token: Token) -> Leased {
        self.set(State::Lease(token));
        Leased::Granted { is_refresh: false }
    }

    /// Elects who refreshes a value, or keeps a lease.
    pub(super) fn renewed(&mut self, token: Token) -> Leased {
        let now = Instant::now();
        let is_refresh = matches!(self.state(), State::Value(..));
        if let (State::Value(_, refresher), Some(times)) = (&mut self.state, &mut self.times) {
            *refresher = Some(token);
            times.refresh_until = now + LEASE;
            times.expires = times.expires.max(now + LEASE);
        }
        Leased::Granted { is_refresh }
    }

    pub(super) fn renew(&mut self, token: Token) -> bool {
        let stands = self.stands(token);
        if stands {
            self.renewed(token);
        }
        stands
    }

    pub(super) fn fill(&mut self, token: Token, value: Fill, stamps: Vec<u64>) -> bool {
        self.wakes += 1;
        let stands = self.stands(token);
        if stands {
            self.store(value, stamps);
        }
        stands
    }

    pub(super) fn release(&mut self, token: Token, pause: Duration) -> bool {
        let stands = self.stands(token);
        if stands {
            self.wakes += 1;
            match self.state() {
                State::Value(..) => self.pause(pause),
                _ => self.set(State::Absent),
            }
        }
        stands
    }

    /// As `release`, where nothing was run.
    pub(super) fn give_back(&mut self, token: Token) -> bool {
        let stood = self.release(token, Duration::ZERO);
        if stood {
            self.was_given_back = self.wakes;
        }
        stood
    }

    /// As after an error.
    pub(super) fn pause(&mut self, pause: Duration) {
        if let (State::Value(_, refresher), Some(times)) = (&mut self.state, &mut self.times) {
            *refresher = None;
            times.refresh_until = Instant::now() + pause;
        }
    }

    /// A hold outlives it.
    pub(super) fn invalidate(&mut self) {
        self.wakes += 1;
        match &mut self.state {
            State::Hold(_, contended) => *contended = true,
            _ => self.set(State::Absent),
        }
    }

    pub(super) fn hold(&mut self, token: Token, term: Duration, still: bool) {
        self.wakes += 1;
        let end = Instant::now() + term;
        match &mut self.state {
            State::Hold(tokens, _) if tokens.contains(&token) => {}
            State::Hold(tokens, contended) => {
                tokens.push(token);
                *contended = true;
            }
            _ => self.set(State::Hold(vec![token], still)),
        }
        match self.ends.iter_mut().find(|(of, _)| *of == token) {
            Some((_, ends)) => *ends = end.max(*ends),
            None => self.ends.push((token, end)),
        }
    }

    pub(super) fn settle(&mut self, token: Token, value: Option<Fill>, stamps: Vec<u64>) -> bool {
        self.wakes += 1;
        let State::Hold(tokens, contended) = &mut self.state else {
            self.set(State::Absent);
            return false;
        };
        if !tokens.contains(&token) {
            *contended = true;
            return false;
        }
        tokens.retain(|other| *other != token);
        if !tokens.is_empty() {
            return false;
        }
        let was_alone = !*contended;
        self.set(State::Absent);
        if let Some(value) = value.filter(|_| was_alone) {
            self.store(value, stamps);
        }
        was_alone
    }
}

/// A value when so much time has passed.
fn aged(found: &Found, passed: Duration) -> Found {
    Found {
        age: found.age + passed,
        life: found.life.saturating_sub(passed),
        overdue: found.overdue + passed.saturating_sub(found.life),
        stale: found.stale.saturating_sub(passed),
        ..found.clone()
    }
}

fn stored(value: Fill) -> Found {
    Found {
        payload: value.payload.into(),
        codec: value.codec,
        negative: value.negative,
        fingerprint: value.fingerprint,
        age: value.age,
        life: value.life,
        overdue: Duration::ZERO,
        stale: value.life.saturating_add(value.stale),
        cost: value.cost,
    }
}
