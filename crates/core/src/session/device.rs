//! Manages the playbacks of one device, and the order in which they open and close.
//!
//! A device plays a few things at once (`sessions-per-device`, usually one). Another playback opens beside the others,
//! because it may be a preload; the evidence of both players decides which one is over (`competing_playbacks`). If the
//! authority has no place for it, another playback gives way first (`limit_reached`). While a device zaps fast, its
//! newest playback is held; a held playback that is zapped away made no call and costs nothing. `sessions` owns the
//! devices and calls them.

use std::time::Duration;

use self::device_step::DeviceStep;
pub use self::limit_reached::PlaceTurn;
use self::matching::{CallMatch, place};
pub(super) use self::turn_order::TurnOrder;
use self::zap_debounce::ZapsByCaller;
use super::effect::{CallAnswer, Effect, Effects, SessionRefusal};
use super::end_reason::EndReason;
use super::grant::AskKind;
use super::input::{FarewellSignal, Input};
use super::playback::{Playback, PlaybackStart};
use super::player_call::{CallKind, PlayerCall};
use super::policy::Policy;
use super::step;
use super::verdict::AuthorityFault;
use crate::secret::Fingerprint;
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

mod accept;
mod addressee;
mod capacity;
mod competing_playbacks;
mod deserted;
mod device_step;
mod kills;
mod limit_reached;
mod matching;
mod media;
mod shared_session;
mod spare_place;
mod turn_order;
mod zap_debounce;

/// Effects to carry out, in order, each with its playback.
pub type DeviceEffects = Vec<(SessionId, Effect)>;

#[derive(Debug)]
pub struct Device<C> {
    playbacks: Vec<Playback<C>>,
    /// Number of different things that it has requested.
    wishes: u32,
    /// Fast zaps, for each address that calls for the device.
    zaps: ZapsByCaller,
    /// The address that had the last turn.
    last_turn: Option<Fingerprint>,
}

impl<C> Default for Device<C> {
    fn default() -> Self {
        Self { playbacks: Vec::new(), wishes: 0, zaps: ZapsByCaller::default(), last_turn: None }
    }
}

impl<C> Device<C> {
    /// Finds or begins the playback of a player's call, and answers it. The id is `None` if no playback belongs to the
    /// call. `start` returns `None` if there is no room for another one.
    pub fn call(
        &mut self,
        now: MonotonicTime,
        call: &PlayerCall,
        policy: &Policy,
        start: impl FnMut() -> Option<PlaybackStart<C>>,
        out: &mut DeviceEffects,
    ) -> (Option<SessionId>, CallAnswer) {
        let place = place(&self.playbacks, now, call, policy);
        let index = match place {
            CallMatch::At(index) => index,
            CallMatch::Expired => return (None, CallAnswer::Refuse(SessionRefusal::Expired)),
            CallMatch::Fresh => match self.begin_by_unit(call, start, &mut DeviceStep { now, policy, out }) {
                Some(index) => index,
                None => {
                    return (
                        None,
                        CallAnswer::Refuse(SessionRefusal::Unreachable(AuthorityFault::too_many_sessions())),
                    );
                }
            },
            CallMatch::Nowhere => return (None, CallAnswer::Pass),
        };
        // The call returns to a playback that is being opened, or was passed over.
        let is_back = |p: &Playback<C>| p.session.is_asking() || (p.session.is_held() && !p.order.is_coming());
        if call.kind == CallKind::License && self.playbacks.get(index).is_some_and(is_back) {
            self.wish_for(index);
        }
        let Some(id) = self.playbacks.get(index).map(|playback| playback.id) else { return (None, CallAnswer::Pass) };
        let answer = self.deliver(id, now, Input::Call(call.kind), policy, out);
        (Some(id), answer.unwrap_or(CallAnswer::Wait))
    }

