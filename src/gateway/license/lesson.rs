//! What a license says in clear of its renewals: whether they will come, and what will cost the session its beats.

use std::time::Duration;

use crate::drm::{Lease, Message, System};
use crate::session::Served;

const OWN_URL: &str = "the license names a renewal URL of its own: players that obey it renew past sidebeat";
const TOO_RARE: &str = "licenses renew more rarely than the authority wants beats";

pub(in crate::gateway) fn escapes(lease: &Lease, interval: Duration) -> impl Iterator<Item = &'static str> {
    let too_rare = lease.can_renew && Duration::from_secs(lease.renewal_delay_s) > interval;
    [(lease.own_renewal_url, OWN_URL), (too_rare, TOO_RARE)].into_iter().filter_map(|(is, what)| is.then_some(what))
}

/// Whether renewals will come, as the DRM system has them and the license says in clear. `asked`: the system of the
/// request, for a reply that nobody can read.
pub(in crate::gateway) fn learn(message: Option<&Message>, asked: Option<System>) -> Served {
    match message.map(|message| message.system).or(asked) {
        Some(System::ClearKey | System::FairPlay | System::PlayReady) => return Served::NeverRenews,
        Some(System::Widevine) | None => {}
    }
    match message {
        Some(Message { system: System::Widevine, lease: Some(lease), .. }) => {
            let every = (lease.renewal_delay_s > 0).then(|| Duration::from_secs(lease.renewal_delay_s.min(86_400)));
            if lease.can_renew || every.is_some() { Served::Renews { every } } else { Served::Stays }
        }
        Some(_) | None => Served::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_widevine_may_renew_and_a_reply_that_nobody_reads_is_of_the_system_that_was_asked_for() {
        for system in [System::ClearKey, System::FairPlay, System::PlayReady] {
            assert_eq!(learn(None, Some(system)), Served::NeverRenews, "{system:?}");
        }
        assert_eq!([learn(None, Some(System::Widevine)), learn(None, None)], [Served::Plain; 2]);
    }

    #[test]
    fn licenses_that_cost_a_session_its_beats_are_told() {
        let rows: [(bool, u64, bool, &[&str]); 5] = [
            (true, 30, false, &[]),
            (true, 31, false, &[TOO_RARE]),
            (false, 31, false, &[]),
            (true, 30, true, &[OWN_URL]),
            (true, 60, true, &[OWN_URL, TOO_RARE]),
        ];
        for (can_renew, renewal_delay_s, own_renewal_url, told) in rows {
            let lease = Lease {
                can_renew,
                duration_s: 60,
                own_renewal_url,
                recovery_s: 0,
                renewal_delay_s,
                retry_s: 10,
                ..Lease::default()
            };
            let found: Vec<_> = escapes(&lease, Duration::from_secs(30)).collect();
            assert_eq!(found, told, "{lease:?}");
        }
    }
}
