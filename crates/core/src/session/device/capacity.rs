//! Manages the places of a device: which playback gives way, which one may start, and which one is forgotten.

use std::time::Duration;

use super::super::effect::{Effect, RetentionClass};
use super::super::end_reason::EndReason;
use super::super::input::Input;
use super::super::playback::{Playback, PlaybackStart};
use super::super::player_call::{CallKind, PlayerCall};
use super::super::policy::Policy;
use super::super::unconfirmed_run::UnconfirmedRun;
use super::device_step::DeviceStep;
use super::{Device, DeviceEffects, is_owed_an_effect};
use crate::secret::Fingerprint;
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

/// Ended playbacks whose left-over calls are still known; more than that are calls without sense.
pub(super) const MAX_ENDED_PLAYBACKS_REMEMBERED: usize = 32;
/// Remembered kills of a device. Kills by the authority or an operator count apart from those by other devices, because
/// two devices can take each other's place as often as they like.
pub(super) const MAX_KILLS_REMEMBERED: usize = 64;
/// Playbacks that wait for their turn. Another one replaces the last of them.
pub(super) const MAX_WAITING_PLAYBACKS: usize = 8;
/// Playbacks beyond the device's places that are not over yet: mostly closes without an answer.
pub(super) const MAX_UNSETTLED: usize = 64;

impl<C> Device<C> {
    /// True if another playback would end one of these.
    pub(super) fn is_full(&self, policy: &Policy) -> bool {
        !policy.shares_session && self.alone().filter(|p| p.session.is_active()).count() >= policy.sessions_per_device
    }

    /// Makes room for another playback. Returns how long it waits if all places are taken.
    pub(super) fn make_room(&mut self, caller: Option<Fingerprint>, step: &mut DeviceStep<'_>) -> Duration {
        if !self.is_full(step.policy) {
            return Duration::ZERO;
        }
        let hold = self.zaps.next(caller, step.now, step.policy);
        if step.policy.opens_beside {
            let held = || self.alone().filter(|p| p.session.is_held());
            // One of the address with most of them is dropped, so that no address loses to another.
            let of_caller =
                |address| held().filter(|p| p.order.caller() == address).count() + usize::from(address == caller);
            let most = held().max_by_key(|p| of_caller(p.order.caller())).map(|p| p.order.caller());
            let of_most = || held().filter(|p| Some(p.order.caller()) == most);
            let left = of_most().find(|p| p.order.is_passed()).or_else(|| of_most().next_back());
            // Many addresses with one each lose none: the limit on the device's playbacks applies then.
            let may_leave = |p: &&Playback<C>| of_caller(p.order.caller()) > 1;
            if let Some(id) = left.filter(may_leave).filter(|_| held().count() >= MAX_WAITING_PLAYBACKS).map(|p| p.id) {
                self.step(id, Input::End(EndReason::Abandoned), step);
            }
            return hold;
        }
        let active: Vec<_> = self.alone().filter(|p| p.session.is_active()).map(|p| p.id).collect();
        let surplus = (active.len() + 1).saturating_sub(step.policy.sessions_per_device);
        for id in active.into_iter().take(surplus) {
            self.step(id, Input::End(EndReason::Zapped), step);
        }
        hold
    }

    /// The playback was called for again, and counts as the newest wish.
    pub(super) fn wish_for(&mut self, index: usize) {
        self.wishes = self.wishes.saturating_add(1);
        let wish = self.wishes;
        self.playbacks.get_mut(index).into_iter().for_each(|p| p.order.wished(wish));
    }

