//! Keeps registrations across a restart: archives them when they are made or used, and restores them at the start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Registration, Registrations};
use crate::ids::PlaybackId;

/// Writes registrations down. Called under a lock, so it must cost almost nothing.
pub trait Archive: Send + Sync {
    fn forget(&self, id: PlaybackId);

    /// Archives a registration that is used now.
    fn keep(&self, registration: &Registration);
}

impl Registrations {
    /// Makes registrations that survive the process.
    pub fn kept_in(archive: Box<dyn Archive>) -> Self {
        Self { archive: Some(archive), ..Self::default() }
    }

    /// Restores registrations, each with the time since its recorded use. An unused one may live up to half a
    /// lifetime longer than without the restart. Returns how many there are.
    pub fn restore(&self, now: Instant, found: impl IntoIterator<Item = (Registration, Duration)>) -> usize {
        let (mut known, gone): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, unused)| *unused < Self::MAX_UNUSED_REGISTRATION_TIME);
        for (registration, _) in gone {
            self.archive.iter().for_each(|archive| archive.forget(registration.id));
        }
        known.sort_by_key(|(_, unused)| *unused);
        let young = known.len().saturating_sub(Self::MAX_REGISTRATIONS / 2);
        let named = |(registration, _): (Registration, _)| (registration.id, Arc::new(registration));
        self.with(now, |generations| {
            known.drain(..young).map(named).for_each(|(id, registration)| generations.insert(id, registration));
            known.drain(..).map(named).for_each(|(id, registration)| generations.insert_old(id, registration));
        });
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::super::tests::registration;
    use super::*;
    use crate::clock::Clock;
    use crate::secret::Fingerprint;

    /// The ids that are written down, and how often anything was.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<(BTreeSet<PlaybackId>, usize)>>);

    impl Archive for Paper {
        fn forget(&self, id: PlaybackId) {
            self.0.lock().unwrap().0.remove(&id);
        }

        fn keep(&self, registration: &Registration) {
            let mut written = self.0.lock().unwrap();
            written.0.insert(registration.id);
            written.1 += 1;
        }
    }

    #[test]
    fn known_registrations_are_written_down_and_forgotten_ones_are_not() {
        let paper = Paper::default();
        let (registrations, mut now) = (Registrations::kept_in(Box::new(paper.clone())), Clock.now());
        let used = registrations.insert(now, registration()).id;
        let unused = registrations.insert(now, registration()).id;
        for _ in 0..100 {
            assert!(registrations.find(now, used).is_some());
        }
        assert_eq!(*paper.0.lock().unwrap(), (BTreeSet::from([used, unused]), 2), "a look alone costs nothing");
        for _ in 0..5 {
            now += Registrations::MAX_UNUSED_REGISTRATION_TIME * 2 / 5;
            assert!(registrations.find(now, used).is_some());
        }
        assert_eq!(paper.0.lock().unwrap().0, BTreeSet::from([used]));
        assert!(registrations.find(now + Registrations::MAX_UNUSED_REGISTRATION_TIME, used).is_none());
        assert!(paper.0.lock().unwrap().0.is_empty());
    }

    #[test]
    fn a_registration_that_gives_way_to_others_of_its_network_is_not_written_down_any_more() {
        let paper = Paper::default();
        let (registrations, now) = (Registrations::kept_in(Box::new(paper.clone())), Clock.now());
        let mut displaced = Vec::new();
        while displaced.is_empty() {
            displaced = registrations.insert_of(now, Fingerprint::new(1), registration());
            assert!(registrations.len() < Registrations::MAX_REGISTRATIONS / 2, "none gives way");
        }
        let paper = paper.0.lock().unwrap();
        assert_eq!(paper.0.len(), registrations.len());
        assert!(displaced.iter().all(|id| !paper.0.contains(id)));
    }

    #[test]
    fn a_restored_registration_is_used_or_forgotten_in_its_time() {
        let paper = Paper::default();
        let (registrations, now) = (Registrations::kept_in(Box::new(paper.clone())), Clock.now());
        let found: Vec<_> = [0, 20, 24].map(|hours| (registration(), Duration::from_secs(hours * 3600))).into();
        let ids: Vec<_> = found.iter().map(|(registration, _)| registration.id).collect();
        found.iter().for_each(|(registration, _)| paper.keep(registration));
        assert_eq!(registrations.restore(now, found), 2);
        assert_eq!(paper.0.lock().unwrap().0, BTreeSet::from([ids[0], ids[1]]), "unused for a life");
        assert!(registrations.find(now, ids[0]).is_some() && registrations.find(now, ids[2]).is_none());
        let later = now + Registrations::MAX_UNUSED_REGISTRATION_TIME / 2;
        assert!(registrations.find(later, ids[0]).is_some() && registrations.find(later, ids[1]).is_none());
        assert_eq!(paper.0.lock().unwrap().0, BTreeSet::from([ids[0]]));
    }
}
