//! One playback: its session, and the names by which its calls are known.
//!
//! Knows what it was told, within fixed bounds; which call belongs to which playback is decided in
//! `device`.

mod playback_names;

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use super::effect::RetentionClass;
use super::license_expiry::{KeyLease, Leases};
use super::open_turn::OpenTurn;
use super::player_call::{CallKind, CallNames, PlayerCall};
use super::policy::Policy;
use super::role::Role;
use super::shared_playback::SharedPlayback;
use super::state::{BeatSource, Session, SessionState};
use super::verdict::Reason;
use crate::secret::Fingerprint;
use crate::session_id::SessionId;

/// Audio, video, several qualities, and their successors after a seek.
pub(super) const MAX_KEY_SESSION_NAMES: usize = 16;

/// Names of one playback's content: where only key ids tell, picture and sound have one each.
pub(super) const MAX_CONTENT_NAMES: usize = 8;

/// Players ask for all keys of a title within this time.
pub(super) const SAME_TITLE_KEY_WINDOW: Duration = Duration::from_secs(3);

/// Refreshed content tokens of one playback.
pub(super) const MAX_CONTENT_TOKENS: usize = 8;

/// Paths under which one playback's media are known, where its license calls do not name them.
pub(super) const MAX_MEDIA_PATHS: usize = 4;

/// One thing that one device plays. `C` is what the shell keeps beside it.
#[derive(Debug)]
pub struct Playback<C> {
    pub card: C,
    pub id: SessionId,
    pub session: Session,
    /// Whom it is counted for, where its device may play for several.
    pub account: Option<Fingerprint>,
    /// It began without a content token: whoever names its device speaks for it.
    pub(super) bare: bool,
    pub(super) began: Instant,
    /// The address that called for it first: turns go round among addresses. Not kept over a restart.
    pub(super) caller: Option<Fingerprint>,
    /// Which of the device's wishes it is: the later one counts.
    pub(super) wish: u32,
    pub(super) turn: OpenTurn,
    pub(super) content: Option<Fingerprint>,
    /// Other names of its content.
    pub(super) contents: ArrayVec<Fingerprint, MAX_CONTENT_NAMES>,
    pub(super) key_sessions: ArrayVec<Fingerprint, MAX_KEY_SESSION_NAMES>,
    /// How long a kill of it is remembered.
    pub(super) kill_memory: Duration,
    pub(super) leases: Leases,
    /// The content token that the stop named by which it is over: other players of it may go on.
    pub(super) left: Option<Fingerprint>,
    /// Names that came after the first one: other content tokens for the same content.
    pub(super) later_tokens: ArrayVec<Fingerprint, MAX_CONTENT_TOKENS>,
    /// No names of the playback: whoever has only such a path fetches media by it, and does nothing else.
    pub(super) media_paths: ArrayVec<Fingerprint, MAX_MEDIA_PATHS>,
    pub role: Role,
    /// Content tokens of its calls that another playback of the device has: they say nothing of which of the two is
    /// meant, but a kill holds for them as well.
    pub(super) shared_tokens: Vec<Fingerprint>,
    /// The name it began under: its registration, else its content token.
    pub(super) token: Option<Fingerprint>,
    /// A license was given to a call with that token.
    pub(super) token_accepted: bool,
    pub(super) turns: SharedPlayback,
    /// To whom it gave way last. Not kept over a restart.
    pub(super) gave_way_to: Option<SessionId>,
    /// Of a device's session: who renewed it last. Not kept over a restart, as no call is.
    pub(super) renewed_by: Option<SessionId>,
}

/// What a fresh playback is made of; asked for only when one is needed.
pub struct PlaybackStart<C> {
    /// Whom it is counted for, where that matters: see [`Policy::shares_session`].
    pub account: Option<Fingerprint>,
    /// The address that calls for it, where that is known.
    pub caller: Option<Fingerprint>,
    pub card: C,
    pub id: SessionId,
    pub seed: u32,
}

impl<C> Playback<C> {
    pub(super) fn is_alone(&self) -> bool {
        self.role == Role::Alone
    }

    /// No playback itself, but the session that the device's playbacks share.
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

    pub(super) fn begin(start: PlaybackStart<C>, now: Instant, call: &PlayerCall, policy: &Policy) -> Self {
        let PlaybackStart { account, caller, card, id, seed } = start;
        let registered = call.content_token.is_some_and(|token| call.token != Some(token));
        let mut playback = Self {
            account,
            card,
            id,
            session: Session::new(now, seed, policy),
            bare: call.content_token.is_none(),
            began: now,
            caller,
            wish: 0,
            turn: OpenTurn::Coming,
            content: call.content,
            contents: ArrayVec::new(),
            key_sessions: ArrayVec::new(),
            kill_memory: policy.kill_memory,
            left: None,
            later_tokens: ArrayVec::new(),
            leases: Leases::default(),
            media_paths: ArrayVec::new(),
            role: Role::Alone,
            shared_tokens: Vec::new(),
            token: call.token,
            // One that was registered came with its content token.
            token_accepted: registered,
            turns: SharedPlayback::default(),
            gave_way_to: None,
            renewed_by: None,
        };
        playback.learn_names(call);
        playback
    }

