//! Backoff: pauses between tries, doubled from the first to the longest.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The pause when so many pauses have passed already.
    pub fn after(self, pauses: u32) -> Duration {
        self.first.saturating_mul(1 << pauses.min(16)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let pauses = [0, 1, 2, 3, 60, u32::MAX].map(|pauses| backoff.after(pauses).as_secs());
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5]);
    }
}