    /// A later wish has reached its player. If that plays beside another one, held playbacks must show that a call
    /// still waits for them. If it took the only place, they lose their turn.
    pub(super) fn pass_over(&mut self, step: &mut DeviceStep<'_>) {
        let playing = || self.alone().filter(|p| p.plays_on());
        if playing().count() < step.policy.sessions_per_device {
            return;
        }
        // Only wishes of one address pass over each other.
        let is_served =
            |p: &Playback<C>, held: &Playback<C>| p.session.is_served() && p.order.caller() == held.order.caller();
        let is_later = |held: &Playback<C>| playing().any(|p| is_served(p, held) && p.order.wish() > held.order.wish());
        let has_room = playing().count() > step.policy.sessions_per_device;
        let passed = self.alone().filter(|p| p.session.is_held() && is_later(p));
        for (id, returns) in passed.map(|p| (p.id, p.session.returns())).collect::<Vec<_>>() {
            match self.playback_mut(id) {
                Some(_) if returns => drop(self.step(id, Input::GiveWay, step)),
                Some(playback) if has_room => {
                    if playback.order.pass() {
                        step.out.push((id, Effect::Wake));
                    }
                }
                _ => drop(self.step(id, Input::End(EndReason::Zapped), step)),
            }
        }
    }

    /// True if a wish of the same address, made as late or later, may yet be served.
    fn waits_for_another(&self, held: &Playback<C>, now: MonotonicTime) -> bool {
        let mut others = self.alone().filter(|p| p.id != held.id && p.order.caller() == held.order.caller());
        others.any(|p| !p.order.is_passed() && p.order.wish() >= held.order.wish() && p.is_undecided(now))
    }

    /// Ends the surplus of playbacks: one whose authority was away may come back beside its successor, and gives way,
    /// because it was not confirmed since that began. Other playbacks side by side go on under any limit. If one may be
    /// a preload, their evidence decides.
    pub(super) fn end_surplus(&mut self, step: &mut DeviceStep<'_>) {
        if step.policy.opens_beside {
            return;
        }
        let active = self.alone().filter(|p| p.session.is_active()).count();
        let Some(began) = self.alone().next_back().map(|newest| newest.began) else { return };
        let old = |p: &&Playback<C>| p.session.is_active() && p.session.last_good() < began;
        let surplus = active.saturating_sub(step.policy.sessions_per_device);
        let gone: Vec<_> = self.alone().filter(old).take(surplus).map(|p| p.id).collect();
        for id in gone {
            self.step(id, Input::GiveWay, step);
        }
    }

    /// Forgets the oldest remembered playbacks of a kind that has too many.
    pub(super) fn forget_surplus(&mut self, out: &mut DeviceEffects) {
        for kind in RetentionClass::ALL {
            let most = match kind {
                RetentionClass::Ended => MAX_ENDED_PLAYBACKS_REMEMBERED,
                RetentionClass::Killed | RetentionClass::Replaced => MAX_KILLS_REMEMBERED,
            };
            let is_of_it = |p: &Playback<C>| p.remembered() == Some(kind);
            let mut surplus = self.playbacks.iter().filter(|p| is_of_it(p)).count().saturating_sub(most);
            self.playbacks.retain(|p| {
                let goes = surplus > 0 && is_of_it(p) && !is_owed_an_effect(p.id, out);
                surplus -= usize::from(goes);
                out.extend(goes.then_some((p.id, Effect::Displace(kind))));
                !goes
            });
        }
    }

    /// True if so many playbacks are not over yet that no other may begin.
    pub(super) fn is_unsettled(&self, policy: &Policy) -> bool {
        let unsettled = self.playbacks.iter().filter(|p| p.remembered().is_none()).count();
        unsettled >= policy.sessions_per_device.saturating_add(MAX_UNSETTLED)
    }

    /// Forgets this playback before its time, if it is still remembered as this kind.
    pub fn displace(&mut self, id: SessionId, kind: RetentionClass, out: &mut DeviceEffects) {
        self.playbacks.retain(|p| {
            let goes = p.id == id && p.remembered() == Some(kind) && !is_owed_an_effect(id, out);
            out.extend(goes.then_some((p.id, Effect::Displace(kind))));
            !goes
        });
    }

