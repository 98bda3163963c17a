//! Gives back the grant of an open that was given up.
//!
//! Otherwise its slot would be taken until the authority lets it expire. If the answer never comes, it cannot be
//! given back where a close needs the session's own token. Where the token is the authorization's own (FirstLight),
//! an open without an answer is a session and is closed like one.

use std::sync::Arc;

use super::Sessions;
use super::dispatcher::LateGrant;
use super::session_context::SessionContext;
use crate::session::{AuthorityAsk, PlayerFacts};
use crate::task::HeldPlace;

impl Sessions {
    /// Waits for the late grant and closes it. `place` is that of the call that caused the open. An open of the same
    /// account that meets the limit meanwhile waits for the slot. The end of the process waits for this as for any
    /// call.
    pub(super) fn give_late_grant_back(
        self: &Arc<Self>,
        late: LateGrant,
        card: &Arc<SessionContext>,
        place: Option<HeldPlace>,
    ) {
        let (sessions, card) = (self.clone(), Arc::new(card.without_token()));
        let closing = self.pump.closings().begin(&card);
        self.pump.track(async move {
            let _until_done = place;
            let Some(grant) = late.await else { return };
            let (telemetry, authority) = (&sessions.telemetry, &*card.authority_name);
            telemetry.metrics.late_grant(&card.authority_name);
            if telemetry.may_write_about("late grants", authority) {
                tracing::info!(authority, "a session was granted after its open had been given up: it is given back");
            }
            sessions.pump.give_back(AuthorityAsk::giving_back(grant, PlayerFacts::default()), card, closing).await;
        });
    }
}
