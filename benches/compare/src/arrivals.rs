//! An open loop's times: calls arrive at a rate, whether or not the one before is answered; latencies are counted in steps.

use std::time::Duration;

/// Poisson arrivals: the gaps are exponential. A small generator of its own (splitmix64), so that a seed gives the same
/// load to every peer of a round.
pub(crate) struct Arrivals {
    at: f64,
    every: f64,
    state: u64,
}

impl Arrivals {
    pub(crate) fn new(per_second: f64, seed: u64) -> Self {
        Self { at: 0.0, every: per_second.recip(), state: seed }
    }

    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Iterator for Arrivals {
    /// Since the beginning.
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.at -= self.every * (1.0 - self.uniform()).ln();
        Some(Duration::from_secs_f64(self.at))
    }
}

/// Latencies in steps of one part in 64, from a microsecond on: 2,048 counters, no crate.
pub(crate) struct Latencies(Vec<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(vec![0; 32 * 64])
    }
}

impl Latencies {
    pub(crate) fn note(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let power = us.ilog2();
        let part = if power >= 6 { (us >> (power - 6)) & 63 } else { (us << (6 - power)) & 63 };
        let at = (power.min(31) * 64) as usize + part as usize;
        if let Some(count) = self.0.get_mut(at) {
            *count += 1;
        }
    }

    /// The time within which this share of all was answered.
    pub(crate) fn at(&self, share: f64) -> Duration {
        let all: u64 = self.0.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                let (power, part) = ((at / 64) as u32, (at % 64) as u64);
                let us = if power >= 6 { (64 + part) << (power - 6) } else { (64 + part) >> (6 - power) };
                return Duration::from_micros(us);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_their_rate_and_repeat_with_their_seed() {
        let times: Vec<_> = Arrivals::new(3_000.0, 1).take(30_000).collect();
        assert!(times.is_sorted());
        let seconds = times.last().unwrap().as_secs_f64();
        assert!((9.8..10.2).contains(&seconds), "{seconds}");
        assert!(Arrivals::new(3_000.0, 1).take(100).eq(times.iter().copied().take(100)));
        assert!(Arrivals::new(3_000.0, 2).take(100).ne(times.iter().copied().take(100)));
    }

    #[test]
    fn latencies_are_right_to_one_part_in_64() {
        let mut latencies = Latencies::default();
        (1..=100_000).for_each(|us| latencies.note(Duration::from_micros(us)));
        for share in [0.5, 0.99, 0.999] {
            let (told, exact) = (latencies.at(share).as_micros() as f64, share * 100_000.0);
            assert!((told - exact).abs() / exact < 1.0 / 64.0, "{share}: {told}");
        }
        assert_eq!(Latencies::default().at(0.99), Duration::ZERO);
    }
}
