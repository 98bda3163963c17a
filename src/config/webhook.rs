//! `[[webhook]]`: services that get events by POST.

use std::path::PathBuf;
use std::time::Duration;

use super::EndpointUrl;
use super::authority::names;
use super::table_reader::TableReader;
use crate::secret::Secret;

#[derive(Debug)]
pub struct WebhookSettings {
    /// CA for `url`, in place of the public roots.
    pub ca: Option<PathBuf>,
    /// Names of events, or their beginnings with `*`; empty for all.
    pub events: Vec<String>,
    /// Name in logs and metrics; unique.
    pub name: String,
    /// Signs each delivery.
    pub secret: Option<Secret>,
    /// Bounds one delivery.
    pub timeout: Duration,
    pub url: EndpointUrl,
}

impl WebhookSettings {
    pub fn wants(&self, event: &str) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => event.starts_with(beginning),
            None => event == wanted,
        };
        self.events.is_empty() || self.events.iter().any(fits)
    }
}

pub(super) fn webhooks(root: &TableReader<'_>) -> Option<Vec<WebhookSettings>> {
    let tables = root.tables("webhook");
    let names = names(&tables, "logs and metrics call the webhook by it", "webhook");
    tables.iter().zip(names).map(|(table, name)| webhook(table, name)).collect()
}

fn webhook(table: &TableReader<'_>, name: Option<String>) -> Option<WebhookSettings> {
    table.need("url", "write where events are to be posted");
    let url = table.word("url", EndpointUrl::parse);
    let secret = table.secret("secret");
    let events = table.list("events", "[\"session.killed\", \"session.closed\"]", event);
    let timeout = table.duration("timeout", Duration::from_millis(1)..=Duration::from_secs(60));
    Some(WebhookSettings {
        ca: table.file("ca"),
        events: events.unwrap_or_default(),
        secret,
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
        name: name?,
        url: url?,
    })
}

/// Reads the name of an event. Names are not a closed list, because authorities have their own.
fn event(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if plain && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("must be the name of an event, or its beginning and *".to_owned())
    }
}
