//! When a playback's turn comes among those of its device.
//!
//! Each call for something else is a wish of the device, and the later wish counts. One that waits for its first open is
//! passed over when something that was called for later has reached its player; then somebody may still wait for it.

use crate::secret::Fingerprint;
use crate::session_id::SessionId;

/// Nothing of it is kept over a restart.
#[must_use]
#[derive(Debug)]
pub(in crate::session) struct TurnOrder {
    /// The address that called for it first: turns go round among addresses.
    caller: Option<Fingerprint>,
    /// The playback for which it made room last.
    gave_way_to: Option<SessionId>,
    turn: OpenTurn,
    /// The number of the device's wish by which it was called for last.
    wish: u32,
}

/// The turn of a playback that waits for its first open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OpenTurn {
    /// It was passed over, and somebody waits for it all the same.
    Asked,
    Coming,
    /// Something that was called for later has reached its player. Who waits for this one is asked.
    Passed,
}

impl TurnOrder {
    pub(in crate::session) fn new(caller: Option<Fingerprint>) -> Self {
        Self { caller, gave_way_to: None, turn: OpenTurn::Coming, wish: 0 }
    }

    /// It is called for, whatever passed it over before.
    pub(super) fn wished(&mut self, wish: u32) {
        (self.wish, self.turn) = (wish, OpenTurn::Coming);
    }

    /// It is called back, after it gave way.
    pub(super) fn called_back(&mut self, wish: u32) {
        self.wish = wish;
    }

    /// It is passed over; false where it was before.
    pub(super) fn pass(&mut self) -> bool {
        let comes = self.is_coming();
        if comes {
            self.turn = OpenTurn::Passed;
        }
        comes
    }

    /// Somebody waits for it: one that was passed over has its turn again.
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

    /// It was passed over, and nobody has asked for it since.
    pub(super) fn is_passed(&self) -> bool {
        self.turn == OpenTurn::Passed
    }

    /// It was never passed over.
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
        let mut order = TurnOrder::new(Some(Fingerprint(3)));
        assert_eq!((order.caller(), order.gave_way_to()), (Some(Fingerprint(3)), None));
        order.gave_way(SessionId(1));
        order.gave_way(SessionId(2));
        assert_eq!(order.gave_way_to(), Some(SessionId(2)));
        order.waits_for_nothing();
        assert_eq!(order.gave_way_to(), None);
    }
}
