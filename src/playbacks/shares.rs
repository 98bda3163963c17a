//! Which playbacks came from which network, so that none can push those of all others out.

use std::collections::{HashMap, VecDeque};

use super::Registrations;
use crate::ids::PlaybackId;
use crate::secret::Fingerprint;

#[derive(Debug, Default)]
pub(super) struct NetworkShares {
    /// Of each network, the oldest first. Some may be forgotten by now.
    ids: HashMap<Fingerprint, VecDeque<PlaybackId>>,
    total: usize,
}

impl NetworkShares {
    const MAX_IDS: usize = 2 * Registrations::MOST;

    pub(super) fn note(&mut self, network: Fingerprint, id: PlaybackId, is_known: impl Fn(PlaybackId) -> bool) {
        if self.total >= Self::MAX_IDS {
            self.ids.retain(|_, ids| {
                ids.retain(|id| is_known(*id));
                !ids.is_empty()
            });
            self.total = self.ids.values().map(VecDeque::len).sum();
        }
        self.ids.entry(network).or_default().push_back(id);
        self.total += 1;
    }

    /// The oldest of a network that has more than its share, until `forget` finds one that is known still.
    pub(super) fn displace(
        &mut self,
        network: Fingerprint,
        mut forget: impl FnMut(PlaybackId) -> bool,
    ) -> Option<PlaybackId> {
        let ids = self.ids.get_mut(&network)?;
        while ids.len() > Registrations::MAX_OF_NETWORK {
            let oldest = ids.pop_front()?;
            self.total -= 1;
            if forget(oldest) {
                return Some(oldest);
            }
        }
        None
    }
}
