//! One device's playbacks: which of them a call belongs to, and in which order they open and close.
//!
//! A device may hold a few places at the authority (`sessions-per-device`, usually one). A playback
//! too many ends the oldest one (a zap); the new one is held until that place is given back, so the
//! authority never counts a household's own zap against it. A held playback that is itself zapped
//! away was never asked for and costs nothing.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use super::call::{Call, CallKind};
use super::effect::{Answer, Effect, Effects, Refusal};
use super::end::End;
use super::input::Input;
use super::policy::Policy;
use super::state::{Over, Session, State};
use super::step::step;
use crate::ids::SessionId;
use crate::secret::Fingerprint;

/// Effects that are to be carried out, in order, with the playback that each belongs to.
pub type Outbox = Vec<(SessionId, Effect)>;

/// Audio, video, several qualities, and their successors after a seek.
const KEY_SESSIONS: usize = 16;

/// Names of one playback's content: where only key ids tell, picture and sound have one each.
const CONTENTS: usize = 8;

/// Players ask for all keys of a title within this time.
const TOGETHER: Duration = Duration::from_secs(3);

/// Refreshed content tokens of one playback.
const TOKENS: usize = 8;

/// Ended playbacks whose left-over calls are still known; a device that has more asks without sense.
const REMEMBERED: usize = 32;

/// One thing that one device plays. `C` is what the shell keeps beside it.
#[derive(Debug)]
pub struct Playback<C> {
    pub card: C,
    pub content: Option<Fingerprint>,
    pub id: SessionId,
    pub session: Session,
    /// The content token that began it.
    pub token: Option<Fingerprint>,
    began: Instant,
    /// Other names of its content.
    contents: ArrayVec<Fingerprint, CONTENTS>,
    /// Tokens that came after the first for the same content.
    later_tokens: ArrayVec<Fingerprint, TOKENS>,
    key_sessions: ArrayVec<Fingerprint, KEY_SESSIONS>,
}

impl<C> Playback<C> {
    pub fn key_sessions(&self) -> usize {
        self.key_sessions.len()
    }

    /// Whether this content token is, or was, one of the playback's.
    pub fn has_token(&self, token: Fingerprint) -> bool {
        self.token == Some(token) || self.later_tokens.contains(&token)
    }

    fn is_of(&self, call: &Call) -> bool {
        call.token.is_some_and(|token| self.has_token(token))
    }

    fn learn(&mut self, call: &Call) {
        self.learn_content(call);
        let Some(key_session) = call.key_session else { return };
        if self.key_sessions.contains(&key_session) {
            return;
        }
        if self.key_sessions.is_full() {
            self.key_sessions.remove(0);
        }
        self.key_sessions.push(key_session);
    }

    fn learn_content(&mut self, call: &Call) {
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

    fn plays(&self, content: Option<Fingerprint>) -> bool {
        content.is_some_and(|content| self.content == Some(content) || self.contents.contains(&content))
    }

    /// Only while it plays: a left-over call of an ended one may carry its successor's token.
    fn learn_token(&mut self, call: &Call) {
        let Some(token) = call.token.filter(|_| self.session.is_active()) else { return };
        if self.later_tokens.is_full() {
            self.later_tokens.remove(0);
        }
        self.later_tokens.push(token);
    }
}

/// What a fresh playback is made of; asked for only when one is needed.
pub struct Start<C> {
    pub card: C,
    pub id: SessionId,
    pub seed: u32,
}

#[derive(Debug)]
pub struct Device<C> {
    playbacks: Vec<Playback<C>>,
}

impl<C> Default for Device<C> {
    fn default() -> Self {
        Self { playbacks: Vec::new() }
    }
}

enum Place {
    /// With this playback.
    At(usize),
    Fresh,
    Nowhere,
}

impl<C> Device<C> {
    /// A player's call: finds or starts its playback and answers. The id is absent when no playback
    /// has to do with it.
    pub fn call(
        &mut self,
        now: Instant,
        call: &Call,
        policy: &Policy,
        start: impl FnOnce() -> Start<C>,
        out: &mut Outbox,
    ) -> (Option<SessionId>, Answer) {
        let index = match self.place(now, call) {
            Place::At(index) => index,
            Place::Fresh => self.begin(now, call, policy, start(), out),
            Place::Nowhere => return (None, Answer::Pass),
        };
        // A token stays with its first playback: a killed one must not find shelter with another.
        let strange = !self.playbacks.iter().any(|p| p.is_of(call));
        let Some(playback) = self.playbacks.get_mut(index) else { return (None, Answer::Pass) };
        let id = playback.id;
        playback.learn(call);
        if strange {
            playback.learn_token(call);
        }
        let answer = self.deliver(id, now, Input::Call(call.kind), policy, out);
        (Some(id), answer.unwrap_or(Answer::Wait))
    }

