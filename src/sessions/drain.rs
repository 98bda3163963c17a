//! Gives every session back to its authority at the end of the process, if there is time.

use std::sync::Arc;
use std::time::Duration;

use super::Sessions;
use super::device_table::SessionEntry;
use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::session::{EndReason, Input, Playback, Session};

/// Interval of the check for remaining sessions.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

impl Sessions {
    /// Ends every playback, and waits at most `grace` until all are given back. Returns how many sessions are still
    /// held at their authorities.
    pub async fn drain(self: &Arc<Self>, why: EndReason, grace: Duration) -> usize {
        let _late = tokio::time::timeout(grace, self.give_back(why)).await;
        self.left().len()
    }

    /// Leaves the sessions open for the next process: waits at most `grace` until no call to an authority is under
    /// way, so that every answer is recorded. Returns how many sessions are left open.
    pub async fn leave_open(&self, grace: Duration) -> usize {
        let settled = async { tokio::join!(self.dispatcher.idle(), self.renewed()) };
        let _late = tokio::time::timeout(grace, settled).await;
        self.keep_playheads();
        self.left().len()
    }

    /// Waits for renewals. The gateway makes them on runtimes that end first, and a token in a lost answer would be
    /// lost.
    async fn renewed(&self) {
        let renews = |_, playback: &Playback<SessionEntry>| playback.session.is_renewing().then_some(());
        while !self.table.collect(renews).is_empty() {
            tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
        }
    }

    /// Ends and waits until nothing is left. It is not enough that no call is under way: a lost close waits for its
    /// next try, the gateway makes renewals, and a new call of a player may have come in.
    async fn give_back(self: &Arc<Self>, why: EndReason) {
        // Only once, because an orphaned close has just one more try, however long the end takes.
        let mut to_end = self.left();
        loop {
            for (key, id) in to_end {
                self.deliver(key, id, Input::End(why));
            }
            self.dispatcher.idle().await;
            to_end = self.of(|session| session.is_active() || session.takes_place());
            if to_end.is_empty() {
                return;
            }
            tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
        }
    }

    /// Held sessions are included, because they would open when another slot comes back.
    fn left(&self) -> Vec<(DeviceKey, SessionId)> {
        self.of(|session| session.is_active() || session.is_owed_a_close())
    }

    fn of(&self, fits: impl Fn(&Session) -> bool) -> Vec<(DeviceKey, SessionId)> {
        let mut to_end = self.table.collect(|key, playback| fits(&playback.session).then_some((key, playback.id)));
        // The table's own order differs in every process.
        to_end.sort();
        to_end
    }
}
