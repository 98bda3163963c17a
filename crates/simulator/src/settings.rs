//! The settings that may change while a simulated head-end runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use sidebeat_core::ledger::OnLimit;

/// Settings that `POST /sim/settings` changes, for sessions opened afterwards.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// True to accept the token before the current one, too.
    pub accept_previous: bool,
    /// True if one session covers all that its device plays: license servers then accept it with any content token of
    /// device and account.
    pub counts_devices: bool,
    pub firstlight: LightSettings,
    /// Seconds that a beat may be late.
    pub grace: f64,
    /// Seconds between beats; on the wire rounded to whole ones, at least 1.
    pub heartbeat: f64,
    /// Replaces the interval in the reply to a setup, whatever `heartbeat` is.
    pub heartbeat_json: Option<Value>,
    /// Seconds that a PlayReady license lasts.
    pub lease: u32,
    /// Sessions of an account whose token names no `maxSessions`.
    pub limit: u32,
    pub limit_device: Option<u32>,
    /// Reaction at an account's limit: deny the new session, or kill the oldest.
    pub on_limit: OnLimit,
    /// True if license servers demand the session of a content token that asks for one.
    pub needs_session: bool,
    pub renewal_path: RenewalPath,
    pub spelling: HeartbeatSpelling,
    /// Answer to a token that a newer one has replaced.
    pub stale_token: StaleToken,
    pub widevine: WidevinePolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accept_previous: false,
            counts_devices: false,
            firstlight: LightSettings::default(),
            grace: 10.0,
            heartbeat: 30.0,
            heartbeat_json: None,
            lease: 60,
            limit: 2,
            limit_device: None,
            on_limit: OnLimit::DenyNewest,
            needs_session: true,
            renewal_path: RenewalPath::Both,
            spelling: HeartbeatSpelling::Camel,
            stale_token: StaleToken::Invalid,
            widevine: WidevinePolicy::default(),
        }
    }
}

/// The published renewal path that exists, or both.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RenewalPath {
    Both,
    /// `…/ssm/v1/renewal-license-wv`
    Plain,
    /// `…/ssm/v1/sessions/renewal-license-wv`
    Sessions,
}

/// Spelling of the interval in the reply to a setup; both occur.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum HeartbeatSpelling {
    #[serde(rename = "heartBeat")]
    Camel,
    #[serde(rename = "heartbeat")]
    Lower,
}

/// Answer to a replaced token; the vendor documents none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StaleToken {
    /// 400 with 1006, *Invalid token*.
    Invalid,
    /// 404 with 3002, *Not Found*, as for a killed session.
    NotFound,
}

/// The part of a Widevine license that travels in clear.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WidevinePolicy {
    pub can_renew: bool,
    /// Seconds; 0 for no end.
    pub duration: u32,
    /// Seconds after the license until the player renews it.
    pub renewal_delay: u32,
    /// Seconds between tries to renew.
    pub retry_interval: u32,
}

impl Default for WidevinePolicy {
    fn default() -> Self {
        Self { can_renew: true, duration: 60, renewal_delay: 30, retry_interval: 10 }
    }
}

/// Settings of FirstLight's services. Times are in seconds from now, negative for the past.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LightSettings {
    /// The `heartbeatAction` of a good beat.
    pub action: String,
    /// Contents that are blacked out from now on.
    pub blackout: Vec<String>,
    pub blackout_url: Option<String>,
    pub content_url: Option<String>,
    /// `heartbeatFlag`.
    pub flag: bool,
    /// `heartbeatFreq`, milliseconds.
    pub frequency_ms: Option<u64>,
    pub license_url: Option<String>,
    /// Devices of one user at once.
    pub limit: u32,
    pub live_end: Option<i64>,
    /// A new `liveEndTime` in every beat.
    pub live_end_moved: Option<i64>,
    pub live_start: Option<i64>,
    pub overflow: bool,
    /// True if each beat brings a new token.
    pub rotate: bool,
    /// Seconds that a heartbeat token is good.
    pub token_life: Option<u64>,
    pub viewers: u64,
}

impl Default for LightSettings {
    fn default() -> Self {
        Self {
            action: "CONTINUE".to_owned(),
            blackout: Vec::new(),
            blackout_url: None,
            content_url: None,
            flag: true,
            frequency_ms: Some(60_000),
            license_url: None,
            limit: 2,
            live_end: None,
            live_end_moved: None,
            live_start: None,
            overflow: false,
            rotate: false,
            token_life: None,
            viewers: 0,
        }
    }
}

#[derive(Debug, Error)]
pub enum SettingsFault {
    #[error("settings are changed by an object")]
    Object,
    #[error("not a settings object: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("heartbeat and grace must be seconds from 0 to 10 million")]
    Seconds,
}

impl Settings {
    /// These settings with the fields that `patch` names replaced, also inside `widevine` and `firstlight`.
    pub fn patched(&self, patch: &Value) -> Result<Self, SettingsFault> {
        if !patch.is_object() {
            return Err(SettingsFault::Object);
        }
        let mut whole = serde_json::to_value(self)?;
        lay_over(&mut whole, patch);
        serde_json::from_value::<Self>(whole)?.checked()
    }

    pub fn checked(self) -> Result<Self, SettingsFault> {
        let good = |seconds: f64| (0.0..=1e7).contains(&seconds);
        if good(self.heartbeat) && good(self.grace) { Ok(self) } else { Err(SettingsFault::Seconds) }
    }

    pub fn interval(&self) -> Duration {
        seconds(self.heartbeat)
    }

    pub fn grace(&self) -> Duration {
        seconds(self.grace)
    }

    /// The interval on the wire, in seconds.
    pub fn wire_interval(&self) -> u64 {
        self.interval().saturating_add(Duration::from_millis(500)).as_secs().max(1)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Objects are merged one level deep; everything else is replaced.
fn lay_over(whole: &mut Value, patch: &Value) {
    let (Value::Object(whole), Value::Object(patch)) = (&mut *whole, patch) else {
        *whole = patch.clone();
        return;
    };
    for (key, value) in patch {
        match (whole.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(fields)) if key == "widevine" || key == "firstlight" => {
                inner.extend(fields.clone())
            }
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_replaces_what_it_names() {
        let patch = json!({"heartbeat": 0.2, "widevine": {"can_renew": false}, "spelling": "heartbeat"});
        let settings = Settings::default().patched(&patch).unwrap();
        assert_eq!(settings.interval(), Duration::from_millis(200));
        assert_eq!(settings.wire_interval(), 1);
        assert_eq!(settings.widevine, WidevinePolicy { can_renew: false, ..WidevinePolicy::default() });
        assert_eq!((settings.limit, settings.spelling), (2, HeartbeatSpelling::Lower));
    }

    #[test]
    fn nonsense_is_refused() {
        for patch in
            [json!({"heartbeat": -1}), json!({"beat": 1}), json!([]), json!({"limit": "many"}), json!({"grace": 1e300})]
        {
            assert!(Settings::default().patched(&patch).is_err(), "{patch}");
        }
    }
}