    /// Repeats a call that was told to wait. It stays with its playback. If that was ended from the player's side
    /// meanwhile, the call has lost its turn and begins no other one. Otherwise the waiting calls of a device would zap
    /// each other without end.
    pub fn call_again(
        &mut self,
        id: SessionId,
        now: MonotonicTime,
        call: &PlayerCall,
        policy: &Policy,
        start: impl FnMut() -> Option<PlaybackStart<C>>,
        out: &mut DeviceEffects,
    ) -> (Option<SessionId>, CallAnswer) {
        if self.has_lost_its_turn(id, now, call, policy) {
            return (None, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Zapped)));
        }
        let is_killed = self.killed_with(&call.names()).is_some();
        let goes_on =
            |p: &Playback<C>| p.session.gives_way() || p.session.state().end_reason().is_none_or(EndReason::is_wanted);
        let stays = self.playbacks.iter().find(|p| p.id == id);
        let stays = stays.is_some_and(|p| !is_killed && !p.was_left_by_another(call) && goes_on(p));
        if !stays {
            return self.call(now, call, policy, start, out);
        }
        self.playback_mut(id).into_iter().for_each(|playback| playback.order.asked_for());
        let answer = self.deliver(id, now, Input::RetryCall(call.kind), policy, out);
        (Some(id), answer.unwrap_or(CallAnswer::Wait))
    }

    /// True if its playback ended and made room for another one of the same name.
    fn has_lost_its_turn(&self, id: SessionId, now: MonotonicTime, call: &PlayerCall, policy: &Policy) -> bool {
        let gone = !self.playbacks.iter().any(|p| p.id == id);
        gone && place(&self.playbacks, now, call, policy).begins()
    }

    /// Delivers any other input to a playback. An unknown id is ignored, except for its session's renewal.
    pub fn deliver(
        &mut self,
        id: SessionId,
        now: MonotonicTime,
        input: Input,
        policy: &Policy,
        out: &mut DeviceEffects,
    ) -> Option<CallAnswer> {
        let step = &mut DeviceStep { now, policy, out };
        let id = self.addressee(id, &input);
        let was_killed = self.is_killed(id);
        let answer = self.deliver_by_role(id, input, step);
        self.settle_shared(id, step);
        if !was_killed {
            self.kill_alike(id, step);
        }
        self.settle_contests(step);
        self.pass_over(step);
        self.start_held(step);
        answer
    }

    /// The player got a license that lasts so long; `None` if unknown or for ever.
    pub fn licensed(
        &mut self,
        id: SessionId,
        now: MonotonicTime,
        key_session: Fingerprint,
        lasts: Option<Duration>,
        policy: &Policy,
        out: &mut DeviceEffects,
    ) {
        let Some(playback) = self.playback_mut(id) else { return };
        let until = playback.license(now, key_session, lasts);
        self.deliver(id, now, Input::Licensed(until), policy, out);
    }

    /// The last connection of the device has ended, or one is there again: tells each of its playbacks.
    pub fn connected(
        &mut self,
        now: MonotonicTime,
        connected: bool,
        policy: impl Fn(&C) -> Policy,
        out: &mut DeviceEffects,
    ) {
        let ids: Vec<_> = self.playbacks.iter().map(|p| (p.id, policy(&p.entry))).collect();
        for (id, policy) in ids {
            self.deliver(id, now, if connected { Input::Reconnected } else { Input::Disconnected }, &policy, out);
        }
    }

    /// The player of this content token leaves; without a token, any player of the playback. False if that ends
    /// nothing: it is not believed, another player continues the playback, or it was over.
    pub fn leave(
        &mut self,
        id: SessionId,
        now: MonotonicTime,
        token: Option<Fingerprint>,
        how: FarewellSignal,
        policy: &Policy,
        out: &mut DeviceEffects,
    ) -> bool {
        let (believed, input) = match how {
            FarewellSignal::Quit(report) => (policy.endings.quit, Input::Report(report)),
            FarewellSignal::Stop => (policy.endings.stop, Input::End(EndReason::Stopped)),
        };
        let Some(playback) =
            self.playback_mut(id).filter(|playback| playback.session.is_active() || playback.session.gives_way())
        else {
            return false;
        };
        match (believed, how) {
            (true, _) if token.is_some_and(|token| playback.goes_on_without(token)) => return false,
            (false, FarewellSignal::Stop) => return false,
            (false, FarewellSignal::Quit(_)) | (true, _) => drop(self.deliver(id, now, input, policy, out)),
        }
        let Some(playback) =
            self.playback_mut(id).filter(|playback| !playback.session.is_active() && !playback.session.gives_way())
        else {
            return false;
        };
        playback.names.left_by(token);
        true
    }

    /// The player released the license of this key session. True if it was the playback's last one; a release without a
    /// key session may belong to an earlier playback and is never the last.
    pub fn release(&mut self, id: SessionId, key_session: Option<Fingerprint>) -> bool {
        let (Some(key_session), Some(playback)) = (key_session, self.playback_mut(id)) else { return false };
        playback.release(key_session)
    }

    /// Adds a restored playback behind the others, and continues it. `orphan`: as its record says.
    pub fn resume(
        &mut self,
        mut playback: Playback<C>,
        now: MonotonicTime,
        orphan: bool,
        policy: &Policy,
        out: &mut DeviceEffects,
    ) {
        // The wall clock may have been set back: no playback began in the future.
        playback.began = playback.began.min(now);
        // Most devices have one playback: more room would take most memory of a restart.
        self.playbacks.reserve_exact(1);
        let id = playback.id;
        self.playbacks.push(playback);
        let step = &mut DeviceStep { now, policy, out };
        self.step(id, Input::Restored { orphan }, step);
        self.end_surplus(step);
    }

    #[cfg(test)]
    pub(super) fn adopt_for_test(&mut self, playback: Playback<C>) {
        self.playbacks.push(playback);
    }

    pub fn playbacks(&self) -> &[Playback<C>] {
        &self.playbacks
    }

    pub fn playback(&self, id: SessionId) -> Option<&Playback<C>> {
        self.playbacks.iter().find(|playback| playback.id == id)
    }

    pub fn playback_mut(&mut self, id: SessionId) -> Option<&mut Playback<C>> {
        self.playbacks.iter_mut().find(|playback| playback.id == id)
    }

    pub fn playbacks_mut(&mut self) -> impl Iterator<Item = &mut Playback<C>> {
        self.playbacks.iter_mut()
    }

    pub fn is_empty(&self) -> bool {
        self.playbacks.is_empty()
    }

    fn step(&mut self, id: SessionId, input: Input, step: &mut DeviceStep<'_>) -> Option<CallAnswer> {
        let playback = self.playback_mut(id)?;
        if let Input::Slept(by) = input {
            playback.leases.slept(step.now, by);
        }
        let shared = playback.is_device_session().then(|| step.policy.of_device_session());
        let Effects { answer, list } =
            step::step(&mut playback.session, step.now, input, shared.as_ref().unwrap_or(step.policy));
        let forget = list.contains(&Effect::Forget);
        let opens = |effect: &Effect| matches!(effect, Effect::Ask(ask) if ask.kind == AskKind::Open);
        let beside = list.iter().any(opens).then(|| self.beside(id, step.policy)).flatten();
        let beside = beside.and_then(|p| p.session.grant().cloned());
        step.out.extend(list.into_iter().map(|effect| (id, effect.beside(beside.as_ref()))));
        if forget && !is_owed_an_effect(id, step.out) {
            self.playbacks.retain(|playback| playback.id != id);
            self.playbacks.shrink_to_fit();
        }
        answer
    }
}

/// True if an effect of this step needs the playback. It is forgotten at its next tick, or with the next playback that
/// needs its room; until then its call can be made and its event reported.
fn is_owed_an_effect(id: SessionId, out: &DeviceEffects) -> bool {
    out.iter().any(|(of, effect)| *of == id && matches!(effect, Effect::Ask(_) | Effect::Note(_)))
}

#[cfg(test)]
mod tests;
