//! The causes of a kill: a blackout of its content, or any other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::verdict::{KillSource, Reason};
use crate::endpoint::EndpointUrl;

/// The content may not be shown where the viewer is; with the replacement.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Blackout {
    /// The authority's name for it: `DENY`, `ALLOW_WITH_UPGRADE`, …
    pub action: String,
    /// The slate, if there is one.
    pub url: Option<EndpointUrl>,
}

/// A blackout, and the words about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlackoutReason {
    pub blackout: Arc<Blackout>,
    #[serde(flatten)]
    pub reason: Reason,
}

/// The cause for which a playback was stopped and is refused from then on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "KillRecord", into = "KillRecord")]
pub enum SessionKill {
    /// The content may not be shown where the viewer is.
    Blackout(BlackoutReason),
    /// The session was ended: by the authority, by an operator, or for another device.
    Plain(Reason),
}

impl SessionKill {
    /// The words about it.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Blackout(BlackoutReason { reason, .. }) | Self::Plain(reason) => reason,
        }
    }

    pub fn source(&self) -> KillSource {
        self.reason().killed_by
    }

    /// True if the kill also holds for calls of its device without a content token. A blackout concerns one content:
    /// the device may show another.
    pub(super) fn bars_device(&self) -> bool {
        match self {
            Self::Blackout(_) => false,
            Self::Plain(_) => true,
        }
    }

    /// True if the kill follows its content tokens to other devices. If its place went to another device, only the old
    /// one was killed; both may play by one token, for example a token of an account.
    pub fn follows_token(&self) -> bool {
        match self.source() {
            KillSource::Authority | KillSource::Operator => true,
            KillSource::Successor => false,
        }
    }
}

impl From<BlackoutReason> for SessionKill {
    fn from(dark: BlackoutReason) -> Self {
        Self::Blackout(dark)
    }
}

impl From<Reason> for SessionKill {
    fn from(reason: Reason) -> Self {
        Self::Plain(reason)
    }
}

/// A kill in a record: its reason, with the blackout if there is one.
#[derive(Deserialize, Serialize)]
struct KillRecord {
    #[serde(default)]
    blackout: Option<Arc<Blackout>>,
    #[serde(flatten)]
    reason: Reason,
}

impl From<KillRecord> for SessionKill {
    fn from(KillRecord { blackout, reason }: KillRecord) -> Self {
        match blackout {
            Some(blackout) => Self::Blackout(BlackoutReason { blackout, reason }),
            None => Self::Plain(reason),
        }
    }
}

impl From<SessionKill> for KillRecord {
    fn from(kill: SessionKill) -> Self {
        match kill {
            SessionKill::Blackout(BlackoutReason { blackout, reason }) => Self { blackout: Some(blackout), reason },
            SessionKill::Plain(reason) => Self { blackout: None, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_tells_a_blackout_from_another_kill() {
        let blackout = Blackout { action: "DENY".to_owned(), url: EndpointUrl::parse("https://cdn/slate").ok() };
        let reason = Reason::new(403, Some(7), "no").wanted_by(KillSource::Operator);
        let dark = BlackoutReason { blackout: blackout.into(), reason: reason.clone() };
        let shown = json!({"action": "DENY", "url": "https://cdn/slate"});
        for (kill, blackout) in [(SessionKill::from(dark), shown), (reason.into(), json!(null))] {
            let written = serde_json::to_string(&kill).unwrap();
            let expected = json!({
                "blackout": blackout, "code": 403, "error_code": 7, "killed_by": "Operator", "message": "no",
            });
            assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), expected);
            assert_eq!(serde_json::from_str::<SessionKill>(&written).unwrap(), kill);
        }
        let bare = json!({"code": 0, "error_code": null, "message": "no"});
        assert_eq!(serde_json::from_value::<SessionKill>(bare).unwrap(), Reason::without_reply("no").into());
    }
}
