//! A playback: its session, and the names by which its calls are known.
//!
//! A playback keeps names and facts within fixed bounds; `device` decides which call belongs to which playback.

pub(super) mod playback_names;

use std::time::Duration;

use self::playback_names::PlaybackNames;
use super::device::TurnOrder;
use super::effect::RetentionClass;
use super::license_expiry::{KeyLease, Leases};
use super::player_call::{CallKind, CallNames, PlayerCall};
use super::policy::Policy;
use super::role::Role;
use super::session_kill::SessionKill;
use super::state::{BeatSource, Session, SessionState};
use crate::secret::Fingerprint;
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

/// Players request all keys of a title within this time.
pub(super) const SAME_TITLE_KEY_WINDOW: Duration = Duration::from_secs(3);

/// A playback of a device. `C` is the shell's part of it.
#[derive(Debug)]
pub struct Playback<C> {
    pub entry: C,
    pub id: SessionId,
    pub session: Session,
    /// The account that it counts for, if its device may play for several.
    pub account: Option<Fingerprint>,
    pub(super) began: MonotonicTime,
    /// Time for which a kill of it is remembered.
    pub(super) kill_memory: Duration,
    pub(super) leases: Leases,
    pub(super) names: PlaybackNames,
    pub(super) order: TurnOrder,
    pub role: Role,
    /// For a device's session: the playback that renewed it last. A restart forgets it, like every call.
    pub(super) renewed_by: Option<SessionId>,
}

/// The parts of a new playback; requested only when one is needed.
pub struct PlaybackStart<C> {
    /// The account that it counts for, if that matters: see [`Policy::shares_session`].
    pub account: Option<Fingerprint>,
    /// The address that calls for it, if known.
    pub caller: Option<Fingerprint>,
    pub entry: C,
    pub id: SessionId,
    pub seed: u32,
}

impl<C> Playback<C> {
    pub(super) fn is_alone(&self) -> bool {
        self.role == Role::Alone
    }

    /// True for the session that the device's playbacks share, which is no playback itself.
    pub fn is_device_session(&self) -> bool {
        matches!(self.role, Role::DeviceSession { .. })
    }

    /// The session that it shares with the other playbacks of its device.
    pub fn shares(&self) -> Option<SessionId> {
        match self.role {
            Role::Sharing(session) => Some(session),
            Role::Alone | Role::DeviceSession { .. } => None,
        }
    }

    pub(super) fn begin(start: PlaybackStart<C>, now: MonotonicTime, call: &PlayerCall, policy: &Policy) -> Self {
        let PlaybackStart { account, caller, entry, id, seed } = start;
        Self {
            account,
            entry,
            id,
            session: Session::new(now, seed, policy),
            began: now,
            kill_memory: policy.kill_memory,
            leases: Leases::default(),
            names: PlaybackNames::of(call),
            order: TurnOrder::new(caller),
            role: Role::Alone,
            renewed_by: None,
        }
    }

    /// Begins the session that the device's playbacks share, opened by the first of them. No call finds it by a name,
    /// and no caller controls it.
    pub(super) fn begin_device_session(
        start: PlaybackStart<C>,
        now: MonotonicTime,
        call: &PlayerCall,
        policy: &Policy,
        by: SessionId,
    ) -> Self {
        let names = PlaybackNames::of_device_session(call);
        Self { names, role: Role::DeviceSession { by }, ..Self::begin(start, now, call, policy) }
    }

    /// For a device's session: sets the playback whose content token opens it.
    pub(super) fn opened_by(&mut self, by: SessionId, token: Option<Fingerprint>) {
        self.role = Role::DeviceSession { by };
        self.names.opened_by(token);
    }

    /// The name it began under: its registration, else its content token.
    pub fn first_token(&self) -> Option<Fingerprint> {
        self.names.first()
    }

    pub fn key_sessions(&self) -> usize {
        self.names.key_sessions()
    }

    /// Known lifetimes of its licenses, one for each key session.
    pub fn leases(&self) -> &[KeyLease] {
        self.leases.as_slice()
    }

    /// Notes the lifetime of a license. Returns when all of the playback's licenses have expired.
    pub(super) fn license(
        &mut self,
        now: MonotonicTime,
        key_session: Fingerprint,
        lasts: Option<Duration>,
    ) -> Option<MonotonicTime> {
        self.leases.note(now, key_session, lasts);
        self.leases.last_end()
    }

