//! Feeds each license reply back into the session: was it delivered, and what does the license allow?
//!
//! The mirror of a playback's key sessions gets the messages of its calls and their replies. A license's renewal
//! policy tells whether the player will renew, and often enough to serve as the heartbeat.

use std::sync::Arc;
use std::time::Duration;

use super::call::{LicenseCall, ManagedCall};
use super::single_flight::FlightLead;
use crate::drm::{Direction, DrmMessage, DrmSystem, LicenseLease, MessageKind, recognise};
use crate::ids::SessionId;
use crate::session::{CallAnswer, CallKind, Grant, Input, LicenseFeedback};
use crate::sessions::{DeviceKey, Sessions};
use crate::telemetry::PlayerCallOutcome;

const OWN_URL: &str = "the license names a renewal URL of its own: players that obey it renew past sidebeat";
const TOO_RARE: &str = "licenses renew more rarely than the authority wants beats";

impl LicenseCall<'_> {
    /// Tells the session the outcome of its player's call. A session without a grant is told as well.
    pub(in crate::gateway) fn feed_back(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
        outcome: PlayerCallOutcome,
        message: Option<&DrmMessage>,
    ) {
        let (key, sessions) = (managed.key, &self.gateway.sessions);
        if !matches!(outcome, PlayerCallOutcome::Passed | PlayerCallOutcome::Served) {
            return self.unserved(managed, Some(id));
        }
        self.mirror_reply(key, id, message);
        let asked = self.request.message.as_ref().ok().map(|message| message.system);
        let served = learn(message, asked);
        // An unknown reply may be a license without an end. A known message of another kind is no license.
        let license = message.is_none_or(|message| message.kind == MessageKind::License);
        if license {
            sessions.accept(key, id, &managed.call);
        }
        match managed.call.kind {
            CallKind::Certificate => {}
            CallKind::Release => {
                sessions.deliver(key, id, Input::Served(served));
            }
            // The player may have gone while the license server was asked.
            CallKind::License | CallKind::Renewal if license && !self.lead.is_some_and(FlightLead::give_up) => {
                let lasts = message.and_then(DrmMessage::lasts);
                sessions.licensed(key, id, served, (self.request.key_session(&managed.call), lasts));
            }
            CallKind::License | CallKind::Renewal => {
                sessions.deliver(key, id, Input::Served(served));
                self.unserved(managed, Some(id));
            }
        }
    }

    /// Tells the session that its player did not get the license that it asked for.
    pub(in crate::gateway) fn unserved(&self, managed: &ManagedCall<'_>, session: Option<SessionId>) {
        if let (CallKind::License | CallKind::Renewal, Some(id)) = (managed.call.kind, session) {
            self.gateway.sessions.deliver(managed.key, id, Input::Unserved);
        }
    }

    /// Warns if the license's renewal policy will cost the session its beats. Nothing more is possible, because
    /// the license is signed.
    pub(in crate::gateway) fn warn_of_escapes(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
        message: &DrmMessage,
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

    /// Notes an unreadable body, because it may ask for a license: the playback of the call's token may then play.
    pub(in crate::gateway) fn note_unknown(&self) {
        let unknown = self.request.message.is_err() && !self.request.onward.body.is_empty();
        let Some(authority) = self.route.authority.as_deref().filter(|_| unknown) else { return };
        if let (Some(key), Some(token)) = (self.request.key(authority), self.request.playback()) {
            self.gateway.sessions.used(key, token);
        }
    }

    /// Shows the player's message to the mirror of its key sessions, and whether the call was refused.
    pub(in crate::gateway) fn mirror_request(&self, key: DeviceKey, session: Option<SessionId>, answer: &CallAnswer) {
        let (Ok(message), Some(id)) = (&self.request.message, session) else { return };
        let sessions = &self.gateway.sessions;
        sessions.see(key, id, |mirror, _| mirror.asked(message));
        match answer {
            CallAnswer::Refuse(_) => sessions.see(key, id, |mirror, _| mirror.failed(message)),
            CallAnswer::Forward(_) | CallAnswer::Pass | CallAnswer::Renew(..) | CallAnswer::Wait => {}
        }
    }

    /// Shows the license server's reply to the mirror.
    pub(in crate::gateway) fn mirror_reply(&self, key: DeviceKey, id: SessionId, reply: Option<&DrmMessage>) {
        let Ok(message) = &self.request.message else { return };
        self.gateway.sessions.see(key, id, |mirror, wall| match reply {
            Some(reply) => mirror.answered(message, reply, wall),
            // The server confirmed the release in words that no DRM system defines.
            None if message.kind == MessageKind::Release => mirror.released(message),
            None => None,
        });
    }
}

