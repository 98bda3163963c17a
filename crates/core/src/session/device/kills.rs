//! Kills of a device's playbacks: which calls they refuse, and which other playbacks they reach.
//!
//! A kill is meant for the viewer, whom the content token identifies. So it holds for every playback of the device with
//! one of the killed one's tokens, also for a successor of one that had ended before the order came.

use super::super::input::Input;
use super::super::playback::Playback;
use super::super::player_call::CallNames;
use super::super::session_kill::SessionKill;
use super::super::state::SessionState;
use super::Device;
use super::device_step::DeviceStep;
use crate::secret::Fingerprint;
use crate::session_id::SessionId;

impl<C> Playback<C> {
    /// True if no other playback of the device may learn this token. A playback that is over for good leaves its tokens
    /// to its successor. A killed one never does, or its token could continue in another one.
    pub(super) fn keeps(&self, token: Fingerprint) -> bool {
        self.has_token(token) && (self.goes_on() || self.session.is_killed())
    }

    /// True if it plays, or its player may take it back.
    pub fn goes_on(&self) -> bool {
        self.session.is_active() || self.session.gives_way()
    }

    /// True if it is over for good.
    pub fn is_over(&self) -> bool {
        matches!(self.session.state(), SessionState::Closed { .. }) && !self.session.gives_way()
    }

    /// True if its kill holds for calls with these tokens.
    pub(super) fn is_killed_with(&self, names: &CallNames) -> bool {
        self.session.killed_by().is_some_and(SessionKill::follows_token)
            && names.tokens().any(|token| self.is_killed_by_name(token))
    }

    /// True if both may have one viewer: they share a token, or have none and play the same content.
    fn is_alike(&self, other: &Self) -> bool {
        let tokenless = self.tokens().chain(other.tokens()).next().is_none();
        self.killed_tokens().any(|token| other.is_killed_by_name(token))
            || (tokenless && other.plays(self.names.first_content()))
    }
}

impl<C> Device<C> {
    /// True if a running playback has one of the call's tokens.
    pub fn plays_by(&self, names: &CallNames) -> bool {
        let mut active = self.playbacks.iter().filter(|playback| playback.session.is_active());
        active.any(|playback| names.tokens().any(|token| playback.has_token(token)))
    }

    /// Kill that refuses a call without a session: it has a token of a killed playback, or no content token while a kill
    /// of the device is remembered.
    pub fn kill_of(&self, names: &CallNames) -> Option<&SessionKill> {
        self.playbacks.iter().rev().find_map(|playback| playback.kill_of(names))
    }

    /// Kill that refuses a call with one of these tokens, for any playback.
    pub fn killed_with(&self, names: &CallNames) -> Option<&SessionKill> {
        self.playbacks.iter().rev().find(|p| p.is_killed_with(names))?.session.killed_by()
    }

    pub fn is_killed(&self, id: SessionId) -> bool {
        self.playbacks.iter().any(|p| p.id == id && p.session.is_killed())
    }

    /// The sessions that a kill of this one, or of the one that this playback shares, also reaches.
    pub fn alike(&self, id: SessionId) -> Vec<SessionId> {
        let is_known = |session: &SessionId| self.playbacks.iter().any(|p| p.id == *session);
        let session_of = |p: &Playback<C>| p.shares().filter(is_known).unwrap_or(p.id);
        let Some(session) = self.playbacks.iter().find(|p| p.id == id).map(session_of) else { return Vec::new() };
        let is_alike = |p: &Playback<C>| {
            let mut own = self.playbacks.iter().filter(|own| session_of(own) == session);
            session_of(p) != session && own.any(|own| own.is_alike(p))
        };
        let mut alike: Vec<_> = self.playbacks.iter().filter(|p| is_alike(p)).map(session_of).collect();
        alike.sort_unstable();
        alike.dedup();
        alike
    }

    /// This one was killed just now: kills the playbacks that go on with one of its tokens. If only its place went to
    /// another device, they are left to the authority.
    pub(super) fn kill_alike(&mut self, id: SessionId, step: &mut DeviceStep<'_>) {
        let Some(killed) = self.playbacks.iter().find(|p| p.id == id) else { return };
        let Some(by) = killed.session.killed_by().filter(|by| by.follows_token()).cloned() else { return };
        for other in self.alike(id) {
            if self.playbacks.iter().any(|p| p.id == other && !p.is_over()) {
                self.step(other, Input::Kill(by.clone()), step);
                self.settle_shared(other, step);
            }
        }
    }
}
