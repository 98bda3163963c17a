//! Keeps a route's counters of license calls, so that a call looks none up by its labels.

use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;

use crate::drm::{DrmMessage, DrmSystem, MessageKind};
use crate::telemetry::PlayerCallOutcome;

/// Counters of one route by system, kind and outcome. Each is looked up when it first counts.
#[derive(Debug)]
pub(super) struct CallCounters(Box<[OnceLock<Counter>]>);

/// Places for systems and kinds: the last variant's, and one for calls that are not recognised.
const SYSTEM_PLACES: usize = DrmSystem::Widevine as usize + 2;
const KIND_PLACES: usize = MessageKind::Renewal as usize + 2;
const OUTCOME_PLACES: usize = PlayerCallOutcome::Served as usize + 1;

impl Default for CallCounters {
    fn default() -> Self {
        Self((0..SYSTEM_PLACES * KIND_PLACES * OUTCOME_PLACES).map(|_| OnceLock::new()).collect())
    }
}

impl CallCounters {
    /// The counter of such calls; `look_up` finds it the first time.
    pub(super) fn of(
        &self,
        message: Option<&DrmMessage>,
        outcome: PlayerCallOutcome,
        look_up: impl FnOnce() -> Counter,
    ) -> Counter {
        let at = place(message.map(|message| (message.system, message.kind)), outcome);
        // A place is always there: see `place`.
        self.0.get(at).map_or_else(Counter::default, |counter| counter.get_or_init(look_up).clone())
    }
}

fn place(message: Option<(DrmSystem, MessageKind)>, outcome: PlayerCallOutcome) -> usize {
    let (system, kind) = match message {
        Some((system, kind)) => (system as usize, kind as usize),
        None => (SYSTEM_PLACES - 1, KIND_PLACES - 1),
    };
    (system * KIND_PLACES + kind) * OUTCOME_PLACES + outcome as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_of_call_has_a_place_of_its_own() {
        let systems = [DrmSystem::ClearKey, DrmSystem::FairPlay, DrmSystem::PlayReady, DrmSystem::Widevine];
        let kinds = [
            MessageKind::Acknowledge,
            MessageKind::Certificate,
            MessageKind::CertificateRequest,
            MessageKind::Error,
            MessageKind::License,
            MessageKind::LicenseRequest,
            MessageKind::Other,
            MessageKind::Provisioning,
            MessageKind::Release,
            MessageKind::Renewal,
        ];
        let outcomes = [
            PlayerCallOutcome::Declined,
            PlayerCallOutcome::Failed,
            PlayerCallOutcome::Passed,
            PlayerCallOutcome::Refused,
            PlayerCallOutcome::Served,
        ];
        let known = systems.iter().flat_map(|system| kinds.iter().map(|kind| Some((*system, *kind))));
        let messages: Vec<_> = known.chain([None]).collect();
        let of = |message: &Option<_>| outcomes.map(|outcome| place(*message, outcome));
        let places: HashSet<_> = messages.iter().flat_map(of).collect();
        assert_eq!(places.len(), messages.len() * outcomes.len());
        assert!(places.iter().all(|at| *at < CallCounters::default().0.len()));
    }

    #[test]
    fn a_counter_is_looked_up_once() {
        let (counters, counter) = (CallCounters::default(), Counter::default());
        counters.of(None, PlayerCallOutcome::Served, || counter.clone()).inc();
        counters.of(None, PlayerCallOutcome::Served, || panic!("it is known")).inc();
        assert_eq!(counter.get(), 2);
    }
}
