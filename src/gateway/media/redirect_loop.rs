//! Detects an origin's endless redirects. Each one is passed on to the player, which comes back for the next, so
//! the playback remembers where it was sent.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::secret::Fingerprint;

/// Browsers follow twenty; content networks need two or three.
pub(super) const MAX_REDIRECTS: u8 = 10;
/// Players follow at once. A later request for the same path, as of a live player, follows no redirect.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(10);
/// Redirects of one playback that are remembered; a loop has few paths.
const MAX_UNDER_WAY: usize = 32;

/// Redirects that a playback's player was sent, oldest first.
#[derive(Default)]
pub(super) struct RedirectsUnderWay(ArrayVec<SentTo, MAX_UNDER_WAY>);

struct SentTo {
    at: Instant,
    /// Number of redirects in a row, including this one.
    count: u8,
    path: Fingerprint,
}

impl RedirectsUnderWay {
    /// Notes that the request for `asked` is redirected `to` another path (both with queries). Returns false if
    /// there were too many in a row.
    pub(super) fn send(&mut self, now: Instant, asked: &str, to: &str) -> bool {
        self.0.retain(|sent| now.saturating_duration_since(sent.at) < FOLLOWED_WITHIN);
        let (asked, to) = (Fingerprint::of(asked.as_bytes()), Fingerprint::of(to.as_bytes()));
        let before = self.0.iter().find(|sent| sent.path == asked).map_or(0, |sent| sent.count);
        // The count stays at one too many, so that a player that tries again at once is refused at once.
        let count = before.saturating_add(1).min(MAX_REDIRECTS + 1);
        self.0.retain(|sent| sent.path != to);
        if self.0.is_full() {
            self.0.remove(0);
        }
        self.0.push(SentTo { at: now, count, path: to });
        count <= MAX_REDIRECTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn redirects_in_a_row_are_counted_and_those_apart_are_not() {
        let begin = Clock.now();
        let after = |seconds: u64| begin + Duration::from_secs(seconds);
        // A circle of one, of two, and a way that never comes back.
        for places in [1, 2, 1000] {
            let mut sent = RedirectsUnderWay::default();
            let at = |hop: usize| format!("/{}", hop % places);
            let hops = (0..100).take_while(|hop| sent.send(begin, &at(*hop), &at(hop + 1))).count();
            assert_eq!(hops, usize::from(MAX_REDIRECTS), "{places}");
            assert!(!sent.send(after(9), &at(hops + 1), &at(hops + 2)), "who begins again at once");
            assert!(sent.send(after(30), &at(hops + 2), &at(hops + 3)), "who comes later");
        }
        // The same first step again and again is how a live playlist is asked for.
        let mut sent = RedirectsUnderWay::default();
        for poll in 0..100 {
            assert!(
                sent.send(after(poll / 2), "/live", "/node-7/live") && sent.send(after(poll / 2), "/a", "/node-7/a")
            );
        }
        // However many ways there are, what is remembered is bounded.
        for other in 0..1000 {
            assert!(sent.send(begin, &format!("/{other}"), &format!("/to/{other}")));
        }
        assert_eq!(sent.0.len(), MAX_UNDER_WAY);
    }
}
