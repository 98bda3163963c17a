//! The end of the process: every session is given back to its authority, if there is time.

use std::sync::Arc;
use std::time::Duration;

use super::Sessions;
use super::device_table::SessionEntry;
use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::session::{EndReason, Input, Playback, Session};

/// Between two looks at what is left.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

impl Sessions {
    /// Ends every playback, for the end of the process, and waits until all are given back, at most
    /// `grace`. Returns how many sessions are still held at their authorities.
    pub async fn drain(self: &Arc<Self>, why: EndReason, grace: Duration) -> usize {
        let _late = tokio::time::timeout(grace, self.give_back(why)).await;
        self.left().len()
    }

    /// For the end of the process when the sessions stay: waits until no call to an authority is under
    /// way, at most `grace`, so that every answer is known to the next process. Returns how many
    /// sessions are left open.
    pub async fn leave_open(&self, grace: Duration) -> usize {
        let settled = async { tokio::join!(self.pump.idle(), self.renewed()) };
        let _late = tokio::time::timeout(grace, settled).await;
        self.keep_playheads();
        self.left().len()
    }

    /// Renewals are made by the gateway, on runtimes that end first: a token that one brings would be lost.
    async fn renewed(&self) {
        let renews = |_, playback: &Playback<SessionEntry>| playback.session.is_renewing().then_some(());
        while !self.table.collect(renews).is_empty() {
            tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
        }
    }

    /// That no call is under way is not enough: a lost close waits for its next try, a renewal is made
    /// by the gateway, and a call of a player may have come in behind us.
    async fn give_back(self: &Arc<Self>, why: EndReason) {
        // Once: what nobody waits for has one try more, however long the end takes.
        let mut to_end = self.left();
        loop {
            for (key, id) in to_end {
                self.deliver(key, id, Input::End(why));
            }
            self.pump.idle().await;
            to_end = self.of(|session| session.is_active() || session.takes_place());
            if to_end.is_empty() {
                return;
            }
            tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
        }
    }

    /// Held ones too: they would open when the place of another is given back.
    fn left(&self) -> Vec<(DeviceKey, SessionId)> {
        self.of(|session| session.is_active() || session.is_owed_a_close())
    }

    fn of(&self, fits: impl Fn(&Session) -> bool) -> Vec<(DeviceKey, SessionId)> {
        let mut to_end = self.table.collect(|key, playback| fits(&playback.session).then_some((key, playback.id)));
        // The table's own order is another one in every process.
        to_end.sort();
        to_end
    }
}
