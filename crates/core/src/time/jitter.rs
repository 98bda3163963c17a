//! Jitter: spreads what would otherwise happen all at once, as the beats of many sessions or tries after an outage.
//!
//! The seed decides, so that the same seed always gives the same jitter.

use std::time::Duration;

/// A time from nothing up to `most`, evenly among seeds.
pub fn jitter(seed: u64, most: Duration) -> Duration {
    const MIX: u64 = 0xd6e8_feb8_6659_fd93;
    let once = seed.wrapping_mul(MIX);
    let mixed = (once ^ once >> 32).wrapping_mul(MIX) >> 40;
    most.mul_f64(mixed as f64 / f64::from(1 << 24))
}

/// Between half of a pause and all of it.
pub fn half_to_whole(seed: u64, pause: Duration) -> Duration {
    pause / 2 + jitter(seed, pause / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_falls_evenly_into_its_range_for_seeds_in_line_and_for_those_of_sessions() {
        const MOST: Duration = Duration::from_millis(40);
        for seed in [|number: u64| number, |number: u64| number << 32 | 1] {
            let mut hundredths = [0; 100];
            for number in 0..10_000 {
                let share = jitter(seed(number), MOST).as_nanos() * 100 / MOST.as_nanos();
                hundredths[usize::try_from(share).unwrap()] += 1;
            }
            assert!(hundredths.iter().all(|count| *count <= 200), "{hundredths:?}");
        }
    }

    #[test]
    fn half_a_pause_is_the_least() {
        let pause = Duration::from_secs(2);
        assert!((0..1_000).map(|seed| half_to_whole(seed, pause)).all(|it| it >= pause / 2 && it <= pause));
    }
}