/// Like [`LicenseCall::mirror_reply`], for a license from the authority's renewal call.
pub(in crate::gateway) fn mirror_renewal(
    sessions: &Arc<Sessions>,
    key: DeviceKey,
    id: SessionId,
    asked: &DrmMessage,
    license: &[u8],
) {
    if let Ok(reply) = recognise(Direction::Reply, None, None, license) {
        sessions.see(key, id, |mirror, wall| mirror.answered(asked, &reply, wall));
    }
}

fn escapes(lease: &LicenseLease, interval: Duration) -> impl Iterator<Item = &'static str> {
    let too_rare = lease.can_renew && Duration::from_secs(lease.renewal_delay_s) > interval;
    [(lease.own_renewal_url, OWN_URL), (too_rare, TOO_RARE)].into_iter().filter_map(|(is, what)| is.then_some(what))
}

/// Tells whether renewals will come, by the DRM system and the license's clear part. `asked` is the request's
/// system, for an unreadable reply.
fn learn(message: Option<&DrmMessage>, asked: Option<DrmSystem>) -> LicenseFeedback {
    match message.map(|message| message.system).or(asked) {
        Some(DrmSystem::ClearKey | DrmSystem::FairPlay | DrmSystem::PlayReady) => return LicenseFeedback::NeverRenews,
        Some(DrmSystem::Widevine) | None => {}
    }
    match message {
        Some(DrmMessage { system: DrmSystem::Widevine, lease: Some(lease), .. }) => {
            let every = (lease.renewal_delay_s > 0).then(|| Duration::from_secs(lease.renewal_delay_s.min(86_400)));
            if lease.can_renew || every.is_some() { LicenseFeedback::Renews { every } } else { LicenseFeedback::Stays }
        }
        Some(_) | None => LicenseFeedback::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_widevine_may_renew_and_an_unreadable_reply_is_of_the_requested_system() {
        for system in [DrmSystem::ClearKey, DrmSystem::FairPlay, DrmSystem::PlayReady] {
            assert_eq!(learn(None, Some(system)), LicenseFeedback::NeverRenews, "{system:?}");
        }
        assert_eq!([learn(None, Some(DrmSystem::Widevine)), learn(None, None)], [LicenseFeedback::Plain; 2]);
    }

    #[test]
    fn licenses_that_cost_a_session_its_beats_are_reported() {
        let rows: [(bool, u64, bool, &[&str]); 5] = [
            (true, 30, false, &[]),
            (true, 31, false, &[TOO_RARE]),
            (false, 31, false, &[]),
            (true, 30, true, &[OWN_URL]),
            (true, 60, true, &[OWN_URL, TOO_RARE]),
        ];
        for (can_renew, renewal_delay_s, own_renewal_url, told) in rows {
            let lease = LicenseLease {
                can_renew,
                duration_s: 60,
                own_renewal_url,
                recovery_s: 0,
                renewal_delay_s,
                retry_s: 10,
                ..LicenseLease::default()
            };
            let found: Vec<_> = escapes(&lease, Duration::from_secs(30)).collect();
            assert_eq!(found, told, "{lease:?}");
        }
    }
}