    pub(super) fn forget_all(&mut self, mut goes: impl FnMut(&Playback<C>) -> bool, out: &mut DeviceEffects) {
        self.playbacks.retain(|p| {
            let goes = goes(p) && !is_owed_an_effect(p.id, out);
            out.extend(goes.then_some((p.id, Effect::Forget)));
            !goes
        });
    }

    /// Starts held playbacks, oldest first, while the device has places left. Without a free place, one at a time opens
    /// beside the playing ones and a possible preload: the latest wish, and the others only if that came to nothing.
    pub(super) fn start_held(&mut self, step: &mut DeviceStep<'_>) {
        loop {
            let taken = self.alone().filter(|p| p.session.takes_place()).count();
            let places = step.policy.sessions_per_device;
            let beside =
                step.policy.opens_beside && !self.alone().any(|p| p.session.is_asking() || p.session.gives_back());
            let is_ready = |p: &&Playback<C>| p.session.may_start(step.now) && !p.order.is_passed();
            let held = self.alone().filter(|p| p.session.is_held()).filter(is_ready);
            let later = |than: &Playback<C>| {
                let held = self.alone().filter(|p| p.session.is_held() && p.order.caller() == than.order.caller());
                held.filter(|p| p.order.wish() > than.order.wish()).count()
            };
            let may_start = |p: &&Playback<C>| {
                let is_next = taken <= places + 1 && beside && !self.waits_for_another(p, step.now);
                is_next || taken + later(p) < places
            };
            // Among addresses the one that waited longest is first, but not twice in a row.
            let ready: Vec<_> = held.filter(may_start).map(|p| (p.id, p.order.caller())).collect();
            let of_another = ready.iter().find(|(_, caller)| *caller != self.last_turn);
            let Some((id, caller)) = of_another.or(ready.first()).copied() else { return };
            self.last_turn = caller;
            self.step(id, Input::Start, step);
        }
    }

    /// Adds a playback, which is held if the device zaps fast.
    pub(super) fn begin(&mut self, call: &PlayerCall, start: PlaybackStart<C>, step: &mut DeviceStep<'_>) -> usize {
        let hold = self.make_room(start.caller, step);
        self.wishes = self.wishes.saturating_add(1);
        let same = |p: &Playback<C>| p.is_of(call) || p.plays(call.content);
        let spent = self.playbacks.iter().any(|p| p.session.has_spent() && same(p));
        let before = self.playbacks.iter().rfind(|p| same(p)).map(|p| *p.session.life());
        let follower = self.begun_behind(call);
        // A playback that is over and given back makes room for its successor at once.
        self.forget_all(|p| p.is_spent() && same(p), step.out);
        self.forget_surplus(step.out);
        let mut playback = Playback::begin(start, step.now, call, step.policy);
        let beside = call.content_token.filter(|token| call.token != Some(*token));
        playback.session.hold_until(step.now + hold);
        playback.session.unconfirmed = UnconfirmedRun::new(spent);
        before.iter().for_each(|earlier| playback.session.evidence.comes_after(step.now, earlier));
        playback.order.wished(self.wishes);
        let index =
            follower.and_then(|id| self.playbacks.iter().position(|p| p.id == id)).unwrap_or(self.playbacks.len());
        let id = playback.id;
        // Most devices have one playback: a list that begins with room for four would take most of its memory.
        self.playbacks.reserve_exact(1);
        self.playbacks.insert(index, playback);
        beside.into_iter().for_each(|token| self.learn_token(id, token));
        self.start_held(step);
        self.playbacks.iter().position(|p| p.id == id).unwrap_or(index)
    }

    /// The playback that began behind the one of this call, if the call is a renewal, which is no wish for something
    /// else. `None` without one.
    fn begun_behind(&self, call: &PlayerCall) -> Option<SessionId> {
        let before = self.playbacks.iter().rposition(|p| p.is_of(call) || p.plays(call.content))?;
        let [_, behind @ ..] = self.playbacks.get(before..)? else { return None };
        behind.first().filter(|_| call.kind == CallKind::Renewal).map(|p| p.id)
    }
}
