//! What a session is told of its player's license calls: whether anything reached the player, and what its license says.

use super::lesson::{escapes, learn};
use super::single_flight::FlightLead;
use super::{LicenseCall, ManagedCall};
use crate::drm::{Kind, Message};
use crate::ids::SessionId;
use crate::session::{CallKind, Grant, Input};
use crate::telemetry::Outcome;

impl LicenseCall<'_> {
    /// Tells the session what the player got, which one without a grant will need as well.
    pub(in crate::gateway) fn teach(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
        outcome: Outcome,
        message: Option<&Message>,
    ) {
        let (key, sessions) = (managed.key, &self.gateway.sessions);
        if !matches!(outcome, Outcome::Passed | Outcome::Served) {
            return self.unserved(managed, Some(id));
        }
        self.mirror_reply(key, id, message);
        let asked = self.request.message.as_ref().ok().map(|message| message.system);
        let served = learn(message, asked);
        // What nobody knows may be a license without an end; a known message of another kind is none.
        let license = message.is_none_or(|message| message.kind == Kind::License);
        if license {
            sessions.accept(key, id, &managed.call);
            self.gateway.look_for_media(key, id, &managed.call);
        }
        match managed.call.kind {
            CallKind::Certificate => {}
            CallKind::Release => {
                sessions.deliver(key, id, Input::Served(served));
            }
            // The player may have gone while the license server was asked.
            CallKind::License | CallKind::Renewal if license && !self.lead.is_some_and(FlightLead::give_up) => {
                let lasts = message.and_then(Message::lasts);
                sessions.licensed(key, id, served, (self.request.key_session(&managed.call), lasts));
            }
            CallKind::License | CallKind::Renewal => {
                sessions.deliver(key, id, Input::Served(served));
                self.unserved(managed, Some(id));
            }
        }
    }

    /// The player did not get the license that it asked for.
    pub(in crate::gateway) fn unserved(&self, managed: &ManagedCall<'_>, session: Option<SessionId>) {
        if let (CallKind::License | CallKind::Renewal, Some(id)) = (managed.call.kind, session) {
            self.gateway.sessions.deliver(managed.key, id, Input::Unserved);
        }
    }

    /// What a license says in clear that will cost the session its beats. It is signed: we can only warn.
    pub(in crate::gateway) fn look_for_escapes(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
        message: &Message,
        grant: &Grant,
    ) {
        let Some(lease) = &message.lease else { return };
        let found: Vec<_> = escapes(lease, grant.interval).collect();
        if found.is_empty() || !self.gateway.sessions.warns_of_escapes(managed.key, id) {
            return;
        }
        for escape in found.into_iter().filter(|_| self.may_write("license escapes")) {
            let (renewal_s, interval_s) = (lease.renewal_delay_s, grant.interval.as_secs());
            let (session, (device, account)) = (id.short(), self.identity());
            tracing::warn!(%session, device, account, route = &*self.route.path, renewal_s, interval_s, "{escape}");
        }
    }

    /// What nobody can read may be a license: the playback of its token, if there is one, may play by it.
    pub(in crate::gateway) fn note_unknown(&self) {
        let unknown = self.request.message.is_err() && !self.request.onward.body.is_empty();
        let Some(authority) = self.route.authority.as_deref().filter(|_| unknown) else { return };
        if let (Some(key), Some(token)) = (self.request.key(authority), self.request.playback()) {
            self.gateway.sessions.used(key, token);
        }
    }
}
