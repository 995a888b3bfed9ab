//! Which products are asked for.

use fastrand::Rng;

/// As popular as words are: the n-th most popular is picked 1/n as often as the first (Zipf's law). Which of them it
/// is, has nothing to do with its id.
pub(crate) struct Popularity {
    up_to: Vec<f64>,
    ids: Vec<u32>,
}

impl Popularity {
    /// Of the ids from 1 to `count`, the same every time.
    pub(crate) fn new(count: u32) -> Self {
        let mut total = 0.0;
        let up_to = (1..=count).map(|rank| {
            total += 1.0 / f64::from(rank);
            total
        });
        let up_to = up_to.collect();
        let mut ids: Vec<_> = (1..=count).collect();
        Rng::with_seed(u64::from(count)).shuffle(&mut ids);
        Self { up_to, ids }
    }

    pub(crate) fn pick(&self, random: &mut Rng) -> u32 {
        let point = random.f64() * self.up_to.last().copied().unwrap_or_default();
        let rank = self.up_to.partition_point(|sum| *sum <= point);
        self.ids.get(rank).copied().unwrap_or(1)
    }
}
