//! As what a playback is counted that begins anew below the path of an earlier one: its requests bring no token.

use crate::authority::Authority;
use crate::edge::Peer;
use crate::gateway::Gateway;
use crate::gateway::identity::account::SessionAccount;
use crate::gateway::identity::caller::CallerNames;
use crate::registrations::Registration;
use crate::sessions::DeviceKey;

impl Gateway {
    /// The device that began a playback, and for whom it was counted then.
    pub(super) fn names_of(&self, registration: &Registration, peer: &Peer) -> CallerNames {
        let names = CallerNames::of_registered(registration, peer);
        match self.media_memory.playback(self.clock.now(), registration.id).counted.get() {
            Some(counted) => CallerNames { account: counted.account.clone(), is_proven: counted.is_proven, ..names },
            None => names,
        }
    }

    /// A playback that follows another one is counted as that was. `now`: as its request alone would be counted.
    pub(super) fn counted_as(
        &self,
        authority: &Authority,
        before: &Registration,
        now: SessionAccount,
    ) -> SessionAccount {
        if let Some(counted) = self.media_memory.playback(self.clock.now(), before.id).counted.get() {
            return SessionAccount { network: now.network, ..counted.clone() };
        }
        // After a restart its session may still say so.
        let key = DeviceKey::new(&authority.name, before.rung, &before.device);
        match self.sessions.account(key, before.token()) {
            Some(account) => SessionAccount { account: Some(account), by_device: false, ..now },
            None => now,
        }
    }
}
