//! Runs a step of a device under its lock, then its consequences: effects, records, indexes, the wheel.

use std::sync::{Arc, PoisonError};

use super::device_table::{DeviceEntry, SessionEntry};
use super::retention::drop_tokens;
use super::session_context::{share_cards, take_place};
use super::{DeviceKey, DispatchedAsk, Sessions};
use crate::ids::SessionId;
use crate::session::{AskKind, Device, DeviceEffects, Effect, SessionEvent};
use crate::task::HeldPlace;

impl Sessions {
    pub(super) fn with<R>(
        self: &Arc<Self>,
        key: DeviceKey,
        act: impl FnOnce(&mut Device<SessionEntry>, &mut DeviceEffects) -> R,
    ) -> R {
        self.with_seat(key, |entry, out| act(&mut entry.device, out))
    }

    pub(super) fn with_seat<R>(
        self: &Arc<Self>,
        key: DeviceKey,
        act: impl FnOnce(&mut DeviceEntry, &mut DeviceEffects) -> R,
    ) -> R {
        let result = self.step_seat(key, act);
        self.displace_surplus();
        result
    }

    /// Runs a device's step under its lock, then carries out the effects.
    pub(super) fn step_seat<R>(
        self: &Arc<Self>,
        key: DeviceKey,
        act: impl FnOnce(&mut DeviceEntry, &mut DeviceEffects) -> R,
    ) -> R {
        let mut jobs = Vec::new();
        let result = self.table.with(key, |entry| {
            let mut out = DeviceEffects::new();
            let result = act(entry, &mut out);
            share_cards(&mut entry.device);
            let told: Vec<_> = (0..out.len()).map(|at| is_told_elsewhere(&out, at)).collect();
            for ((id, effect), told) in out.into_iter().zip(told) {
                self.carry_out(key, entry, (id, effect, told), &mut jobs);
            }
            let device = &mut entry.device;
            drop_tokens(device);
            drop_places(device);
            self.keep(key, device);
            self.reindex(key, device);
            self.index_tokens(device);
            self.mark_killed(key, device);
            self.dispatcher.mark_accepted(device);
            self.dispatcher.mark_closing(device);
            self.mark_spares(key, device);
            self.schedule(key, device);
            entry.drop_empty_parts();
            result
        });
        jobs.into_iter().for_each(|job| self.dispatcher.run(self.clone(), job));
        result
    }

    fn carry_out(
        &self,
        key: DeviceKey,
        entry: &mut DeviceEntry,
        (id, effect, told): (SessionId, Effect, bool),
        jobs: &mut Vec<DispatchedAsk>,
    ) {
        let device = &mut entry.device;
        let Some(playback) = device.playback_mut(id) else {
            // A playback that this step forgot may still have waiting calls.
            if let Effect::Displace(kind) = effect {
                self.telemetry.metrics.session_displaced(kind.name());
            }
            self.forget(id);
            entry.wake_waiting();
            return;
        };
        match effect {
            Effect::Ask(ask) => {
                let context = playback.entry.context.clone();
                let mut of_caller = || take_place(device, id).or_else(HeldPlace::of_caller);
                let place = if ask.kind == AskKind::Open { of_caller() } else { None };
                jobs.push(DispatchedAsk { ask, context, id, key, place });
            }
            Effect::Displace(_) | Effect::Forget => {}
            Effect::Note(event) => {
                let at = self.clock.wall();
                if matches!(&event, SessionEvent::Closed(why) | SessionEvent::Left(why) if why.is_wanted()) {
                    playback.entry.mirror.over();
                }
                let (session, token, context) =
                    (playback.shares().unwrap_or(id), playback.first_token(), playback.entry.context.clone());
                let token = token.filter(|token| device.answers_to(session, *token));
                self.telemetry.note(&context.playback(key, session, token), &event, at, told);
                if let Some(playback) = device.playback_mut(session) {
                    playback.entry.timeline.add(at, event);
                }
            }
            Effect::Wake => entry.wake_waiting(),
        }
    }

    /// Puts playbacks on the wheel again if their deadline is earlier now.
    fn schedule(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        let due: Vec<_> = device.playbacks().iter().map(|p| (p.id, p.session.deadline(), p.entry.slotted)).collect();
        for (id, deadline, slotted) in due {
            let Some(deadline) = deadline else { continue };
            if slotted.is_some_and(|(at, _)| at <= deadline) {
                continue;
            }
            let slot = self.wheel.lock().unwrap_or_else(PoisonError::into_inner).insert(deadline, (key, id));
            if let Some(playback) = device.playback_mut(id) {
                playback.entry.slotted = Some((deadline, slot));
            }
            self.alarm.notify_one();
        }
    }
}

/// Drops callers' places that are not needed: an open that has set out holds its own, and a session that is over
/// needs none.
fn drop_places(device: &mut Device<SessionEntry>) {
    for playback in device.playbacks_mut().filter(|playback| !playback.session.waits()) {
        playback.entry.rare_if_any().into_iter().for_each(|rare| rare.place = None);
    }
}

/// True if another line reports this event: the refusal of the player's call, with its incident, or the end of the
/// session in the same step. The settling of credit has no call, so its event is reported.
fn is_told_elsewhere(out: &DeviceEffects, at: usize) -> bool {
    let Some((id, Effect::Note(event))) = out.get(at) else { return false };
    let mut beside = out.iter().filter(|(of, _)| of == id).filter_map(|(_, effect)| match effect {
        Effect::Note(event) => Some(event),
        Effect::Ask(_) | Effect::Displace(_) | Effect::Forget | Effect::Wake => None,
    });
    match event {
        SessionEvent::Failed(AskKind::Open | AskKind::Renew, _) => {
            !beside.any(|event| matches!(event, SessionEvent::Settled(_)))
        }
        SessionEvent::Refused(..) => !beside.any(|event| matches!(event, SessionEvent::Settled(_))),
        SessionEvent::Failed(AskKind::Beat | AskKind::Close, _) => beside.any(|event| {
            matches!(
                event,
                SessionEvent::Blackout(_)
                    | SessionEvent::Closed(_)
                    | SessionEvent::Killed(_)
                    | SessionEvent::LeftOpen
                    | SessionEvent::Reopening
            )
        }),
        _ => false,
    }
}
