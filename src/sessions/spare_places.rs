//! Indexes slots that preloads hold, by account. An open of another device that meets the limit gets one.
//!
//! Updated under each device's lock. A playback that is a spare holds a [`SparePlace`], which removes its entry when
//! dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Sessions;
use super::device_table::SessionEntry;
use super::session_context::{AuthorityId, DeviceKey, SessionContext};
use crate::ids::SessionId;
use crate::session::{Denial, Device, Input, PlaceTurn};
use crate::store::DialectName;

/// An account at an authority, as in [`super::pending_releases`].
type SpareAccount = (AuthorityId, Box<str>);

/// A preload, and whether its slot exists already: a session that is being opened has none yet.
type SpareHolder = (DeviceKey, SessionId, bool);

type SpareMap = HashMap<SpareAccount, Vec<SpareHolder>>;

#[derive(Default)]
pub(super) struct SparePlaces(Arc<Mutex<SpareMap>>);

/// A preload with a slot, until this is dropped.
#[derive(Debug)]
pub(super) struct SparePlace {
    account: SpareAccount,
    of: Arc<Mutex<SpareMap>>,
    whose: SpareHolder,
}

impl SparePlaces {
    fn begin(&self, context: &SessionContext, whose: SpareHolder) -> SparePlace {
        let account = super::pending_releases::account(context);
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.entry(account.clone()).or_default().push(whose);
        SparePlace { account, of: self.0.clone(), whose }
    }

    /// The account's oldest preload of another device, preferably one whose slot exists.
    fn of_another(&self, context: &SessionContext, key: DeviceKey) -> Option<SpareHolder> {
        let spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = || {
            spares.get(&super::pending_releases::account(context)).into_iter().flatten().filter(|(of, ..)| *of != key)
        };
        others().find(|(_, _, is_there)| *is_there).or_else(|| others().next()).copied()
    }
}

impl Drop for SparePlace {
    fn drop(&mut self) {
        let mut spares = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whose) = spares.get_mut(&self.account) {
            whose.retain(|whose| *whose != self.whose);
            if whose.is_empty() {
                spares.remove(&self.account);
            }
        }
    }
}

impl Sessions {
    /// Updates the spares after a step of the device.
    pub(super) fn mark_spares(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        let newest = device.playbacks().last().filter(|_| device.playbacks().len() > 1);
        let policy = newest.map(|newest| newest.entry.context.policy());
        let there = policy.as_ref().and_then(|policy| device.spare(policy)).map(|id| (id, true));
        let coming = policy.as_ref().and_then(|policy| device.coming_spare(policy)).map(|id| (id, false));
        for playback in device.playbacks_mut() {
            let spare = [there, coming].into_iter().flatten().find(|(id, _)| *id == playback.id);
            let whose = spare.map(|(id, is_there)| (key, id, is_there));
            let spare = playback.entry.rare().and_then(|rare| rare.spare.as_ref());
            if spare.map(|spare| spare.whose) != whose {
                playback.entry.rare_mut().spare = None;
                let spare = whose.map(|whose| self.spares.begin(&playback.entry.context, whose));
                playback.entry.rare_mut().spare = spare;
            }
        }
    }

    /// Makes another session give way to this open, for which the authority has no slot.
    pub(super) fn make_room(
        self: &Arc<Self>,
        (key, id): (DeviceKey, SessionId),
        context: &SessionContext,
        denial: Denial,
    ) -> PlaceTurn {
        // An embedded authority does not prove the token, and counts a device's preload as one with its playback.
        if context.dialect == DialectName::Embedded {
            return PlaceTurn::Nobody;
        }
        let spare = self.spares.of_another(context, key).filter(|_| denial == Denial::Limit);
        let policy = context.policy();
        let is_spare = || self.with(key, |device, _| device.coming_spare(&policy) == Some(id));
        if spare.is_some_and(|(_, _, is_there)| !is_there) && !is_spare() {
            return PlaceTurn::Later;
        }
        if let Some((key, id, true)) = spare {
            if self.with(key, |device, _| device.is_awaited(id, self.clock.now().into())) {
                return PlaceTurn::Later;
            }
            return if self.deliver(key, id, Input::GiveWay) { PlaceTurn::Given } else { PlaceTurn::Nobody };
        }
        let account = super::pending_releases::account(context);
        let alike = |other: &SessionEntry| super::pending_releases::account(&other.context) == account;
        self.with(key, |device, out| device.turn(id, self.clock.now().into(), alike, &policy, out))
    }
}
