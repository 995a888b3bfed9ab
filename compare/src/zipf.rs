//! Keys as popular as words are: the n-th most popular is asked for 1/n as often as the first.

/// `length` keys below `keys`, the same ones every time.
pub fn sequence(keys: u64, length: usize) -> Vec<u64> {
    let mut total = 0.0;
    let up_to: Vec<f64> = (1..=keys)
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();

    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // xorshift64*: good enough, and no dependency.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    };
    (0..length)
        .map(|_| {
            let point = random() * total;
            up_to.partition_point(|&sum| sum <= point) as u64
        })
        .collect()
}
