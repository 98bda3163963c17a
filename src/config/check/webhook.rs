//! `[[webhook]]`

use std::time::Duration;

use super::authority::names;
use crate::config::section::Section;
use crate::config::{Endpoint, Webhook};

pub(super) fn webhooks(root: &Section<'_>) -> Option<Vec<Webhook>> {
    let tables = root.tables("webhook");
    let names = names(&tables, "logs and metrics call the webhook by it", "webhook");
    tables.iter().zip(names).map(|(table, name)| webhook(table, name)).collect()
}

fn webhook(table: &Section<'_>, name: Option<String>) -> Option<Webhook> {
    table.need("url", "write where events are to be posted");
    let url = table.word("url", Endpoint::parse);
    let secret = table.secret("secret");
    let events = table.list("events", "[\"session.killed\", \"session.closed\"]", event);
    let timeout = table.duration("timeout", Duration::from_millis(1)..=Duration::from_secs(60));
    Some(Webhook {
        ca: table.file("ca"),
        events: events.unwrap_or_default(),
        secret,
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
        name: name?,
        url: url?,
    })
}

/// Events are not a closed list: an authority's own names are among them.
fn event(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if plain && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("must be the name of an event, or its beginning and *".to_owned())
    }
}
