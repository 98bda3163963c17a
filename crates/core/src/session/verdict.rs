//! What an authority said, in words that every dialect shares.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::grant::{AskKind, Grant};
use super::program_schedule::Schedule;
use crate::endpoint::EndpointUrl;
use crate::secret::Secret;

/// The authority's decision. It was reached and it meant what it said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The session goes on, perhaps with another token or interval.
    Alive {
        interval: Option<Duration>,
        lifetime: Option<Duration>,
        /// When the programme's times have changed.
        schedule: Option<Schedule>,
        token: Option<Secret>,
    },
    /// The content may not be shown: the reason says what to show in its place.
    Blackout(Reason),
    /// The session is ended, as we asked.
    Closed,
    /// A business refusal: of the open, or of the token that we sent.
    Denied(Denial, Reason),
    /// The authority does not manage sessions for this account or content.
    Disabled,
    /// The authority holds the session no more, and that is nothing to tell the viewer: another one is opened in its
    /// place, once. If the authority takes that too before it has confirmed it, or will not open it, a limit is reached.
    Gone(Reason),
    Granted(Grant),
    /// The authority ended the session.
    Killed(Reason),
    /// Nothing was decided, but the right to play is in hand already: the first of the lost beats.
    Unconfirmed(Grant, AuthorityFault),
    /// The authority knows no session by this token. Killed, if the token is known to be the newest and its last good
    /// answer is young; else expired.
    Unknown(Reason),
}

impl Verdict {
    /// For metrics.
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
    /// Anything else that the authority will not grant.
    Rejected,
    /// The token is wrong, expired or already used.
    Token,
}

impl Denial {
    /// The same open may be granted when another session is closed.
    pub fn may_pass(self) -> bool {
        match self {
            Self::InUse | Self::Limit => true,
            Self::Rejected | Self::Token => false,
        }
    }
}

/// No decision: the way to the authority failed, or what came back made no sense. Never a kill.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuthorityFault {
    pub kind: FaultKind,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum FaultKind {
    /// We have too many calls under way.
    Busy,
    /// The call was sent, and the connection ended before an answer.
    Lost,
    Malformed,
    /// It answered that it cannot answer now.
    Refused,
    /// The call was sent, and no answer came in time.
    Timeout,
    /// Nothing of the call reached it, or it turned the call away unprocessed.
    Unreachable,
}

impl AuthorityFault {
    /// There is no room for another session.
    pub(super) fn too_many_sessions() -> Self {
        Self { kind: FaultKind::Busy, reason: Reason::new(0, None, "too many sessions") }
    }

    pub(super) fn spent() -> Self {
        let reason = Reason::new(0, None, "no decision for as long as playing without one is allowed");
        Self { kind: FaultKind::Unreachable, reason }
    }
}

impl FaultKind {
    /// Nobody was there to decide. A reply that makes no sense came from somebody.
    pub fn is_infrastructure(self) -> bool {
        match self {
            Self::Busy | Self::Lost | Self::Refused | Self::Timeout | Self::Unreachable => true,
            Self::Malformed => false,
        }
    }

    /// Nothing answered, of any kind: a playback may begin on credit. An error is an answer, and a caller can provoke
    /// one; so can it our own limits.
    pub fn is_unanswered(self) -> bool {
        match self {
            Self::Lost | Self::Timeout | Self::Unreachable => true,
            Self::Busy | Self::Malformed | Self::Refused => false,
        }
    }

    /// The call was sent, and nothing answered it. A caller can provoke that by what it sends, unlike that an authority
    /// cannot be reached.
    pub fn is_silence(self) -> bool {
        match self {
            Self::Lost | Self::Timeout => true,
            Self::Busy | Self::Malformed | Self::Refused | Self::Unreachable => false,
        }
    }

    /// Whether it is certain that the authority has not processed the call. False says that nobody knows: a token
    /// may have been replaced, and a session opened, by an answer that never came or made no sense.
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
    /// Present when the content may not be shown where the viewer is.
    #[serde(default)]
    pub blackout: Option<Arc<Blackout>>,
    /// HTTP status; 0 when there was no reply.
    pub code: u16,
    pub error_code: Option<i64>,
    /// Of a kill: who wanted it.
    #[serde(default, skip_serializing_if = "super::record::is_default")]
    pub killed_by: KillSource,
    /// Of a kill that was no answer to a beat: which call was answered so.
    #[serde(default, skip_serializing_if = "super::record::is_default")]
    pub killed_on: Option<AskKind>,
    /// Scrubbed: safe to log and to show.
    pub message: Arc<str>,
    /// When it wants to be asked again, from its answer on.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// Of a kill: the device that has the place now, as the authority calls it. Scrubbed, and short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<Arc<str>>,
}

/// Characters of a device's name that a viewer is told.
const MAX_NAME_CHARS: usize = 64;

impl Reason {
    pub fn new(code: u16, error_code: Option<i64>, message: &str) -> Self {
        let message = crate::secret::scrub(message).into();
        Self {
            blackout: None,
            code,
            error_code,
            killed_by: KillSource::Authority,
            killed_on: None,
            message,
            retry_after: None,
            taken_by: None,
        }
    }

    /// The same words, of a kill by which the place went to this device.
    #[must_use]
    pub fn taken_by(self, device: &str) -> Self {
        let name: String = crate::secret::scrub(device).chars().take(MAX_NAME_CHARS).collect();
        let taken_by = Some(name).filter(|name| !name.is_empty()).map(Arc::from);
        Self { killed_by: KillSource::Successor, taken_by, ..self }
    }

    /// The same words, of a kill that this one wanted.
    pub fn wanted_by(self, killed_by: KillSource) -> Self {
        Self { killed_by, ..self }
    }

    /// Whether the kill holds for whatever its device asks for without a content token. A blackout is about one
    /// content: the device may show another.
    pub(super) fn bars_device(&self) -> bool {
        self.blackout.is_none()
    }

    /// Whether the kill follows its content tokens to other devices. A place that went to another device was
    /// killed at the one that it left; both may play by one token, as where a token stands for an account.
    pub fn follows_token(&self) -> bool {
        match self.killed_by {
            KillSource::Authority | KillSource::Operator => true,
            KillSource::Successor => false,
        }
    }
}

/// Who wanted a kill. It says for how long it is remembered, and for whom.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum KillSource {
    /// The authority ended the session by its own rules; it judges the next one as well.
    #[default]
    Authority,
    /// A person ended it here, so that nobody else would refuse the next one.
    Operator,
    /// Its place went to another device.
    Successor,
}

/// The content may not be shown: what to show in its place.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Blackout {
    /// As the authority calls it: `DENY`, `ALLOW_WITH_UPGRADE`, …
    pub action: String,
    /// The slate, if there is one.
    pub url: Option<EndpointUrl>,
}
