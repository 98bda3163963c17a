//! Places that preloads hold beside what plays, by account: another device's open that meets the limit gets one.
//!
//! Kept up under each device's lock: a playback that is a spare holds a [`Spare`], whose drop takes it out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Sessions;
use super::card::{AuthorityId, Card, DeviceKey};
use super::table::Kept;
use crate::ids::SessionId;
use crate::session::{Denial, Device, Input};
use crate::store::Dialect;

/// An account at an authority, as [`super::closings`] has it.
type Account = (AuthorityId, String);

type SpareMap = HashMap<Account, Vec<(DeviceKey, SessionId)>>;

#[derive(Default)]
pub(super) struct Spares(Arc<Mutex<SpareMap>>);

/// A preload that holds a place, until this is dropped.
#[derive(Debug)]
pub(super) struct Spare {
    account: Account,
    of: Arc<Mutex<SpareMap>>,
    whose: (DeviceKey, SessionId),
}

impl Spares {
    fn begin(&self, card: &Card, whose: (DeviceKey, SessionId)) -> Spare {
        let account = super::closings::account(card);
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.entry(account.clone()).or_default().push(whose);
        Spare { account, of: self.0.clone(), whose }
    }

    /// The oldest of the account, of another device than this.
    fn of_another(&self, card: &Card, key: DeviceKey) -> Option<(DeviceKey, SessionId)> {
        let spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.get(&super::closings::account(card))?.iter().copied().find(|(of, _)| *of != key)
    }
}

impl Drop for Spare {
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
    /// Keeps the spares as the device is after this step.
    pub(super) fn mark_spares(&self, key: DeviceKey, device: &mut Device<Kept>) {
        let newest = device.playbacks().last().filter(|_| device.playbacks().len() > 1);
        let spare = newest.map(|newest| newest.card.card.policy()).and_then(|policy| device.spare(&policy));
        for playback in device.playbacks_mut() {
            match (spare == Some(playback.id), playback.card.spare.is_some()) {
                (true, false) => playback.card.spare = Some(self.spares.begin(&playback.card.card, (key, playback.id))),
                (false, true) => playback.card.spare = None,
                (true, true) | (false, false) => {}
            }
        }
    }

    /// The authority has no place for this open: somebody who may give way does. False where nobody may.
    pub(super) fn make_room(self: &Arc<Self>, (key, id): (DeviceKey, SessionId), card: &Card, denial: Denial) -> bool {
        // An embedded authority proves nothing of a token, and counts a device's preload with what it plays.
        if card.dialect == Dialect::Embedded {
            return false;
        }
        let spare = self.spares.of_another(card, key).filter(|_| denial == Denial::Limit);
        if let Some((key, id)) = spare {
            return self.deliver(key, id, Input::GiveWay);
        }
        let account = super::closings::account(card);
        let alike = |other: &Kept| super::closings::account(&other.card) == account;
        let policy = card.policy();
        self.with(key, |device, out| device.turn(id, self.clock.now(), alike, &policy, out))
    }
}
