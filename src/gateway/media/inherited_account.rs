//! Finds the account for a playback that begins anew below the path of an earlier one, because its requests bring
//! no token.

use crate::authority::Authority;
use crate::edge::Peer;
use crate::gateway::Gateway;
use crate::gateway::identity::account::SessionAccount;
use crate::gateway::identity::caller::CallerNames;
use crate::registrations::Registration;
use crate::sessions::DeviceKey;

impl Gateway {
    /// The device that began a playback, and the account that it was counted for.
    pub(super) fn names_of(&self, registration: &Registration, peer: &Peer) -> CallerNames {
        let names = CallerNames::of_registered(registration, peer);
        match self.media_memory.playback(self.clock.now(), registration.id).counted.get() {
            Some(counted) => CallerNames { account: counted.account.clone(), is_proven: counted.is_proven, ..names },
            None => names,
        }
    }

    /// Counts a playback that follows another one as that was. `now` is the account that its request alone would
    /// give.
    pub(super) fn counted_as(
        &self,
        authority: &Authority,
        before: &Registration,
        now: SessionAccount,
    ) -> SessionAccount {
        if let Some(counted) = self.media_memory.playback(self.clock.now(), before.id).counted.get() {
            return SessionAccount { network: now.network, ..counted.clone() };
        }
        // After a restart its session may still know the account.
        let key = DeviceKey::new(&authority.name, before.device_source, &before.device);
        match self.sessions.account(key, before.token()) {
            Some(account) => SessionAccount { account: Some(account), by_device: false, ..now },
            None => now,
        }
    }
}
