//! How what is kept in memory is hashed, in one place.
//!
//! foldhash in its variant of quality: the fast one leaves out the last step, and then, with one seed
//! in two hundred, a thousand ids in sequence come into a few of the shards only. Such a process would
//! use a part of its capacity, for as long as it runs.

pub(crate) use foldhash::quality::{FoldHasher, RandomState};

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use foldhash::{SharedSeed, quality::SeedableRandomState};

    use crate::key::KeyBytes;

    /// As many as a store has on four cores.
    const SHARDS: usize = 16;
    const IDS: u64 = 1_000;

    fn key(id: u64) -> KeyBytes {
        let mut key = KeyBytes::new();
        key.writer().part(&id);
        key
    }

    #[test]
    fn ids_in_sequence_are_spread_over_all_shards_whatever_the_seed() {
        let keys: Vec<_> = (0..IDS).map(key).collect();
        for seed in 0..2_000 {
            let seeds: &SharedSeed = Box::leak(Box::new(SharedSeed::from_u64(seed)));
            let state = SeedableRandomState::with_seed(seed, seeds);
            let mut shards = [0_u64; SHARDS];
            for key in &keys {
                // The bits that `quick_cache` goes by.
                let hash = state.hash_one(key.lookup(7)).rotate_right(usize::BITS / 2);
                shards[hash as usize % SHARDS] += 1;
            }
            let even = IDS / SHARDS as u64;
            let within = even / 3..=even * 2;
            assert!(shards.iter().all(|count| within.contains(count)), "seed {seed}: {shards:?}");
        }
    }
}
