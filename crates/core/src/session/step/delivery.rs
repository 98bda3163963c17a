//! Whether its player got anything to play by. One that got nothing, and asks no more, is not there: its tab was
//! closed while the open was under way, or its license server turned it away. Timer beats would keep its session.

use std::time::Instant;

use super::super::player_call::CallKind;
use super::super::player_report::ReportHistory;
use super::super::policy::Policy;
use super::super::state::{DeliveryState, Session};

impl Session {
    /// Whether anything has reached its player that it can play by.
    pub fn is_served(&self) -> bool {
        self.usage == DeliveryState::Got
    }

    /// A license, a renewal, media, or the player's word that it plays.
    pub(super) fn use_it(&mut self) {
        self.usage = DeliveryState::Got;
    }

    /// A license reached the player.
    pub(super) fn licensed(&mut self, until: Option<Instant>) {
        self.licenses_end(until);
        self.use_it();
    }

    /// By when all of its licenses have run out; none where one may never.
    pub(in crate::session) fn licenses_end(&mut self, until: Option<Instant>) {
        self.licensed_until = until;
    }

    /// Its player asked for something to play by, and nobody knows yet what became of that.
    pub(in crate::session) fn has_asked(&self) -> bool {
        self.usage == DeliveryState::Asked
    }

    /// What its player asked for has not reached it.
    pub(in crate::session) fn has_nothing(&self) -> bool {
        self.usage == DeliveryState::Nothing
    }

    pub(super) fn unserved(&mut self) {
        self.usage = match self.usage {
            DeliveryState::Asked | DeliveryState::Nothing => DeliveryState::Nothing,
            DeliveryState::Got => DeliveryState::Got,
        };
    }

    /// From now on an answer may be on its way. Who asks for a license plays on, or again.
    pub(super) fn asks(&mut self, kind: CallKind) {
        if kind == CallKind::License {
            self.reports = self.reports.map(ReportHistory::again);
        }
        match (kind, self.usage) {
            (CallKind::License | CallKind::Renewal, DeliveryState::Nothing) => self.usage = DeliveryState::Asked,
            (CallKind::License | CallKind::Renewal, DeliveryState::Asked | DeliveryState::Got)
            | (CallKind::Certificate | CallKind::Release, _) => {}
        }
    }

    /// Until it gets some, that is a call like one for a license; later it is a sign of life and no more.
    pub(super) fn asks_for_media(&mut self, now: Instant) {
        if self.is_unused() {
            self.last_call = now;
        }
    }

    /// Its player has got nothing to play by.
    pub fn is_unused(&self) -> bool {
        match self.usage {
            DeliveryState::Asked | DeliveryState::Nothing => true,
            DeliveryState::Got => false,
        }
    }

    /// When a player that got nothing has asked for long no more. Its reports do not count: a page that shows an
    /// error may send them for hours.
    pub(super) fn unused_at(&self, policy: &Policy) -> Option<Instant> {
        let unused = policy.endings.unused.filter(|_| self.is_unused());
        unused.map(|unused| self.last_call + unused)
    }

    /// After a restart: what was on its way when the process died may have reached its player.
    pub(super) fn may_have_got_it(&mut self) {
        self.usage = match self.usage {
            DeliveryState::Asked | DeliveryState::Got => DeliveryState::Got,
            DeliveryState::Nothing => DeliveryState::Nothing,
        };
    }
}
