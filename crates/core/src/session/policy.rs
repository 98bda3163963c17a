//! The numbers and choices that the core follows. `sessions` makes them from the route and its authority.

use std::time::Duration;

use super::end_reason::EndReason;
use super::player_report::StreamType;
use super::program_schedule::Schedule;
use super::session_kill::SessionKill;
use super::verdict::KillSource;
use crate::session::{EndingRules, Enforcement, OnUnreachable};

#[derive(Clone, Debug)]
pub struct Policy {
    /// When a player resumes, it is beaten at once if the last beat is older than half an interval.
    pub beat_on_resume: bool,
    pub beat_while_paused: bool,
    /// Number of tries for a close.
    pub close_tries: u8,
    /// The authority also counts ended sessions until they are given back.
    pub counts_ended: bool,
    /// Time for which a refusal is repeated: players come back within seconds.
    pub refusal_memory: Duration,
    /// Time for which an ended playback is remembered, so that its left-over calls are recognised.
    pub end_memory: Duration,
    /// The evidence that ends a playback.
    pub endings: EndingRules,
    pub enforcement: Enforcement,
    /// Share of the interval after which a beat is due.
    pub fraction: f64,
    /// Time after the interval until the authority must have let a silent session expire.
    pub grace: Duration,
    /// Time for which a kill is remembered.
    pub kill_memory: Duration,
    /// Minimum of that for an operator's kill: the authority would grant the next session.
    pub operator_kill_memory: Duration,
    /// Time after which a call in flight is given up.
    pub call_timeout: Duration,
    /// Counts lost beats instead of time: each is sent again when the next one is due, and a live playback is over
    /// after more than so many in a row; other playbacks never are.
    pub max_failures: Option<u8>,
    /// Time for which playbacks go on while the authority does not answer.
    pub on_unreachable: OnUnreachable,
    /// The device may have one more session than it may play, until it shows which one ends. False if the authority has
    /// one place for a device: then the older session ends before the newer begins.
    pub opens_beside: bool,
    /// Time for which a yielded playback may go on unchanged, if its close is not sent.
    pub re_entry: Duration,
    /// The authority takes the player's renewals as beats (Widevine under SSM).
    pub renews: bool,
    /// Waits before a failed beat is sent again; the last one repeats.
    pub retries: [Duration; 2],
    /// The authority may replace the session's token with every beat: a good answer without a token does not show which
    /// one is the newest.
    pub rotates_tokens: bool,
    /// The coming moments of the programme.
    pub schedule: Option<Schedule>,
    pub sessions_per_device: usize,
    /// The authority counts devices: all playbacks of a device for an account share one session.
    pub shares_session: bool,
    /// A device that zaps fast gets its next playback opened after this quiet time: the first value, doubled with each
    /// zap up to the second. A zap after the second value counts as a single one again.
    pub settle: [Duration; 2],
    /// A blackout or the end of the programme ends the playback; if false, it is only reported.
    pub stop_on_blackout: bool,
    pub stop_on_end: bool,
    /// The kind of stream, if known before the player reports it.
    pub stream: Option<StreamType>,
    /// Content tokens are verified: a call without one does not prove its owner.
    pub tokens_prove: bool,
}

impl Policy {
    /// Time for which a yielded playback may be taken back.
    pub(super) const MAX_GIVEN_WAY_TIME: Duration = Duration::from_secs(600);

    /// Latest beat, including spread and timer wheel, that does not count as late.
    pub const MAX_BEAT_LATENESS: Duration = Duration::from_millis(100);

    /// True if the same authorization may begin again after such an end. If not, only the app can request the next one:
    /// a player that goes on asking must not undo the end.
    pub fn begins_again(&self, after: EndReason) -> bool {
        match after {
            EndReason::Lost => self.max_failures.is_none(),
            EndReason::Programme => false,
            EndReason::Abandoned
            | EndReason::Drained
            | EndReason::Expired
            | EndReason::GaveWay
            | EndReason::LicenseExpired
            | EndReason::Longest
            | EndReason::MediaSilent
            | EndReason::Orphaned
            | EndReason::Quit
            | EndReason::Released
            | EndReason::RenewalsOverdue
            | EndReason::Silent
            | EndReason::Stopped
            | EndReason::Unused
            | EndReason::Zapped => true,
        }
    }

    /// Time for which such an end is remembered. If its player must not undo it, as long as the player may ask; if it
    /// was presumed, as long as its player may take it back.
    pub(super) fn memory_of(&self, end: EndReason) -> Duration {
        match end {
            EndReason::GaveWay => Self::MAX_GIVEN_WAY_TIME,
            _ if self.begins_again(end) => self.end_memory,
            _ => self.kill_memory,
        }
    }

    /// Time for which this kill is remembered.
    pub(super) fn memory_of_kill(&self, by: &SessionKill) -> Duration {
        match by.source() {
            KillSource::Authority | KillSource::Successor => self.kill_memory,
            KillSource::Operator => self.kill_memory.max(self.operator_kill_memory),
        }
    }

    /// Time for which an undecided call is refused without another request.
    pub(super) fn undecided_memory(&self) -> Duration {
        self.refusal_memory.min(Duration::from_secs(1))
    }

    /// The policy for a session that several playbacks share: these end by their players' evidence, and the session
    /// with the last of them.
    pub(super) fn of_device_session(&self) -> Self {
        let endings = EndingRules {
            license_expiry: false,
            media_silence: None,
            renewals_overdue: None,
            report_silence: false,
            unused: None,
            ..self.endings
        };
        Self { endings, ..self.clone() }
    }

    pub fn retry_after(&self, missed: u8) -> Duration {
        let [first, later] = self.retries;
        if missed <= 1 { first } else { later }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            beat_on_resume: false,
            beat_while_paused: true,
            close_tries: 2,
            counts_ended: false,
            refusal_memory: Duration::from_secs(3),
            end_memory: Duration::from_secs(60),
            endings: EndingRules::default(),
            enforcement: Enforcement::Auto,
            fraction: 1.0,
            grace: Duration::from_secs(10),
            kill_memory: Duration::from_secs(3600),
            operator_kill_memory: Duration::from_secs(3600),
            call_timeout: Duration::from_secs(15),
            max_failures: None,
            on_unreachable: OnUnreachable::default(),
            opens_beside: true,
            re_entry: Duration::from_secs(5),
            renews: true,
            retries: [Duration::from_secs(1), Duration::from_secs(3)],
            rotates_tokens: true,
            schedule: None,
            sessions_per_device: 1,
            shares_session: false,
            settle: [Duration::from_millis(300), Duration::from_millis(700)],
            stop_on_blackout: true,
            stop_on_end: true,
            stream: None,
            tokens_prove: false,
        }
    }
}
