//! The fault script: which call goes wrong, how, and how often.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::answer::{Answer, JSON};
use super::endpoint::Endpoint;

/// A script is at most this long.
const FAULTS_MOST: usize = 1_000;

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

/// One line of the script: the calls `after + 1` to `after + times` that fit it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    action: Action,
    #[serde(default)]
    after: u64,
    content: Option<String>,
    device: Option<String>,
    endpoint: String,
    #[serde(skip)]
    seen: u64,
    #[serde(default = "once")]
    times: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Action {
    Say(Say),
    Word(Word),
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// Closes the connection; the work is not done.
    Drop,
    /// Kills the caller's session first; then the work is done as always.
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
pub(super) struct Say {
    /// Text as it is, anything else as JSON.
    body: Option<Value>,
    delay_ms: Option<u64>,
    #[serde(rename = "errorCode")]
    code: Option<i64>,
    message: Option<String>,
    status: Option<u16>,
}

#[derive(Debug, Error)]
pub(super) enum ScriptFault {
    #[error("no endpoint is called {0:?}")]
    Endpoint(String),
    #[error("an action says nothing: give status, errorCode or delay_ms")]
    Nothing,
    #[error("not a fault or a list of faults: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("{0} is not an HTTP status from 200 to 999")]
    Status(u16),
    #[error("the script is longer than {FAULTS_MOST} faults")]
    TooMany,
}

impl Faults {
    /// Appends one fault or a list of them; returns how many there are now.
    pub(super) fn add(&mut self, script: Value) -> Result<usize, ScriptFault> {
        let list = if script.is_array() { script } else { Value::Array(vec![script]) };
        let faults: Vec<Fault> = serde_json::from_value(list)?;
        faults.iter().try_for_each(Fault::check)?;
        if self.0.len() + faults.len() > FAULTS_MOST {
            return Err(ScriptFault::TooMany);
        }
        self.0.extend(faults);
        Ok(self.0.len())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Every fault that fits counts the call; the first one whose turn it is strikes.
    pub(super) fn draw(&mut self, endpoint: Endpoint, device: Option<&str>, content: Option<&str>) -> Option<Action> {
        let mut struck = None;
        for fault in self.0.iter_mut().filter(|fault| fault.fits(endpoint, device, content)) {
            fault.seen += 1;
            let due = fault.seen > fault.after && fault.seen - fault.after <= fault.times;
            if due && struck.is_none() {
                struck = Some(fault.action.clone());
            }
        }
        struck
    }
}

impl Fault {
    fn fits(&self, endpoint: Endpoint, device: Option<&str>, content: Option<&str>) -> bool {
        endpoint.fits(&self.endpoint)
            && (self.device.is_none() || self.device.as_deref() == device)
            && (self.content.is_none() || self.content.as_deref() == content)
    }

    fn check(&self) -> Result<(), ScriptFault> {
        if !Endpoint::ALL.iter().any(|endpoint| endpoint.fits(&self.endpoint)) {
            return Err(ScriptFault::Endpoint(self.endpoint.clone()));
        }
        let Action::Say(say) = &self.action else { return Ok(()) };
        if say.status.is_none() && say.code.is_none() && say.delay_ms.is_none() {
            return Err(ScriptFault::Nothing);
        }
        match say.status {
            Some(status) if !(200..1000).contains(&status) => Err(ScriptFault::Status(status)),
            Some(_) | None => Ok(()),
        }
    }
}

impl Action {
    /// As the log names it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Say(say) if say.code.is_some() => "error-code",
            Self::Say(say) if say.status.is_some() => "status",
            Self::Say(_) => "delay",
            Self::Word(Word::Drop) => "drop",
            Self::Word(Word::Kill) => "kill",
            Self::Word(Word::LoseReply) => "lose-reply",
            Self::Word(Word::Malformed) => "malformed",
            Self::Word(Word::Truncate) => "truncate",
        }
    }

    pub(super) fn is(&self, word: Word) -> bool {
        matches!(self, Self::Word(this) if *this == word)
    }

    pub(super) fn delay(&self) -> Duration {
        match self {
            Self::Say(say) => Duration::from_millis(say.delay_ms.unwrap_or_default()),
            Self::Word(_) => Duration::ZERO,
        }
    }

    /// What is answered in place of the service, if anything.
    pub(super) fn answer(&self) -> Option<Answer> {
        match self {
            Self::Say(say) => say.answer(),
            Self::Word(Word::Malformed) => Some(Answer::raw(JSON, &b"{\"sessionToken\":\"ey\xff"[..])),
            Self::Word(Word::Drop | Word::Kill | Word::LoseReply | Word::Truncate) => None,
        }
    }
}

impl Say {
    fn answer(&self) -> Option<Answer> {
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        if let Some(code) = self.code {
            let message = self.message.as_deref().unwrap_or("scripted");
            return Some(Answer::refused(status.unwrap_or(StatusCode::BAD_REQUEST), code, message));
        }
        let body = match &self.body {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        Some(Answer { status: status?, ..Answer::raw(JSON, body) })
    }
}

fn once() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draw(faults: &mut Faults, endpoint: Endpoint) -> Option<&'static str> {
        faults.draw(endpoint, Some("tv"), None).map(|action| action.name())
    }

    #[test]
    fn a_fault_strikes_after_and_times() {
        let mut faults = Faults::default();
        faults.add(json!({"endpoint": "heartbeat", "after": 1, "times": 2, "action": "drop"})).unwrap();
        assert_eq!(draw(&mut faults, Endpoint::Setup), None);
        let struck: Vec<_> = (0..4).map(|_| draw(&mut faults, Endpoint::Heartbeat)).collect();
        assert_eq!(struck, [None, Some("drop"), Some("drop"), None]);
    }

    #[test]
    fn the_first_that_is_due_strikes_and_all_count() {
        let mut faults = Faults::default();
        faults
            .add(json!([
                {"endpoint": "license", "action": {"status": 500}},
                {"endpoint": "*", "times": 2, "action": {"errorCode": 4000, "status": 500}},
                {"endpoint": "*", "times": 9, "device": "phone", "action": "kill"},
            ]))
            .unwrap();
        let struck: Vec<_> = (0..3).map(|_| draw(&mut faults, Endpoint::Widevine)).collect();
        assert_eq!(struck, [Some("status"), Some("error-code"), None]);
    }

    #[test]
    fn every_action_is_read() {
        for (action, name) in [
            (json!({"status": 500, "body": {"a": 1}}), "status"),
            (json!({"delay_ms": 5}), "delay"),
            (json!({"errorCode": 3002, "status": 404}), "error-code"),
            (json!("drop"), "drop"),
            (json!("kill"), "kill"),
            (json!("lose-reply"), "lose-reply"),
            (json!("malformed"), "malformed"),
            (json!("truncate"), "truncate"),
        ] {
            let mut faults = Faults::default();
            faults.add(json!([{"endpoint": "setup", "action": action}])).unwrap();
            assert_eq!(draw(&mut faults, Endpoint::Setup), Some(name));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for script in [
            json!({"endpoint": "setups", "action": "drop"}),
            json!({"endpoint": "setup", "action": "explode"}),
            json!({"endpoint": "setup", "action": {}}),
            json!({"endpoint": "setup", "action": {"status": 99}}),
            json!({"endpoint": "setup", "action": "drop", "time": 1}),
            json!("drop"),
        ] {
            assert!(Faults::default().add(script.clone()).is_err(), "{script}");
        }
    }
}
