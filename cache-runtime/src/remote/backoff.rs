//! How long to wait before the next attempt.

use std::time::Duration;

/// Twice as long with each attempt, and never the same for two processes.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_millis(500);

impl Backoff {
    /// The first attempts may follow each other quickly again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Between 25 ms and 500 ms.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let pause = pause((SHORTEST, LONGEST), self.attempts, random);
        self.attempts = self.attempts.saturating_add(1);
        pause
    }
}

/// After so many attempts: between the two, and longer with each.
pub(crate) fn pause(
    (shortest, longest): (Duration, Duration),
    attempts: u32,
    random: u64,
) -> Duration {
    let most = longest.min(shortest * (2 << attempts.min(8)));
    spread(shortest.max(most / 2), most, random)
}

/// Some time between the two, by a random number.
fn spread(least: Duration, most: Duration, random: u64) -> Duration {
    let range = most.saturating_sub(least).as_micros() as u64;
    least + Duration::from_micros(random % (range + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_25_to_500_ms() {
        for random in [0, 1, 12_345, u64::MAX] {
            let mut backoff = Backoff::default();
            let first = backoff.next(random);
            assert!(first >= SHORTEST && first <= 2 * SHORTEST);
            for _ in 0..100 {
                let next = backoff.next(random);
                assert!(next >= SHORTEST && next <= LONGEST, "{next:?}");
            }
            assert!(backoff.next(random) >= LONGEST / 2);
            backoff.reset();
            assert_eq!(backoff.next(random), first);
        }
    }
}
