//! Computes when each kind of evidence ends the session.

use std::time::Duration;

use super::super::EndingRules;
use super::super::end_reason::EndReason;
use super::super::player_report::{PlayingState, StreamType};
use super::super::step::bounded;
use super::PlayerEvidence;
use crate::time::MonotonicTime;

/// A paused live player goes on requesting playlists, and a slowed page still does so once a minute: a player without
/// requests for so long was closed.
const MAX_PAUSED_SILENCE: Duration = Duration::from_secs(600);

/// The time of the next renewal, if the player's renewals are the beats.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct RenewalRhythm {
    /// Time of the authority's last confirmation.
    pub(in super::super) confirmed: MonotonicTime,
    pub(in super::super) round: Duration,
}

impl PlayerEvidence {
    /// The possible ends with their times, strongest evidence first, which is the reason if several have come. `grace`:
    /// for calls in transit.
    pub(in super::super) fn ends(
        &self,
        rhythm: Option<RenewalRhythm>,
        rules: &EndingRules,
        grace: Duration,
    ) -> [(EndReason, Option<MonotonicTime>); 6] {
        let ends = [
            (EndReason::Unused, self.unused_at(rules)),
            (EndReason::RenewalsOverdue, rhythm.and_then(|rhythm| self.overdue_at(rhythm, rules, grace))),
            (EndReason::Silent, self.silent_at(rules)),
            (EndReason::MediaSilent, self.media_silent_at(rules)),
            (EndReason::LicenseExpired, self.unlicensed_at(rules, grace)),
            (EndReason::Longest, Some(self.last_sign + rules.longest)),
        ];
        ends.map(|(end, at)| (end, at.map(|at| self.spare(at))))
    }

    /// End of a player that received nothing and asks no more. Its reports do not count: an error page may send them
    /// for hours.
    fn unused_at(&self, rules: &EndingRules) -> Option<MonotonicTime> {
        rules.unused.filter(|_| self.is_unused()).map(|unused| self.last_call + unused)
    }

    /// Time at which the player's renewals are missing for too many rounds.
    fn overdue_at(&self, rhythm: RenewalRhythm, rules: &EndingRules, grace: Duration) -> Option<MonotonicTime> {
        let rounds = rules.renewals_overdue?;
        let since = self.last_call.max(rhythm.confirmed);
        let after = |rounds| since + bounded(rhythm.round).mul_f64(rounds) + grace;
        Some(self.sooner(after(rounds), after((rounds / 2.0).max(1.0)), rules))
    }

    /// Time at which a reporting player must be gone: it neither reports nor calls.
    fn silent_at(&self, rules: &EndingRules) -> Option<MonotonicTime> {
        let allowed = self.reports().filter(|_| rules.report_silence)?.allowed_silence()?;
        Some(self.sooner(self.last_sign + allowed, self.last_sign + allowed / 2, rules))
    }

    /// Time at which a live player without media requests must be gone. A player with all of its title needs none, and
    /// a paused one has longer.
    fn media_silent_at(&self, rules: &EndingRules) -> Option<MonotonicTime> {
        let silence = rules.media_silence.filter(|_| self.stream == Some(StreamType::Live))?;
        // A single request may be late, which is no evidence.
        self.again.filter(|again| again.saturating_mul(2) <= silence)?;
        let paused = self.playing() == Some(PlayingState::Paused);
        Some(self.last_sign + if paused { silence.max(MAX_PAUSED_SILENCE) } else { silence })
    }

    /// Time at which all licenses are useless. A call to renew them may still be in transit.
    fn unlicensed_at(&self, rules: &EndingRules, grace: Duration) -> Option<MonotonicTime> {
        let until = self.licensed_until.filter(|_| rules.license_expiry)?;
        Some(until.max(self.last_call) + grace)
    }

    /// The time of other evidence: `full`, or `half` of it once the player's connections have been gone for the dwell
    /// time.
    fn sooner(&self, full: MonotonicTime, half: MonotonicTime, rules: &EndingRules) -> MonotonicTime {
        match (self.alone, rules.connections_gone) {
            (Some(since), Some(dwell)) => full.min(half.max(since + dwell)),
            (None, _) | (_, None) => full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::player_report::{MediaFetch, PlayerReport};
    use super::*;
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until the evidence shown at the beginning ends the session for this reason.
    fn ends_after(why: EndReason, show: impl FnOnce(&mut PlayerEvidence, MonotonicTime)) -> Option<u64> {
        let began = Clock.now();
        let mut evidence = PlayerEvidence::new(began, Some(StreamType::Live));
        show(&mut evidence, began);
        let rhythm = RenewalRhythm { confirmed: began, round: SECOND * 60 };
        let ends = evidence.ends(Some(rhythm), &EndingRules::default(), SECOND * 5);
        let (_, at) = ends.into_iter().find(|(end, _)| *end == why)?;
        at.map(|at| (at - began).as_secs())
    }

    #[test]
    fn each_end_comes_by_its_own_evidence_and_sooner_where_the_connections_are_gone() {
        let report = PlayerReport { by_interval: true, playing: PlayingState::Plays, ..PlayerReport::default() };
        let media = MediaFetch { again: Some(SECOND * 10), ..MediaFetch::default() };
        assert_eq!(ends_after(EndReason::Unused, |_, _| {}), Some(30));
        assert_eq!(ends_after(EndReason::Unused, |it, _| it.served()), None);
        assert_eq!(ends_after(EndReason::RenewalsOverdue, |_, _| {}), Some(125));
        assert_eq!(ends_after(EndReason::RenewalsOverdue, |it, at| it.disconnected(at)), Some(65));
        assert_eq!(ends_after(EndReason::Silent, |_, _| {}), None);
        assert_eq!(ends_after(EndReason::Silent, |it, at| _ = it.reported(at, report, None)), Some(75));
        assert_eq!(ends_after(EndReason::MediaSilent, |_, _| {}), None);
        assert_eq!(ends_after(EndReason::MediaSilent, |it, at| it.media(at, media, None)), Some(90));
        assert_eq!(ends_after(EndReason::LicenseExpired, |_, _| {}), None);
        assert_eq!(ends_after(EndReason::LicenseExpired, |it, at| it.licensed(Some(at + SECOND * 50))), Some(55));
        assert_eq!(ends_after(EndReason::Longest, |_, _| {}), Some(12 * 3600));
    }

    #[test]
    fn no_end_comes_before_the_spared_time() {
        let spared = |it: &mut PlayerEvidence, at: MonotonicTime| it.spare_until(at + SECOND * 100);
        assert_eq!(ends_after(EndReason::Unused, spared), Some(100));
        assert_eq!(ends_after(EndReason::RenewalsOverdue, spared), Some(125));
    }
}
