//! `[[webhook]]`: who is told by POST.

use std::path::PathBuf;
use std::time::Duration;

use super::Endpoint;
use crate::secret::Secret;

#[derive(Debug)]
pub struct Webhook {
    /// Trusted for `url` in place of the public roots.
    pub ca: Option<PathBuf>,
    /// Names of events, or their beginnings with `*` behind; none means all.
    pub events: Vec<String>,
    /// For logs and metrics; unique.
    pub name: String,
    /// Signs what is sent.
    pub secret: Option<Secret>,
    /// One delivery.
    pub timeout: Duration,
    pub url: Endpoint,
}

impl Webhook {
    pub fn wants(&self, event: &str) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => event.starts_with(beginning),
            None => event == wanted,
        };
        self.events.is_empty() || self.events.iter().any(fits)
    }
}