    /// A call that was told to wait asks again. It stays with its playback: when that one was ended from
    /// the player's side meanwhile, the call has lost its turn and does not begin another. Else two
    /// waiting calls of one device would zap each other without end.
    pub fn call_again(
        &mut self,
        id: SessionId,
        now: Instant,
        call: &Call,
        policy: &Policy,
        start: impl FnOnce() -> Start<C>,
        out: &mut Outbox,
    ) -> (Option<SessionId>, Answer) {
        let stays = self.playbacks.iter().find(|p| p.id == id).is_some_and(|p| match p.session.state() {
            State::Closed { why: Over::Ended(why), .. } | State::Closing { why, .. } => why.is_wanted(),
            State::Closed { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Opening { .. } => true,
        });
        if !stays {
            return self.call(now, call, policy, start, out);
        }
        let answer = self.deliver(id, now, Input::Call(call.kind), policy, out);
        (Some(id), answer.unwrap_or(Answer::Wait))
    }

    /// Anything else that happens to one playback. An id that is gone is ignored.
    pub fn deliver(
        &mut self,
        id: SessionId,
        now: Instant,
        input: Input,
        policy: &Policy,
        out: &mut Outbox,
    ) -> Option<Answer> {
        let answer = self.step(id, now, input, policy, out);
        self.start_held(now, policy, out);
        answer
    }

    /// The player released the license of this key session. True when it was the playback's last; a
    /// release that names none may speak of another day's playback and is never the last.
    pub fn release(&mut self, id: SessionId, key_session: Option<Fingerprint>) -> bool {
        let (Some(key_session), Some(playback)) = (key_session, self.playback_mut(id)) else { return false };
        playback.key_sessions.retain(|known| *known != key_session);
        playback.key_sessions.is_empty()
    }

    pub fn playbacks(&self) -> &[Playback<C>] {
        &self.playbacks
    }

    pub fn playback_mut(&mut self, id: SessionId) -> Option<&mut Playback<C>> {
        self.playbacks.iter_mut().find(|playback| playback.id == id)
    }

    pub fn is_empty(&self) -> bool {
        self.playbacks.is_empty()
    }

    fn step(&mut self, id: SessionId, now: Instant, input: Input, policy: &Policy, out: &mut Outbox) -> Option<Answer> {
        let playback = self.playbacks.iter_mut().find(|playback| playback.id == id)?;
        let Effects { answer, list } = step(&mut playback.session, now, input, policy);
        let forget = list.contains(&Effect::Forget);
        out.extend(list.into_iter().map(|effect| (id, effect)));
        if forget {
            self.playbacks.retain(|playback| playback.id != id);
        }
        answer
    }

    /// Adds a playback, and ends as many of the oldest as the device then has too many.
    fn begin(&mut self, now: Instant, call: &Call, policy: &Policy, start: Start<C>, out: &mut Outbox) -> usize {
        let active: Vec<_> = self.playbacks.iter().filter(|p| p.session.is_active()).map(|p| p.id).collect();
        let surplus = (active.len() + 1).saturating_sub(policy.sessions_per_device);
        for id in active.into_iter().take(surplus) {
            self.step(id, now, Input::End(End::Zapped), policy, out);
        }
        // What is over and given back makes room for its successor at once.
        self.playbacks.retain(|p| !(is_spent(&p.session) && (p.is_of(call) || p.plays(call.content))));
        self.forget_surplus();
        let Start { card, id, seed } = start;
        let session = Session::new(now, seed, policy);
        let playback = Playback {
            card,
            content: call.content,
            id,
            session,
            token: call.token,
            began: now,
            contents: ArrayVec::new(),
            later_tokens: ArrayVec::new(),
            key_sessions: ArrayVec::new(),
        };
        self.playbacks.push(playback);
        self.start_held(now, policy, out);
        self.playbacks.len() - 1
    }

    /// Ended ones go before their time, the oldest first, when they are too many. A kill never does.
    fn forget_surplus(&mut self) {
        let mut surplus = self.playbacks.iter().filter(|p| is_spent(&p.session)).count().saturating_sub(REMEMBERED);
        self.playbacks.retain(|p| {
            let goes = surplus > 0 && is_spent(&p.session);
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Lets held playbacks go, oldest first, while the device has places left.
    fn start_held(&mut self, now: Instant, policy: &Policy, out: &mut Outbox) {
        loop {
            let taken = self.playbacks.iter().filter(|p| p.session.takes_place()).count();
            let held = self.playbacks.iter().find(|p| p.session.is_held()).map(|p| p.id);
            match held {
                Some(id) if taken < policy.sessions_per_device => self.step(id, now, Input::Start, policy, out),
                Some(_) | None => return,
            };
        }
    }

    fn place(&self, now: Instant, call: &Call) -> Place {
        let found = self.find(now, call);
        let Some((index, playback)) = found else {
            return if call.openable && call.kind != CallKind::Certificate && call.kind != CallKind::Release {
                Place::Fresh
            } else {
                Place::Nowhere
            };
        };
        let again = match (call.kind, playback.session.state()) {
            (CallKind::Certificate | CallKind::Release, _) => false,
            (CallKind::License | CallKind::Renewal, State::Closed { until, why }) => match why {
                Over::Denied(..) | Over::Unmanaged | Over::Unreachable(_) => now >= *until,
                Over::Ended(end) => call.kind == CallKind::License || !end.is_wanted(),
            },
            (CallKind::License, State::Closing { .. }) => true,
            (
                CallKind::License | CallKind::Renewal,
                State::Closing { .. }
                | State::Failing { .. }
                | State::Killed { .. }
                | State::Live { .. }
                | State::Opening { .. },
            ) => false,
        };
        if !again || !call.openable {
            return Place::At(index);
        }
        // Found by its key session, it may still carry the token of another one that was killed.
        let killed = self.playbacks.iter().position(|p| p.session.is_killed() && p.is_of(call));
        killed.map_or(Place::Fresh, Place::At)
    }

    /// The playback that a call belongs to, newest first: by its key session where the message proves
    /// that one exists, by its content token, by its content, because it has just begun, or because there
    /// is only one.
    fn find(&self, now: Instant, call: &Call) -> Option<(usize, &Playback<C>)> {
        let newest = |fits: &dyn Fn(&Playback<C>) -> bool| {
            self.playbacks.iter().enumerate().rev().find(|(_, playback)| fits(playback))
        };
        let continues = matches!(call.kind, CallKind::Release | CallKind::Renewal);
        let by_key_session = || newest(&|p| call.key_session.is_some_and(|key| p.key_sessions.contains(&key)));
        let by_token = || newest(&|p| p.is_of(call));
        // A new content token for the same content goes on with a running playback, never with a killed one.
        let by_content = || {
            newest(&|p| {
                p.plays(call.content) && (p.session.is_active() || (p.session.is_killed() && call.token.is_none()))
            })
        };
        // Without a token only time tells the keys of one title from those of the next.
        let just_begun = || {
            let tokenless = |p: &Playback<C>| p.token.is_none() && call.token.is_none();
            newest(&|p| tokenless(p) && !continues && p.session.is_active() && now < p.began + TOGETHER)
        };
        let only = || {
            let mut candidates = self.playbacks.iter().enumerate().filter(|(_, p)| p.session.is_active());
            let first = candidates.next();
            match candidates.next() {
                Some(_) => None,
                None => first.or_else(|| newest(&|p| p.session.is_killed())),
            }
            .filter(|_| call.token.is_none() && (continues || call.content.is_none()))
        };
        let known = if continues { by_key_session() } else { None };
        known.or_else(by_token).or_else(by_content).or_else(just_begun).or_else(only)
    }
}

/// Over, remembered only for left-over calls, and with nothing to give back.
fn is_spent(session: &Session) -> bool {
    matches!(session.state(), State::Closed { .. }) && !session.takes_place()
}

/// The refusal, if the answer is one.
impl Answer {
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refuse(refusal) => Some(refusal),
            Self::Forward(_) | Self::Pass | Self::Renew(..) | Self::Wait => None,
        }
    }
}

#[cfg(test)]
mod tests;
