//! Notes which playbacks came from which network, so that no network displaces those of all others.

use std::collections::{HashMap, VecDeque};

use super::{GenerationMap, Registration, Registrations};
use crate::ids::PlaybackId;
use crate::secret::Fingerprint;

#[derive(Debug, Default)]
pub(super) struct NetworkShares {
    /// Ids of each network, oldest first. Some may be forgotten already.
    ids: HashMap<Fingerprint, VecDeque<PlaybackId>>,
    total: usize,
}

impl NetworkShares {
    const MAX_IDS: usize = 2 * Registrations::MAX_REGISTRATIONS;
    /// A network is searched only when it has this many too many, so the cost per registration is small.
    pub(super) const NETWORK_SHARE_SLACK: usize = Registrations::MAX_REGISTRATIONS_PER_NETWORK / 8;

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

    /// Removes a network's playbacks beyond its share, oldest first. A recently used one gets another turn.
    pub(super) fn displace(
        &mut self,
        network: Fingerprint,
        generations: &mut GenerationMap<Registration>,
    ) -> Vec<PlaybackId> {
        let mut displaced = Vec::new();
        let Some(ids) = self.ids.get_mut(&network) else { return displaced };
        if ids.len() <= Registrations::MAX_REGISTRATIONS_PER_NETWORK + Self::NETWORK_SHARE_SLACK {
            return displaced;
        }
        let before = ids.len();
        ids.retain(|id| generations.is_known(*id));
        let mut turns = ids.len();
        while ids.len() > Registrations::MAX_REGISTRATIONS_PER_NETWORK
            && let Some(oldest) = ids.pop_front()
        {
            if turns > 0 && generations.take_use(oldest) {
                ids.push_back(oldest);
                turns -= 1;
            } else {
                displaced.push(oldest);
            }
        }
        self.total -= before - ids.len();
        displaced
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::registration;
    use super::*;

    #[test]
    fn networks_whose_playbacks_are_forgotten_are_forgotten_too() {
        let mut shares = NetworkShares::default();
        for network in 0..=NetworkShares::MAX_IDS as u64 {
            shares.note(Fingerprint::new(network), PlaybackId::random(), |_| false);
        }
        assert_eq!((shares.ids.len(), shares.total), (1, 1));
    }

    #[test]
    fn a_displaced_registration_counts_no_more() {
        let (mut shares, mut generations) = <(NetworkShares, GenerationMap<Registration>)>::default();
        let registration = Arc::new(registration());
        for _ in 0..=Registrations::MAX_REGISTRATIONS_PER_NETWORK + NetworkShares::NETWORK_SHARE_SLACK {
            let id = PlaybackId::random();
            generations.insert(id, registration.clone());
            shares.note(Fingerprint::new(1), id, |_| true);
        }
        assert_eq!(
            shares.displace(Fingerprint::new(1), &mut generations).len(),
            NetworkShares::NETWORK_SHARE_SLACK + 1
        );
        assert_eq!(
            (shares.total, shares.ids[&Fingerprint::new(1)].len()),
            (Registrations::MAX_REGISTRATIONS_PER_NETWORK, shares.total)
        );
    }
}