    /// The session that the device's playbacks share, opened by the first of them. No call finds it by any name, and
    /// nobody speaks for it.
    pub(super) fn begin_device_session(
        start: PlaybackStart<C>,
        now: Instant,
        call: &PlayerCall,
        policy: &Policy,
        by: SessionId,
    ) -> Self {
        let call = PlayerCall { content: None, key_session: None, ..*call };
        let mut playback = Self::begin(start, now, &call, policy);
        (playback.bare, playback.role) = (false, Role::DeviceSession { by });
        playback
    }

    /// Of a device's session: the playback by whose content token it is opened.
    pub(super) fn opened_by(&mut self, by: SessionId, token: Option<Fingerprint>) {
        (self.role, self.token) = (Role::DeviceSession { by }, token);
    }

    /// The name it began under: its registration, else its content token.
    pub fn first_token(&self) -> Option<Fingerprint> {
        self.token
    }

    /// The first name of its content.
    pub(super) fn first_content(&self) -> Option<Fingerprint> {
        self.content
    }

    /// A license was given to a call with the token that it began under.
    pub(super) fn is_accepted(&self) -> bool {
        self.token.is_some() && self.token_accepted
    }

    /// Whoever names its device speaks for it.
    pub(super) fn began_without_token(&self) -> bool {
        self.bare
    }

    /// The stop that named this content token ended it.
    pub(super) fn left_by(&mut self, token: Option<Fingerprint>) {
        self.left = token;
    }

    /// Content tokens for which its kill holds, beside its own.
    #[cfg(test)]
    pub(super) fn shared_tokens(&self) -> &[Fingerprint] {
        &self.shared_tokens
    }

    pub fn key_sessions(&self) -> usize {
        self.key_sessions.len()
    }

    /// What is known of its licenses, one per key session.
    pub fn leases(&self) -> &[KeyLease] {
        self.leases.as_slice()
    }

    /// A license of this key session lasts so long. Returns by when all of the playback's have run out.
    pub(super) fn license(
        &mut self,
        now: Instant,
        key_session: Fingerprint,
        lasts: Option<Duration>,
    ) -> Option<Instant> {
        self.leases.note(now, key_session, lasts);
        self.leases.last_end()
    }

    /// Whether this registration or content token is, or was, one of the playback's names.
    pub fn has_token(&self, token: Fingerprint) -> bool {
        !self.is_device_session() && (self.token == Some(token) || self.later_tokens.contains(&token))
    }

    /// Whether who brings this token may speak for the playback: it was accepted with a call of the playback, or the
    /// playback began under it and no other has been accepted.
    pub fn answers_to(&self, token: Fingerprint) -> bool {
        let began_it = self.token == Some(token) && (self.token_accepted || self.later_tokens.is_empty());
        !self.is_device_session() && (began_it || self.later_tokens.contains(&token))
    }

    /// Whether a license was given to one of its calls with this token.
    pub(super) fn has_accepted(&self, token: Fingerprint) -> bool {
        (self.token == Some(token) && self.token_accepted) || self.later_tokens.contains(&token)
    }

    /// Whether media of this path are its own, though its license calls do not name the path.
    pub(super) fn has_media_path(&self, path: Fingerprint) -> bool {
        !self.is_device_session() && self.media_paths.contains(&path)
    }

    pub(super) fn learn_media_path(&mut self, path: Fingerprint) {
        if self.has_media_path(path) {
            return;
        }
        if self.media_paths.is_full() {
            self.media_paths.remove(0);
        }
        self.media_paths.push(path);
    }

    /// Whether whoever names this, or its device alone, may speak for the playback.
    pub fn is_spoken_for_by(&self, token: Option<Fingerprint>) -> bool {
        !self.is_device_session() && token.map_or(self.bare, |token| self.answers_to(token))
    }

    pub(super) fn is_of(&self, call: &PlayerCall) -> bool {
        call.token.is_some_and(|token| self.has_token(token))
    }

    /// Why the kill of this playback refuses a call with these names: it comes with one of its tokens, or with no
    /// content token at all.
    pub(super) fn kill_of(&self, names: &CallNames) -> Option<&Reason> {
        let by = self.session.killed_by().filter(|_| !self.is_device_session())?;
        let is_named = || names.tokens().any(|token| self.is_killed_by_name(token));
        let is_barred = || names.content_token.is_none() && (by.bars_device() || self.plays(names.content));
        (is_named() || is_barred()).then_some(by)
    }

