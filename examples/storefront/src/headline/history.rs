//! What something was when, as far as those know who changed it.

use std::time::{Duration, Instant};

/// The versions of one thing, from 1 on: what each is, and when it came.
#[derive(Debug, Clone)]
pub(super) struct History<T> {
    versions: Vec<Option<Version<T>>>,
}

#[derive(Debug, Clone)]
struct Version<T> {
    value: T,
    /// Nobody can have seen it before.
    began: Option<Instant>,
    /// Everybody should see it from then on.
    ended: Option<Instant>,
}

/// What is wrong with what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There never was such a version.
    Unknown,
    /// The version had another value.
    Value,
    /// It was read before it was written.
    Future,
}

impl<T: PartialEq> History<T> {
    pub(super) fn new(first: T) -> Self {
        Self { versions: vec![Some(Version { value: first, began: None, ended: None })] }
    }

    pub(super) fn write(&mut self, version: usize, value: T, began: Instant, ended: Instant) {
        while self.versions.len() < version {
            self.versions.push(None);
        }
        if let Some(place) = version.checked_sub(1).and_then(|at| self.versions.get_mut(at)) {
            *place = Some(Version { value, began: Some(began), ended: Some(ended) });
        }
    }

    /// How long this had been superseded when somebody began to read it.
    pub(super) fn age(
        &self,
        version: usize,
        value: &T,
        read: (Instant, Instant),
    ) -> Result<Duration, Wrong> {
        let found = version.checked_sub(1).and_then(|at| self.versions.get(at)?.as_ref());
        let found = found.ok_or(Wrong::Unknown)?;
        if found.value != *value {
            return Err(Wrong::Value);
        }
        if found.began.is_some_and(|began| began > read.1) {
            return Err(Wrong::Future);
        }
        // Whichever of the later ones was there first: they may have been answered in another order.
        let later = self.versions.iter().skip(version).flatten().filter_map(|next| next.ended);
        let superseded = later.min();
        Ok(superseded.map_or(Duration::ZERO, |ended| read.0.saturating_duration_since(ended)))
    }

    /// What it may have been from one moment until another.
    pub(super) fn between(&self, from: Instant, until: Instant) -> impl Iterator<Item = &T> {
        let last = self.versions.iter().rposition(|version| {
            version.as_ref().is_some_and(|version| version.ended.is_none_or(|ended| ended <= from))
        });
        let possible = self.versions.iter().skip(last.unwrap_or(0)).flatten();
        possible
            .filter(move |version| version.began.is_none_or(|began| began <= until))
            .map(|version| &version.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Instant {
        static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGAN.get_or_init(Instant::now) + Duration::from_secs(second)
    }

    fn history() -> History<&'static str> {
        let mut history = History::new("one");
        history.write(3, "three", at(30), at(31));
        history.write(2, "two", at(20), at(21));
        history
    }

    #[test]
    fn what_is_current_has_no_age() {
        let history = history();
        assert_eq!(history.age(1, &"one", (at(5), at(6))), Ok(Duration::ZERO));
        assert_eq!(history.age(2, &"two", (at(25), at(26))), Ok(Duration::ZERO));
        assert_eq!(history.age(3, &"three", (at(90), at(91))), Ok(Duration::ZERO));
    }

    #[test]
    fn while_it_is_written_it_may_be_either() {
        let history = history();
        assert_eq!(history.age(1, &"one", (at(20), at(21))), Ok(Duration::ZERO));
        assert_eq!(history.age(2, &"two", (at(20), at(20))), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_superseded_is_as_old_as_the_answer_to_who_wrote_the_next() {
        let history = history();
        assert_eq!(history.age(1, &"one", (at(25), at(26))), Ok(Duration::from_secs(4)));
        assert_eq!(history.age(1, &"one", (at(40), at(41))), Ok(Duration::from_secs(19)));
    }

    #[test]
    fn what_never_was_is_wrong() {
        let history = history();
        assert_eq!(history.age(4, &"four", (at(90), at(91))), Err(Wrong::Unknown));
        assert_eq!(history.age(0, &"none", (at(90), at(91))), Err(Wrong::Unknown));
        assert_eq!(history.age(2, &"three", (at(90), at(91))), Err(Wrong::Value));
        assert_eq!(history.age(2, &"two", (at(10), at(11))), Err(Wrong::Future));
    }

    #[test]
    fn between_two_moments_it_was_what_was_written_last_before_and_whatever_was_written_since() {
        let history = history();
        let between =
            |from, until| history.between(at(from), at(until)).copied().collect::<Vec<_>>();
        assert_eq!(between(5, 6), ["one"]);
        assert_eq!(between(5, 20), ["one", "two"]);
        assert_eq!(between(22, 23), ["two"]);
        assert_eq!(between(20, 40), ["one", "two", "three"]);
        assert_eq!(between(40, 41), ["three"]);
    }
}
