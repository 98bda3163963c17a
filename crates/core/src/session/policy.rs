//! The numbers and choices that the core follows. Made from the route and its authority.

use std::time::Duration;

use super::end_reason::EndReason;
use super::player_report::StreamType;
use super::program_schedule::Schedule;
use super::verdict::{KillSource, Reason};
use crate::session::{EndingRules, Enforcement, OnUnreachable};

#[derive(Clone, Debug)]
pub struct Policy {
    /// A player that plays again is beaten at once, if the last beat is older than half an interval.
    pub beat_on_resume: bool,
    pub beat_while_paused: bool,
    /// How often a close is tried in all.
    pub close_tries: u8,
    /// The authority counts also what it has ended, until that is given back.
    pub counts_ended: bool,
    /// Players come back within seconds after a refusal; they get the same one.
    pub denial_memory: Duration,
    /// How long an ended playback is remembered, so that its left-over calls are known.
    pub end_memory: Duration,
    /// By which evidence a playback is over.
    pub endings: EndingRules,
    pub enforcement: Enforcement,
    /// Share of the interval after which a beat is due.
    pub fraction: f64,
    /// Added to the interval before the authority must have let a silent session expire.
    pub grace: Duration,
    /// How long a kill is remembered.
    pub kill_memory: Duration,
    /// At least this long where an operator wanted it: the authority would grant the next session.
    pub operator_kill_memory: Duration,
    /// A call in flight for longer than this is given up.
    pub lane_patience: Duration,
    /// Counts lost beats in place of time: each is sent again when the next is due, and a live playback
    /// is over after more than so many in line; what is not live never is.
    pub max_failures: Option<u8>,
    /// For how long playbacks go on while the authority gives no word.
    pub on_unreachable: OnUnreachable,
    /// A device may have one more session than it plays, while it shows which one that is. False where the authority
    /// has one place for a device: then the older one ends before the newer begins.
    pub opens_beside: bool,
    /// For how long a playback that gave way may go on as it was, if its close is not sent.
    pub re_entry: Duration,
    /// The authority takes the player's renewals as beats (Widevine under SSM).
    pub renews: bool,
    /// Waits before a failed beat is sent again; the last one repeats.
    pub retries: [Duration; 2],
    /// The authority may replace the session's token with every beat: a good answer without a token does not tell
    /// whether ours is the newest.
    pub rotates_tokens: bool,
    /// What the clock will bring.
    pub schedule: Option<Schedule>,
    pub sessions_per_device: usize,
    /// The authority counts devices: all that a device plays for an account shares one session.
    pub shares_session: bool,
    /// A device that zaps fast gets its next playback opened when it has been quiet for the first of
    /// these, doubled with each zap up to the second; a zap after that long is a single one again.
    pub settle: [Duration; 2],
    /// Whether a blackout ends the playback here, or is told alone; the end of its programme, likewise.
    pub stop_on_blackout: bool,
    pub stop_on_end: bool,
    /// What it plays, if known before the player says.
    pub stream: Option<StreamType>,
    /// Content tokens are verified: a call without one proves nothing of whose it is.
    pub tokens_prove: bool,
}

impl Policy {
    /// For how long one that gave way may be taken back.
    pub(super) const MAX_GIVEN_WAY_TIME: Duration = Duration::from_secs(600);

    /// How late a beat may be, spread and wheel included, before it counts as late.
    pub const MAX_BEAT_LATENESS: Duration = Duration::from_millis(100);

    /// Whether the same authorization may begin once more after such an end. If not, only the app can ask for
    /// the next one: a player that goes on asking by itself must not undo the end.
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

    /// For how long one that ended so is remembered: where its player must not undo the end, for as long as it may
    /// ask; where it was presumed, for as long as its player may take it back.
    pub(super) fn memory_of(&self, end: EndReason) -> Duration {
        match end {
            EndReason::GaveWay => Self::MAX_GIVEN_WAY_TIME,
            _ if self.begins_again(end) => self.end_memory,
            _ => self.kill_memory,
        }
    }

    /// For how long this kill is remembered.
    pub(super) fn memory_of_kill(&self, by: &Reason) -> Duration {
        match by.killed_by {
            KillSource::Authority | KillSource::Successor => self.kill_memory,
            KillSource::Operator => self.kill_memory.max(self.operator_kill_memory),
        }
    }

    /// For how long one that nobody could decide on is refused without asking again.
    pub(super) fn refusal_memory(&self) -> Duration {
        self.denial_memory.min(Duration::from_secs(1))
    }

    /// As it holds for a session that several playbacks share: these end by what their players show, and the session
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
            denial_memory: Duration::from_secs(3),
            end_memory: Duration::from_secs(60),
            endings: EndingRules::default(),
            enforcement: Enforcement::Auto,
            fraction: 1.0,
            grace: Duration::from_secs(10),
            kill_memory: Duration::from_secs(3600),
            operator_kill_memory: Duration::from_secs(3600),
            lane_patience: Duration::from_secs(15),
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