    /// All content tokens for which its kill holds.
    pub fn killed_tokens(&self) -> impl Iterator<Item = Fingerprint> {
        self.tokens().chain(self.shared_tokens.iter().copied())
    }

    /// Whether its kill, if there is one, holds for this token.
    pub(super) fn is_killed_by_name(&self, token: Fingerprint) -> bool {
        self.has_token(token) || self.shared_tokens.contains(&token)
    }

    /// All registrations and content tokens by which it is known.
    pub fn tokens(&self) -> impl Iterator<Item = Fingerprint> + Clone {
        self.token.into_iter().chain(self.later_tokens.iter().copied())
    }

    pub(super) fn plays(&self, content: Option<Fingerprint>) -> bool {
        content.is_some_and(|content| self.content == Some(content) || self.contents.contains(&content))
    }

    /// Without a token only time tells the keys of one title from those of the next.
    pub(super) fn has_just_begun(&self, now: Instant) -> bool {
        self.token.is_none()
            && self.session.is_active()
            && !self.is_device_session()
            && now < self.began + SAME_TITLE_KEY_WINDOW
    }

    pub(super) fn has_key_session(&self, key_session: Fingerprint) -> bool {
        self.key_sessions.contains(&key_session)
    }

    /// As what it is remembered; none while it goes on, or something of it is to be given back.
    pub fn remembered(&self) -> Option<RetentionClass> {
        match self.session.killed_by() {
            _ if self.session.is_owed_a_close() => None,
            Some(by) if by.follows_token() => Some(RetentionClass::Killed),
            Some(_) => Some(RetentionClass::Replaced),
            None => self.is_spent().then_some(RetentionClass::Ended),
        }
    }

    /// Over, remembered only for left-over calls, and with nothing to give back.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.session.state(), SessionState::Closed { .. }) && !self.session.takes_place()
    }

    /// A license was given to this call: its names are the playback's. Anybody can send a call that names another's
    /// content or device, so nothing is learned of one before that.
    pub(super) fn learn(&mut self, call: &PlayerCall) {
        self.token_accepted |= call.token.is_some() && self.token == call.token;
        self.learn_names(call);
    }

    fn learn_names(&mut self, call: &PlayerCall) {
        self.learn_content(call);
        self.turns.note(call, self.is_of(call));
        let Some(key_session) = call.key_session.filter(|known| !self.key_sessions.contains(known)) else { return };
        if self.key_sessions.is_full() {
            self.key_sessions.remove(0);
        }
        self.key_sessions.push(key_session);
    }

    fn learn_content(&mut self, call: &PlayerCall) {
        let Some(content) = call.content.filter(|_| !self.plays(call.content)) else { return };
        if self.content.is_none() {
            self.content = Some(content);
        } else if self.token.is_none() && call.token.is_none() {
            if self.contents.is_full() {
                self.contents.remove(0);
            }
            self.contents.push(content);
        }
    }

    /// Only while it plays: a left-over call of an ended one may carry its successor's token.
    pub(super) fn learn_token(&mut self, token: Option<Fingerprint>) {
        let Some(token) = token.filter(|_| self.session.is_active()) else { return };
        if self.later_tokens.is_full() {
            self.later_tokens.remove(0);
        }
        self.later_tokens.push(token);
    }

    /// A call of it came with a token that another playback keeps.
    pub(super) fn share_token(&mut self, token: Fingerprint) {
        if self.is_killed_by_name(token) || !self.session.is_active() {
            return;
        }
        if self.shared_tokens.len() >= MAX_CONTENT_TOKENS {
            self.shared_tokens.remove(0);
        }
        self.shared_tokens.push(token);
    }

    /// The player of this content token stops. True when another one is known to go on, whose renewals keep
    /// the session and end it when they stay away; by timer nobody would ever know.
    pub(super) fn goes_on_without(&mut self, token: Fingerprint) -> bool {
        let renews = matches!(self.session.beats(), BeatSource::Renewals { .. });
        self.turns.stop(token) && renews
    }

    /// A stop that named another content token ended it: this renewal's player was not stopped.
    pub(super) fn was_left_by_another(&self, call: &PlayerCall) -> bool {
        let other = self.left.zip(call.token).is_some_and(|(left, token)| left != token);
        other && call.kind == CallKind::Renewal && !self.session.is_killed()
    }

    /// True when it was the last one.
    pub(super) fn release(&mut self, key_session: Fingerprint) -> bool {
        let before = self.key_sessions.len();
        self.key_sessions.retain(|known| *known != key_session);
        self.leases.forget(key_session);
        self.key_sessions.len() < before && self.key_sessions.is_empty()
    }
}
