//! What is known about a playback beside its state: who plays what, where, under which policy.

use std::sync::Arc;
use std::time::Duration;

use crate::playbacks::Registration;
use crate::secret::{Fingerprint, Secret};
use crate::session::{AskKind, Policy};
use crate::telemetry::Labels;

/// A device at one authority. Two routes to the same authority share their devices.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DeviceKey(u64);

impl DeviceKey {
    /// `rung` of the identity ladder said so. What we see ourselves stands apart from what callers say
    /// of themselves, or a header with a neighbour's address would make one the neighbour. All that is
    /// said is one: a beacon can name its device in the query alone.
    pub fn new(authority: &str, rung: &str, device: &str) -> Self {
        let kind = if matches!(rung, "mtls" | "peer") { rung } else { "said" };
        Self(Fingerprint::of_parts(&[authority.as_bytes(), kind.as_bytes(), device.as_bytes()]).0)
    }
}

#[derive(Debug)]
pub struct Card {
    /// Whom the authority counts, if anything says.
    pub account: Option<String>,
    /// Index of the authority in the configuration.
    pub authority: usize,
    pub authority_name: Arc<str>,
    /// What is played, if anything names it.
    pub content: Option<String>,
    /// The content's and the device's kind, where an embedded authority counts them.
    pub content_group: Option<String>,
    /// As the identity ladder found it.
    pub device: String,
    pub device_group: Option<String>,
    /// What the authority's player SDK calls a failed call.
    pub error_name: fn(AskKind) -> &'static str,
    /// Wall time since the epoch.
    pub opened: Duration,
    pub policy: Arc<Policy>,
    /// What was registered of it before it began.
    pub registration: Option<Arc<Registration>>,
    /// Path of the route that opened it.
    pub route: Arc<str>,
    /// Which rung of the identity ladder answered.
    pub rung: &'static str,
    /// The content token that opens it.
    pub token: Option<Secret>,
}

impl Card {
    pub fn labels(&self) -> Labels<'_> {
        Labels { authority: &self.authority_name, error_name: self.error_name, route: &self.route }
    }
}
