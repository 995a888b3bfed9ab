//! Which keys are asked for, the same ones every time.

/// `length` keys below `keys`, as popular as words are: the n-th most popular is asked for 1/n as often
/// as the first.
pub fn zipf(keys: u64, length: usize) -> Vec<u64> {
    let mut total = 0.0;
    let up_to: Vec<f64> = (1..=keys)
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();

    let point = |random: f64| random * total;
    random()
        .take(length)
        .map(|random| up_to.partition_point(|&sum| sum <= point(random)) as u64)
        .collect()
}

/// `length` keys below `keys`, all of them as popular.
pub fn uniform(keys: u64, length: usize) -> Vec<u64> {
    random().take(length).map(|random| (random * keys as f64) as u64).collect()
}

/// At least zero, and less than one.
fn random() -> impl Iterator<Item = f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        // xorshift64*: good enough, and no dependency.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    })
}
