//! Decides when a playback's turn comes among those of its device.
//!
//! Each call for something else is a wish of the device, and the later wish counts. A playback that waits for its first
//! open is passed over when a later wish has reached its player; a call may still wait for it then.

use crate::secret::Fingerprint;
use crate::session_id::SessionId;

/// A playback's place in the order. A restart forgets it.
#[must_use]
#[derive(Debug)]
pub(in crate::session) struct TurnOrder {
    /// The address that called for it first: turns rotate among addresses.
    caller: Option<Fingerprint>,
    /// The playback to which it gave way last.
    gave_way_to: Option<SessionId>,
    turn: OpenTurn,
    /// Number of the device's wish that called for it last.
    wish: u32,
}

/// The turn of a playback that waits for its first open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OpenTurn {
    /// A later wish was served first, and a call still waits for it.
    Asked,
    Coming,
    /// A later wish has reached its player. Its waiting calls must show whether they still wait.
    Passed,
}

impl TurnOrder {
    pub(in crate::session) fn new(caller: Option<Fingerprint>) -> Self {
        Self { caller, gave_way_to: None, turn: OpenTurn::Coming, wish: 0 }
    }

    /// A new wish calls for it, even if it was passed over.
    pub(super) fn wished(&mut self, wish: u32) {
        (self.wish, self.turn) = (wish, OpenTurn::Coming);
    }

    /// Its player calls it back after it gave way.
    pub(super) fn called_back(&mut self, wish: u32) {
        self.wish = wish;
    }

    /// Passes it over. False if that happened before.
    pub(super) fn pass(&mut self) -> bool {
        let comes = self.is_coming();
        if comes {
            self.turn = OpenTurn::Passed;
        }
        comes
    }

    /// A call waits for it: if it was passed over, it has its turn again.
    pub(super) fn asked_for(&mut self) {
        if self.is_passed() {
            self.turn = OpenTurn::Asked;
        }
    }

    pub(super) fn gave_way(&mut self, to: SessionId) {
        self.gave_way_to = Some(to);
    }

    /// The playback to which it gave way came to nothing.
    pub(super) fn waits_for_nothing(&mut self) {
        self.gave_way_to = None;
    }

    /// True if it was passed over, and no call has asked for it since.
    pub(super) fn is_passed(&self) -> bool {
        self.turn == OpenTurn::Passed
    }

    /// True if it was never passed over.
    pub(super) fn is_coming(&self) -> bool {
        self.turn == OpenTurn::Coming
    }

    pub(super) fn wish(&self) -> u32 {
        self.wish
    }

    pub(super) fn caller(&self) -> Option<Fingerprint> {
        self.caller
    }

    pub(super) fn gave_way_to(&self) -> Option<SessionId> {
        self.gave_way_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_passed_once_and_comes_again_by_a_caller_or_a_new_wish() {
        let mut order = TurnOrder::new(None);
        order.asked_for();
        assert!(order.is_coming(), "nothing had passed it over");
        assert!(order.pass() && order.is_passed());
        assert!(!order.pass(), "it is told once");
        order.asked_for();
        assert!(!order.is_passed() && !order.is_coming());
        assert!(!order.pass(), "whoever waits for it keeps it");
        order.called_back(7);
        assert_eq!((order.wish(), order.is_coming()), (7, false));
        order.wished(8);
        assert_eq!((order.wish(), order.is_coming()), (8, true));
    }

    #[test]
    fn a_playback_waits_for_the_last_one_that_it_gave_way_to_until_that_came_to_nothing() {
        let mut order = TurnOrder::new(Some(Fingerprint::new(3)));
        assert_eq!((order.caller(), order.gave_way_to()), (Some(Fingerprint::new(3)), None));
        order.gave_way(SessionId(1));
        order.gave_way(SessionId(2));
        assert_eq!(order.gave_way_to(), Some(SessionId(2)));
        order.waits_for_nothing();
        assert_eq!(order.gave_way_to(), None);
    }
}
