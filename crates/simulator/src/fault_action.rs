//! The ways in which a call fails by the fault script.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{JSON, ServiceAnswer};
use super::fault_script::ScriptFault;

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum FaultAction {
    Say(ScriptedAnswer),
    Word(ActionWord),
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ActionWord {
    /// Closes the connection; the work is not done.
    Drop,
    /// Does the work, then answers 200 with an unrelated page, as a proxy in between may.
    Garble,
    /// Kills the caller's session first, then does the work as usual.
    Kill,
    /// Does the work, then closes the connection.
    LoseReply,
    /// Answers 200 with garbage; the work is not done.
    Malformed,
    /// Does the work, then closes the connection in the middle of the body.
    Truncate,
}

/// Waits, answers in place of the service, or both.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptedAnswer {
    /// Sent as it is if it is a text, otherwise as JSON.
    body: Option<Value>,
    delay_ms: Option<u64>,
    #[serde(rename = "errorCode")]
    code: Option<i64>,
    message: Option<String>,
    status: Option<u16>,
}

impl FaultAction {
    pub(super) fn check(&self) -> Result<(), ScriptFault> {
        let Self::Say(say) = self else { return Ok(()) };
        if say.status.is_none() && say.code.is_none() && say.delay_ms.is_none() {
            return Err(ScriptFault::Nothing);
        }
        match say.status {
            Some(status) if !(200..1000).contains(&status) => Err(ScriptFault::Status(status)),
            Some(_) | None => Ok(()),
        }
    }

    /// Name in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Say(say) if say.code.is_some() => "error-code",
            Self::Say(say) if say.status.is_some() => "status",
            Self::Say(_) => "delay",
            Self::Word(ActionWord::Drop) => "drop",
            Self::Word(ActionWord::Garble) => "garble",
            Self::Word(ActionWord::Kill) => "kill",
            Self::Word(ActionWord::LoseReply) => "lose-reply",
            Self::Word(ActionWord::Malformed) => "malformed",
            Self::Word(ActionWord::Truncate) => "truncate",
        }
    }

    pub(super) fn is(&self, word: ActionWord) -> bool {
        matches!(self, Self::Word(this) if *this == word)
    }

    pub(super) fn delay(&self) -> Duration {
        match self {
            Self::Say(say) => Duration::from_millis(say.delay_ms.unwrap_or_default()),
            Self::Word(_) => Duration::ZERO,
        }
    }

    /// The answer in place of the service's, if there is one.
    pub(super) fn answer(&self) -> Option<ServiceAnswer> {
        match self {
            Self::Say(say) => say.answer(),
            Self::Word(ActionWord::Malformed) => Some(ServiceAnswer::raw(JSON, &b"{\"sessionToken\":\"ey\xff"[..])),
            Self::Word(
                ActionWord::Drop | ActionWord::Garble | ActionWord::Kill | ActionWord::LoseReply | ActionWord::Truncate,
            ) => None,
        }
    }
}

impl ScriptedAnswer {
    fn answer(&self) -> Option<ServiceAnswer> {
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        if let Some(code) = self.code {
            let message = self.message.as_deref().unwrap_or("scripted");
            return Some(ServiceAnswer::refused(status.unwrap_or(StatusCode::BAD_REQUEST), code, message));
        }
        let body = match &self.body {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        Some(ServiceAnswer { status: status?, ..ServiceAnswer::raw(JSON, body) })
    }
}
