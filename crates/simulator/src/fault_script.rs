//! The fault script: which calls fail, and how often.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::endpoint::HeadendEndpoint;
use super::fault_action::FaultAction;

/// Longest script.
const MAX_SCRIPTED_FAULTS: usize = 1_000;

#[derive(Default)]
pub(super) struct FaultScript(Vec<ScriptedFault>);

/// A line of the script: applies to the calls `after + 1` to `after + times` that fit it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptedFault {
    action: FaultAction,
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
    #[error("the script is longer than {MAX_SCRIPTED_FAULTS} faults")]
    TooMany,
}

impl FaultScript {
    /// Appends a fault or a list of faults; returns how many there are now.
    pub(super) fn add(&mut self, script: Value) -> Result<usize, ScriptFault> {
        let list = if script.is_array() { script } else { Value::Array(vec![script]) };
        let faults: Vec<ScriptedFault> = serde_json::from_value(list)?;
        faults.iter().try_for_each(ScriptedFault::check)?;
        if self.0.len() + faults.len() > MAX_SCRIPTED_FAULTS {
            return Err(ScriptFault::TooMany);
        }
        self.0.extend(faults);
        Ok(self.0.len())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts the call at every fault that fits, and returns the first one whose turn it is.
    pub(super) fn draw(
        &mut self,
        endpoint: HeadendEndpoint,
        device: Option<&str>,
        content: Option<&str>,
    ) -> Option<FaultAction> {
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

impl ScriptedFault {
    fn fits(&self, endpoint: HeadendEndpoint, device: Option<&str>, content: Option<&str>) -> bool {
        endpoint.fits(&self.endpoint)
            && (self.device.is_none() || self.device.as_deref() == device)
            && (self.content.is_none() || self.content.as_deref() == content)
    }

    fn check(&self) -> Result<(), ScriptFault> {
        if !HeadendEndpoint::ALL.iter().any(|endpoint| endpoint.fits(&self.endpoint)) {
            return Err(ScriptFault::Endpoint(self.endpoint.clone()));
        }
        self.action.check()
    }
}

fn once() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draw(faults: &mut FaultScript, endpoint: HeadendEndpoint) -> Option<&'static str> {
        faults.draw(endpoint, Some("tv"), None).map(|action| action.name())
    }

    #[test]
    fn a_fault_strikes_after_and_times() {
        let mut faults = FaultScript::default();
        faults.add(json!({"endpoint": "heartbeat", "after": 1, "times": 2, "action": "drop"})).unwrap();
        assert_eq!(draw(&mut faults, HeadendEndpoint::Setup), None);
        let struck: Vec<_> = (0..4).map(|_| draw(&mut faults, HeadendEndpoint::Heartbeat)).collect();
        assert_eq!(struck, [None, Some("drop"), Some("drop"), None]);
    }

    #[test]
    fn the_first_that_is_due_strikes_and_all_count() {
        let mut faults = FaultScript::default();
        faults
            .add(json!([
                {"endpoint": "license", "action": {"status": 500}},
                {"endpoint": "*", "times": 2, "action": {"errorCode": 4000, "status": 500}},
                {"endpoint": "*", "times": 9, "device": "phone", "action": "kill"},
            ]))
            .unwrap();
        let struck: Vec<_> = (0..3).map(|_| draw(&mut faults, HeadendEndpoint::Widevine)).collect();
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
            (json!("garble"), "garble"),
        ] {
            let mut faults = FaultScript::default();
            faults.add(json!([{"endpoint": "setup", "action": action}])).unwrap();
            assert_eq!(draw(&mut faults, HeadendEndpoint::Setup), Some(name));
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
            assert!(FaultScript::default().add(script.clone()).is_err(), "{script}");
        }
    }
}
