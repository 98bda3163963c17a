//! Handles the authority's limit when another playback of the device holds the place.
//!
//! The playback with a player's call gets the place; the next sign of the other one takes it back. So neither is
//! refused until the evidence shows two viewers. `sessions` calls [`Device::turn`].

use super::super::end_reason::EndReason;
use super::super::input::Input;
use super::super::playback::Playback;
use super::super::policy::Policy;
use super::super::preload_or_zap::{ContestOutcome, NewerPlayback, judge};
use super::competing_playbacks::most_silent;
use super::device_step::DeviceStep;
use super::{Device, DeviceEffects};
use crate::session_id::SessionId;
use crate::time::MonotonicTime;

/// A playback's claim to a place that another playback of its device holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PlaceClaim {
    /// The other playback gives way.
    Holds,
    /// The asking playback gives way: no call waits for it.
    Lapses,
    /// There are two viewers and one place: the asking playback is over.
    Void,
    /// Nothing is decided between the two.
    Waits,
}

/// Result of asking for a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlaceTurn {
    /// Another playback gives way.
    Given,
    /// Another playback will give way once its waiting call has gone on.
    Later,
    Nobody,
}

impl<C> Device<C> {
    /// The authority has no place for this playback, which proves that it knows its token. So another one of the device
    /// gives way, among those that count with it (`alike`).
    pub fn turn(
        &mut self,
        id: SessionId,
        now: MonotonicTime,
        alike: impl Fn(&C) -> bool,
        policy: &Policy,
        out: &mut DeviceEffects,
    ) -> PlaceTurn {
        let step = &mut DeviceStep { now, policy, out };
        let Some(asks) = self.alone().find(|p| p.id == id) else { return PlaceTurn::Nobody };
        if !asks.session.is_active() || asks.session.is_held() {
            return PlaceTurn::Nobody;
        }
        let others = || self.alone().filter(|p| p.id != id && alike(&p.entry));
        // A playback that is being opened has no place yet. It may get the one requested here.
        let is_coming = others().any(|p| p.session.is_asking());
        let others: Vec<_> = others().filter(|p| p.plays_on()).collect();
        let known =
            others.iter().find(|p| asks.order.gave_way_to() == Some(p.id)).copied().filter(|_| asks.session.returns());
        let spare = others.last().copied().filter(|_| others.len() > policy.sessions_per_device);
        let Some(rival) = known.or(spare).or_else(|| most_silent(others.into_iter())) else {
            return if is_coming { PlaceTurn::Later } else { PlaceTurn::Nobody };
        };
        let claim = self.claim(asks, rival, now, policy);
        let (rival, is_awaited) = (rival.id, rival.is_awaited(now));
        match claim {
            PlaceClaim::Holds if is_awaited => return PlaceTurn::Later,
            PlaceClaim::Holds => {
                self.give_way(rival, id, step);
                return PlaceTurn::Given;
            }
            PlaceClaim::Lapses => self.give_way(id, rival, step),
            PlaceClaim::Void => drop(self.step(id, Input::End(EndReason::Zapped), step)),
            PlaceClaim::Waits => {}
        }
        PlaceTurn::Nobody
    }

    /// The claim of the asking playback: at the limit, playing and preloading share one place.
    fn claim(&self, asks: &Playback<C>, rival: &Playback<C>, now: MonotonicTime, policy: &Policy) -> PlaceClaim {
        let returns = asks.session.returns();
        let newer = NewerPlayback { is_served: true, ..self.as_newer(asks) };
        let life = newer.life;
        if self.is_older(asks.id, rival.id) {
            let other = rival.session.life();
            let is_left = (!life.calls() || life.renews()) && other.plays() && life.said() <= other.said();
            return if is_left { PlaceClaim::Waits } else { PlaceClaim::Holds };
        }
        let called = if returns { life.calls() } else { asks.session.is_asking() };
        match judge(now, &self.as_older(rival, policy), &newer) {
            ContestOutcome::OlderGivesWay | ContestOutcome::OlderIsOver => PlaceClaim::Holds,
            // Both showed life after one gave way, so there are two viewers.
            ContestOutcome::TwoViewers if returns && (life.renews() || !life.calls()) => PlaceClaim::Void,
            ContestOutcome::GoOn(_) | ContestOutcome::NewerGivesWay | ContestOutcome::TwoViewers if called => {
                PlaceClaim::Holds
            }
            ContestOutcome::GoOn(_) | ContestOutcome::NewerGivesWay | ContestOutcome::TwoViewers if returns => {
                PlaceClaim::Waits
            }
            // The playback asks by itself, and its lost session may hold the place.
            _ if asks.session.unconfirmed.is_reopening(now) => PlaceClaim::Waits,
            ContestOutcome::GoOn(_) | ContestOutcome::NewerGivesWay | ContestOutcome::TwoViewers => PlaceClaim::Lapses,
        }
    }
}
