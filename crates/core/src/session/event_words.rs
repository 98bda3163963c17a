//! The names and descriptions of the core's events.

use super::{AskKind, Reason, SessionEvent};

impl SessionEvent {
    /// Name in logs, metrics and timelines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::BeatLate(_) => "beat late",
            Self::Blackout(_) => "BLACKOUT",
            Self::Closed(_) => "closed",
            Self::Failed(..) => "authority call failed",
            Self::Forgiven => "kill forgiven",
            Self::Joined => "playback joined",
            Self::Killed(_) => "killed",
            Self::Left(_) => "playback left",
            Self::LeftOpen => "left open",
            Self::OnCredit { .. } => "on credit",
            Self::Opened { .. } => "opened",
            Self::Orphaned => "open lost in a restart",
            Self::Reached(moment) => moment.name(),
            Self::Recovered(_) => "authority answers again",
            Self::Refused(..) => "refused",
            Self::Renewed => "renewed",
            Self::Reopening => "opening anew",
            Self::RenewalsCarry => "renewals carry the session",
            Self::Resumed => "resumed",
            Self::Returned => "taken up again",
            Self::Settled(_) => "credit settled",
            Self::Stale(_) => "late answer dropped",
            Self::Unmanaged => "unmanaged",
        }
    }

    /// Description for a person.
    pub fn describe(&self, error_name: fn(AskKind) -> &'static str) -> String {
        let said = |reason: &Reason| match reason.error_code {
            Some(error_code) => format!("{} (code {}, errorCode {error_code})", reason.message, reason.told_code()),
            None => format!("{} (code {})", reason.message, reason.told_code()),
        };
        match self {
            Self::BeatLate(late) => format!("by {} ms", late.as_millis()),
            Self::Closed(end) | Self::Left(end) => end.name().to_owned(),
            Self::Failed(ask, reason) => format!("{}: {}", error_name(*ask), said(reason)),
            Self::Blackout(dark) => said(&dark.reason),
            Self::Killed(by) => said(by.reason()),
            Self::Refused(_, reason) => said(reason),
            Self::Opened { interval } => format!("a beat every {} s", interval.as_secs_f64()),
            Self::OnCredit { running: true } => "with its last grant".to_owned(),
            Self::OnCredit { running: false } => "without a session".to_owned(),
            Self::Recovered(missed) => format!("after {missed} lost beats"),
            Self::Settled(owed) => format!("after {} s", owed.as_secs_f64()),
            Self::Beat
            | Self::Forgiven
            | Self::Joined
            | Self::LeftOpen
            | Self::Orphaned
            | Self::Reached(_)
            | Self::Renewed
            | Self::RenewalsCarry
            | Self::Reopening
            | Self::Resumed
            | Self::Returned
            | Self::Stale(_)
            | Self::Unmanaged => String::new(),
        }
    }
}
