//! Distinguishes a preload from a zap: if a device that plays one thing requests a license of another, the two look
//! alike at first.
//!
//! So the newer playback opens beside the older, and the evidence of both players decides which one is over. In most
//! cases it is only presumed that the older, or a preload, gives way, and its player can take the session back. The
//! judgement is pure; `competing_playbacks` chooses the two and carries out the outcome.

use std::time::Duration;

use super::life_signs::LifeSigns;
use crate::time::MonotonicTime;

/// A playback with timer beats and without signs for so long is quiet. Live players request a playlist more often.
pub(super) const QUIET_PLAYBACK_TIME: Duration = Duration::from_secs(10);
/// Two playbacks that both show life for so long have a viewer each.
pub(super) const TWO_VIEWERS_PROOF_TIME: Duration = Duration::from_secs(60);
/// Longest wait for the outcome of another playback's first call; a player's own call has 6 s in all.
pub(super) const MAX_UNDECIDED_WAIT: Duration = Duration::from_secs(3);
/// Time after which a waiting playback looks again.
pub(super) const CONTEST_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A preload without signs for so long is abandoned.
pub(super) const ABANDONED_PRELOAD_TIME: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
pub(super) struct OlderPlayback {
    /// sidebeat sends its beats: its player has no time by which it must call again.
    pub(super) by_timer: bool,
    /// Its player reports that it reached its end, or failed; or received nothing.
    pub(super) done: bool,
    /// Like [`LifeSigns::flows`], beside the other playback.
    pub(super) flows: Option<(MonotonicTime, MonotonicTime)>,
    pub(super) last: MonotonicTime,
    /// Its player reports that it only preloads it: it is the preload although it began first.
    pub(super) preloads: bool,
    /// Time of its last sign plus an interval and grace.
    pub(super) overdue_at: MonotonicTime,
    /// Time from which on it is quiet.
    pub(super) quiet_at: MonotonicTime,
    /// Time of its player's last report that it plays.
    pub(super) said: Option<MonotonicTime>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct NewerPlayback {
    /// True if its player received something to play by.
    pub(super) is_served: bool,
    pub(super) life: LifeSigns,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ContestOutcome {
    /// Nothing is decided. Look again then, if nothing happens before.
    GoOn(Option<MonotonicTime>),
    NewerGivesWay,
    OlderGivesWay,
    /// For good: it cannot be taken back.
    OlderIsOver,
    /// Both continue side by side: the older one is over, for good.
    TwoViewers,
}

pub(super) fn judge(now: MonotonicTime, older: &OlderPlayback, newer: &NewerPlayback) -> ContestOutcome {
    let NewerPlayback { is_served, life } = newer;
    // A call that the license server has not accepted decides nothing.
    if !is_served {
        return ContestOutcome::GoOn(None);
    }
    if older.preloads && !life.preloads() {
        let abandoned_at = older.last + ABANDONED_PRELOAD_TIME;
        return if now >= abandoned_at {
            ContestOutcome::OlderGivesWay
        } else {
            ContestOutcome::GoOn(Some(abandoned_at))
        };
    }
    // The later report counts, because the viewer may have gone back; it does not outweigh later signs of the other.
    if life.plays() && older.said > life.said() {
        return ContestOutcome::NewerGivesWay;
    }
    if life.plays() && Some(older.last) <= life.said() {
        return ContestOutcome::OlderIsOver;
    }
    let abandoned_at = life.last() + ABANDONED_PRELOAD_TIME;
    if life.preloads() {
        return if now >= abandoned_at {
            ContestOutcome::NewerGivesWay
        } else {
            ContestOutcome::GoOn(Some(abandoned_at))
        };
    }
    if older.done || now >= older.overdue_at {
        return ContestOutcome::OlderGivesWay;
    }
    let both = older.flows.zip(life.flows()).map(|(one, other)| (one.0.max(other.0), one.1.min(other.1)));
    if both.is_some_and(|(first, last)| last.saturating_duration_since(first) >= TWO_VIEWERS_PROOF_TIME) {
        return ContestOutcome::TwoViewers;
    }
    let streams = older.by_timer && life.streams_on();
    let quiet_at = (life.renews() || streams).then_some(older.quiet_at);
    if quiet_at.is_some_and(|at| now >= at) {
        return ContestOutcome::OlderGivesWay;
    }
    let is_abandoned = now >= abandoned_at;
    if is_abandoned && older.last > life.last() {
        return ContestOutcome::NewerGivesWay;
    }
    if is_abandoned && older.by_timer {
        // Neither shows anything, as if only licenses passed through: it was a zap.
        return ContestOutcome::OlderGivesWay;
    }
    let looks = [Some(older.overdue_at), quiet_at, (!is_abandoned).then_some(abandoned_at)];
    ContestOutcome::GoOn(looks.into_iter().flatten().min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{PlayerReport, PlayingState};
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn older(by_timer: bool, round: u32, last: MonotonicTime) -> OlderPlayback {
        let round = SECOND * round;
        let quiet = if by_timer { QUIET_PLAYBACK_TIME } else { round };
        OlderPlayback {
            by_timer,
            done: false,
            flows: None,
            last,
            preloads: false,
            overdue_at: last + round + SECOND * 10,
            quiet_at: last + quiet,
            said: None,
        }
    }

    fn name(outcome: ContestOutcome) -> &'static str {
        match outcome {
            ContestOutcome::GoOn(_) => "nobody",
            ContestOutcome::NewerGivesWay => "newer",
            ContestOutcome::OlderGivesWay => "older",
            ContestOutcome::OlderIsOver => "over",
            ContestOutcome::TwoViewers => "two",
        }
    }

    /// The newer one's signs, five seconds a letter: `.` nothing, `l` a license, `r` a renewal, `s` three segments, `p`
    /// it plays, `d` it preloads; then the older one's: `.` nothing, `r` any sign, `D` the last one.
    fn outcome((by_timer, round): (bool, u32), newer: &str, olders: &str) -> String {
        let start = Clock.now();
        let mut life = LifeSigns::new(start);
        let (mut last, mut done, mut flows) = (start, false, None);
        for (second, (does, other)) in newer.chars().zip(olders.chars().chain(std::iter::repeat('.'))).enumerate() {
            let now = start + SECOND * second as u32 * 5;
            match does {
                'd' => life.reported(now, &PlayerReport { preloads: true, ..PlayerReport::default() }),
                'p' => life.reported(now, &PlayerReport { playing: PlayingState::Plays, ..PlayerReport::default() }),
                'r' => life.renewed(now, 40 * SECOND),
                's' => (0..3).for_each(|_| life.fetched(now, true)),
                _ => {}
            }
            last = if other == '.' { last } else { now };
            done |= other == 'D';
            if other == 'r' {
                flows = Some((flows.map_or(now, |(first, _)| first), now));
            }
            let older = OlderPlayback { done, flows, ..older(by_timer, round, last) };
            match judge(now, &older, &NewerPlayback { is_served: true, life }) {
                ContestOutcome::GoOn(look) => {
                    assert!(look.is_none_or(|look| look > now), "to be looked at in time to come")
                }
                told => return format!("{} at {}", name(told), second * 5),
            }
        }
        "nobody".to_owned()
    }

    /// Each letter is five seconds.
    #[test]
    fn the_evidence_tells_a_preload_from_a_zap() {
        const NOTHING: &str = "..........................";
        const TIMER: (bool, u32) = (true, 30);
        const RENEWALS: (bool, u32) = (false, 30);
        let rows = [
            // The player's own report decides. A preload is not judged by its signs, nor by the other's silence.
            (TIMER, ".p", "rr", "over at 5"),
            (TIMER, "dssssrrrrrrrrrrr", "rrrrrrrrrrrrrrrr", "nobody"),
            (TIMER, "drssss.....r.....", "r", "nobody"),
            (TIMER, "d........................", "rrrrrrrrrrrrrrrrrrrrrrrrr", "newer at 120"),
            (TIMER, "d.......p", "rrrrrrrrr", "over at 40"),
            // The older one reports its end.
            (TIMER, "...", "rD", "older at 5"),
            // Some segments ahead, while the film goes on; and a stream, when the film is quiet.
            (TIMER, "ss.........", "rrrrrrrrrrr", "nobody"),
            (TIMER, "sss........", "rrrrrrrrrrr", "nobody"),
            (TIMER, "ssssss", "r", "older at 10"),
            (TIMER, "sssss", "rr", "older at 15"),
            // If the film renews, a stream ends it when it has also missed the authority's patience.
            (RENEWALS, "ssss....", "r", "nobody"),
            (RENEWALS, "ssss.....", "r", "older at 40"),
            // Renewals: a playback that missed a round is quiet.
            (RENEWALS, ".....rr", "r.....r", "nobody"),
            (RENEWALS, "......r", "r", "older at 30"),
            (RENEWALS, ".........", "r", "older at 40"),
            // Both show life for a minute: two viewers. It takes two.
            (RENEWALS, "r.....r.....r.....", "rr..rr..rr..rr..rr", "two at 60"),
            ((false, 120), "r.....r.....r.....", "r", "nobody"),
            // Nothing but a license: abandoned, beside what goes on.
            (TIMER, NOTHING, "rrrrrrrrrrrrrrrrrrrrrrrrrr", "newer at 120"),
            (TIMER, ".........", "", "older at 40"),
            // Nothing of either: a zap, unless the older one is expected to renew.
            ((true, 200), NOTHING, "r", "older at 120"),
            ((false, 200), NOTHING, "r", "nobody"),
        ];
        for (by, newer, older, expected) in rows {
            assert_eq!(outcome(by, newer, older), expected, "{newer} beside {older}");
        }
    }

    #[test]
    fn an_undecided_contest_is_judged_again_when_it_can_be_decided() {
        let start = Clock.now();
        let at = |seconds: u32| start + SECOND * seconds;
        let silent = LifeSigns::new(start);
        let mut renews = silent;
        renews.renewed(at(20), SECOND * 40);
        let preloads = LifeSigns::of_preload(start);
        let rows = [
            (older(true, 30, start), silent, "older", 40),
            (older(false, 30, at(10)), renews, "older", 40),
            (older(true, 200, at(100)), silent, "newer", 120),
            (older(true, 30, at(100)), preloads, "newer", 120),
        ];
        for (older, life, expected, decided) in rows {
            let (mut now, mut looks) = (at(21), 0);
            let told = loop {
                match judge(now, &older, &NewerPlayback { is_served: true, life }) {
                    ContestOutcome::GoOn(look) => now = look.expect("it will be decided"),
                    told => break told,
                }
                looks += 1;
                assert!(looks < 9, "looked at without end");
            };
            assert_eq!((name(told), now), (expected, at(decided)));
        }
    }

    #[test]
    fn the_later_of_two_reports_of_playing_counts() {
        let start = Clock.now();
        let at = |seconds: u32| Some(start + SECOND * seconds);
        for (olders, newers, expected) in [(None, at(1), "over"), (at(1), at(2), "over"), (at(2), at(1), "newer")] {
            let older = OlderPlayback { said: olders, ..older(true, 30, start) };
            let life = LifeSigns::said_to_play(start, newers);
            assert_eq!(name(judge(start, &older, &NewerPlayback { is_served: true, life })), expected);
        }
    }

    #[test]
    fn a_report_does_not_outweigh_later_signs_of_the_other() {
        let start = Clock.now();
        let life = LifeSigns::said_to_play(start, Some(start));
        for (last, expected) in [(start, "over"), (start + SECOND, "nobody")] {
            let outcome = judge(start + SECOND, &older(true, 30, last), &NewerPlayback { is_served: true, life });
            assert_eq!(name(outcome), expected);
        }
    }

    /// Its own report counts, whichever began first.
    #[test]
    fn a_reported_preload_is_the_preload_even_if_it_began_first() {
        let start = Clock.now();
        let older = OlderPlayback { preloads: true, ..older(true, 30, start) };
        let newer = NewerPlayback { is_served: true, life: LifeSigns::said_to_play(start, Some(start)) };
        let abandoned_at = start + ABANDONED_PRELOAD_TIME;
        assert_eq!(judge(start + SECOND * 60, &older, &newer), ContestOutcome::GoOn(Some(abandoned_at)));
        assert_eq!(judge(abandoned_at, &older, &newer), ContestOutcome::OlderGivesWay);
    }

    #[test]
    fn a_call_that_the_license_server_has_not_accepted_decides_nothing() {
        let start = Clock.now();
        let past = start + SECOND * 10_000;
        let older = OlderPlayback {
            by_timer: true,
            done: true,
            flows: None,
            last: start,
            overdue_at: start,
            preloads: false,
            quiet_at: start,
            said: None,
        };
        let mut life = LifeSigns::said_to_play(start, None);
        (0..99).for_each(|_| life.fetched(start, true));
        life.renewed(start, SECOND);
        assert_eq!(judge(past, &older, &NewerPlayback { is_served: false, life }), ContestOutcome::GoOn(None));
    }
}
