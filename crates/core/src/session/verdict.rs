//! The authority's answers, in terms that every dialect shares.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::grant::{AskKind, Grant};
use super::program_schedule::Schedule;
use super::session_kill::BlackoutReason;
use crate::secret::Secret;

/// The authority's decision: the answer arrived and was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The session goes on, perhaps with another token or interval.
    Alive {
        interval: Option<Duration>,
        lifetime: Option<Duration>,
        /// The programme's new times, if they changed.
        schedule: Option<Schedule>,
        token: Option<Secret>,
    },
    /// The content may not be shown; the reason says what to show instead.
    Blackout(BlackoutReason),
    /// The session is closed, as requested.
    Closed,
    /// A business refusal: of the open, or of its token.
    Denied(Denial, Reason),
    /// The authority does not manage sessions for this account or content.
    Disabled,
    /// The authority no longer holds the session, and the viewer need not know: another one opens in its place, once.
    /// If the authority takes that too before confirming it, or does not open it, a limit is reached.
    Gone(Reason),
    Granted(Grant),
    /// The authority ended the session.
    Killed(Reason),
    /// Nothing was decided, but the right to play exists already: the first of the lost beats.
    Unconfirmed(Grant, AuthorityFault),
    /// The authority knows no session by this token. It counts as killed if the token is known to be the newest and its
    /// last good answer is recent; otherwise as expired.
    Unknown(Reason),
}

impl Verdict {
    /// Name for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alive { .. } => "alive",
            Self::Blackout(_) => "blackout",
            Self::Closed => "closed",
            Self::Denied(..) => "denied",
            Self::Disabled => "disabled",
            Self::Gone(_) => "gone",
            Self::Granted(_) => "granted",
            Self::Killed(_) => "killed",
            Self::Unconfirmed(..) => "unconfirmed",
            Self::Unknown(_) => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Denial {
    /// Another session still has the name that the token gives to this one.
    InUse,
    /// Too many sessions.
    Limit,
    /// Another refusal of the authority.
    Rejected,
    /// The token is wrong, expired or already used.
    Token,
}

impl Denial {
    /// True if the same open may be granted once another session is closed.
    pub fn may_pass(self) -> bool {
        match self {
            Self::InUse | Self::Limit => true,
            Self::Rejected | Self::Token => false,
        }
    }
}

/// No decision: the way to the authority failed, or its answer made no sense. Never a kill.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuthorityFault {
    pub kind: FaultKind,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum FaultKind {
    /// sidebeat has too many calls in flight.
    Busy,
    /// The call was sent, and the connection ended before an answer.
    Lost,
    Malformed,
    /// The authority answered that it cannot decide now.
    Refused,
    /// The call was sent, and no answer came in time.
    Timeout,
    /// The call did not reach it, or it refused the call unprocessed.
    Unreachable,
}

impl AuthorityFault {
    /// There is no room for another session.
    pub(super) fn too_many_sessions() -> Self {
        Self { kind: FaultKind::Busy, reason: Reason::without_reply("too many sessions") }
    }

    pub(super) fn spent() -> Self {
        let reason = Reason::without_reply("no decision for as long as playing without one is allowed");
        Self { kind: FaultKind::Unreachable, reason }
    }
}

impl FaultKind {
    /// True if no party decided. A reply that makes no sense came from one.
    pub fn is_infrastructure(self) -> bool {
        match self {
            Self::Busy | Self::Lost | Self::Refused | Self::Timeout | Self::Unreachable => true,
            Self::Malformed => false,
        }
    }

    /// True without any answer: a playback may begin on credit. An error is an answer, which a caller can provoke; so
    /// are sidebeat's own limits.
    pub fn is_unanswered(self) -> bool {
        match self {
            Self::Lost | Self::Timeout | Self::Unreachable => true,
            Self::Busy | Self::Malformed | Self::Refused => false,
        }
    }

    /// True if the call was sent and not answered. A caller can provoke that by its data, but cannot make an authority
    /// unreachable.
    pub fn is_silence(self) -> bool {
        match self {
            Self::Lost | Self::Timeout => true,
            Self::Busy | Self::Malformed | Self::Refused | Self::Unreachable => false,
        }
    }

    /// True if the authority certainly has not processed the call. Otherwise a lost or senseless answer may have
    /// replaced a token, or opened a session.
    pub fn was_not_processed(self) -> bool {
        match self {
            Self::Busy | Self::Unreachable => true,
            Self::Lost | Self::Malformed | Self::Refused | Self::Timeout => false,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The authority's own words, kept for the viewer, the log and the call centre.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reason {
    /// HTTP status of the reply, if there was one. A record has 0 for none.
    #[serde(with = "status")]
    pub code: Option<u16>,
    pub error_code: Option<i64>,
    /// For a kill: its source.
    #[serde(default, skip_serializing_if = "super::record::is_default")]
    pub killed_by: KillSource,
    /// For a kill by an answer to another call than a beat: the kind of that call.
    #[serde(default, skip_serializing_if = "super::record::is_default")]
    pub killed_on: Option<AskKind>,
    /// Scrubbed: safe to log and to show.
    pub message: Arc<str>,
    /// Time until the authority wants the next call, counted from its answer.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// For a kill: the device that has the place now, by the authority's name for it. Scrubbed, and short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<Arc<str>>,
}

/// Longest name of a device in a viewer's text.
const MAX_NAME_CHARS: usize = 64;

impl Reason {
    /// The words of a reply with this HTTP status.
    pub fn new(code: u16, error_code: Option<i64>, message: &str) -> Self {
        Self { code: Some(code), error_code, ..Self::without_reply(message) }
    }

    /// A reason that is no reply's.
    pub fn without_reply(message: &str) -> Self {
        let message = crate::secret::scrub(message).into();
        Self {
            code: None,
            error_code: None,
            killed_by: KillSource::Authority,
            killed_on: None,
            message,
            retry_after: None,
            taken_by: None,
        }
    }

    /// The status as logs and players are told it: 0 if there was no reply.
    pub fn told_code(&self) -> u16 {
        self.code.unwrap_or_default()
    }

    /// The same reason, for a kill by which the place went to this device.
    #[must_use]
    pub fn taken_by(self, device: &str) -> Self {
        let name: String = crate::secret::scrub(device).chars().take(MAX_NAME_CHARS).collect();
        let taken_by = Some(name).filter(|name| !name.is_empty()).map(Arc::from);
        Self { killed_by: KillSource::Successor, taken_by, ..self }
    }

    /// The same reason, for a kill by this source.
    pub fn wanted_by(self, killed_by: KillSource) -> Self {
        Self { killed_by, ..self }
    }
}

/// The source of a kill, which decides for how long and for which calls it is remembered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum KillSource {
    /// The authority ended the session by its own rules; it also judges the next one.
    #[default]
    Authority,
    /// A person ended it here, so only sidebeat would refuse the next one.
    Operator,
    /// Its place went to another device.
    Successor,
}

/// The status in a record, where 0 stands for none.
mod status {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(status: &Option<u16>, serializer: S) -> Result<S::Ok, S::Error> {
        status.unwrap_or_default().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
        Ok(Some(u16::deserialize(deserializer)?).filter(|status| *status != 0))
    }
}