    /// True if this registration or content token is, or was, one of the playback's names.
    pub fn has_token(&self, token: Fingerprint) -> bool {
        !self.is_device_session() && self.names.has(token)
    }

    /// True if a caller with this token may control the playback: a call with it was accepted, or the playback began
    /// under it and no other was accepted.
    pub fn answers_to(&self, token: Fingerprint) -> bool {
        !self.is_device_session() && self.names.answers_to(token)
    }

    /// True if media of this path are its own, although its license calls do not name the path.
    pub(super) fn has_media_path(&self, path: Fingerprint) -> bool {
        !self.is_device_session() && self.names.has_media_path(path)
    }

    /// True if a caller with this token, or with its device alone, may control the playback.
    pub fn is_spoken_for_by(&self, token: Option<Fingerprint>) -> bool {
        let by_device = || !self.is_device_session() && self.names.began_without_token();
        token.map_or_else(by_device, |token| self.answers_to(token))
    }

    pub(super) fn is_of(&self, call: &PlayerCall) -> bool {
        call.token.is_some_and(|token| self.has_token(token))
    }

    /// Kill that refuses a call with these names after its kill: the call has one of its tokens, or no content token.
    pub(super) fn kill_of(&self, names: &CallNames) -> Option<&SessionKill> {
        let by = self.session.killed_by().filter(|_| !self.is_device_session())?;
        let is_named = || names.tokens().any(|token| self.is_killed_by_name(token));
        let is_barred = || names.content_token.is_none() && (by.bars_device() || self.names.plays(names.content));
        (is_named() || is_barred()).then_some(by)
    }

    /// All content tokens for which its kill holds.
    pub fn killed_tokens(&self) -> impl Iterator<Item = Fingerprint> {
        self.names.tokens().chain(self.names.shared_tokens().iter().copied())
    }

    /// True if a kill of it holds for this token.
    pub(super) fn is_killed_by_name(&self, token: Fingerprint) -> bool {
        self.has_token(token) || self.names.shared_tokens().contains(&token)
    }

    /// All registrations and content tokens by which it is known.
    pub fn tokens(&self) -> impl Iterator<Item = Fingerprint> + Clone {
        self.names.tokens()
    }

    pub(super) fn plays(&self, content: Option<Fingerprint>) -> bool {
        self.names.plays(content)
    }

    /// True shortly after its start. Without a token, only time separates the keys of one title from those of the next.
    pub(super) fn has_just_begun(&self, now: MonotonicTime) -> bool {
        self.names.first().is_none()
            && self.session.is_active()
            && !self.is_device_session()
            && now < self.began + SAME_TITLE_KEY_WINDOW
    }

    /// The class as which it is remembered; `None` while it goes on, or has something to give back.
    pub fn remembered(&self) -> Option<RetentionClass> {
        match self.session.killed_by() {
            _ if self.session.is_owed_a_close() => None,
            Some(by) if by.follows_token() => Some(RetentionClass::Killed),
            Some(_) => Some(RetentionClass::Replaced),
            None => self.is_spent().then_some(RetentionClass::Ended),
        }
    }

    /// True if it is over, remembered only for left-over calls, and has nothing to give back.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.session.state(), SessionState::Closed { .. }) && !self.session.takes_place()
    }

    /// Learns a token while it plays: a left-over call of an ended one may carry its successor's token.
    pub(super) fn learn_token(&mut self, token: Fingerprint) {
        if self.session.is_active() {
            self.names.learn_token(token);
        }
    }

    /// A call of it came with another playback's token.
    pub(super) fn share_token(&mut self, token: Fingerprint) {
        if !self.is_killed_by_name(token) && self.session.is_active() {
            self.names.share_token(token);
        }
    }

    /// The player of this content token stops. True if another player goes on, whose renewals keep the session, or end
    /// it when they stay away; with timer beats the end would stay unnoticed.
    pub(super) fn goes_on_without(&mut self, token: Fingerprint) -> bool {
        let renews = matches!(self.session.beats(), BeatSource::Renewals { .. });
        self.names.stop(token) && renews
    }

    /// True if a stop with another content token ended it: this renewal's player was not stopped.
    pub(super) fn was_left_by_another(&self, call: &PlayerCall) -> bool {
        self.names.was_left_by_another(call) && call.kind == CallKind::Renewal && !self.session.is_killed()
    }

    /// Forgets this key session. True if it was the last one.
    pub(super) fn release(&mut self, key_session: Fingerprint) -> bool {
        self.leases.forget(key_session);
        self.names.release(key_session)
    }
}
