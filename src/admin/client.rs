//! `sidebeat sessions`, `slots` and `configuration`: use the admin API from a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::list::MAX_PAGE_SESSIONS;
use crate::clock::Clock;
use crate::config::EndpointUrl;
use crate::secret::Secret;
use crate::task::Tasks;
use crate::upstream::{ConnectionPool, Trust, UpstreamCall};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminCommand {
    Configuration,
    /// Ends the session in a slot of an embedded authority.
    EndSlot {
        authority: String,
        id: String,
    },
    Forgive(String),
    Kill(String),
    List,
    ListSlots {
        authority: String,
    },
    MoveSlot {
        authority: String,
        device: String,
        id: String,
    },
    Show(String),
    Teardown(String),
}

/// Carries the order out at the admin listener and returns the text to print; the error is for the user.
pub async fn order(
    admin: &EndpointUrl,
    token: Option<&Secret>,
    order: &AdminCommand,
    json: bool,
) -> Result<String, String> {
    let mut body = Bytes::new();
    let (method, path) = match order {
        AdminCommand::Configuration => (Method::GET, "/v1/configuration".to_owned()),
        AdminCommand::EndSlot { authority, id } => (Method::DELETE, format!("{}/{}", slots(authority)?, plain(id)?)),
        AdminCommand::ListSlots { authority } => (Method::GET, slots(authority)?),
        AdminCommand::MoveSlot { authority, device, id } => {
            body = json!({ "device": device }).to_string().into();
            (Method::POST, format!("{}/{}/move", slots(authority)?, plain(id)?))
        }
        AdminCommand::Forgive(id) => (Method::POST, format!("/v1/sessions/{}/forgive", plain(id)?)),
        AdminCommand::Kill(id) => (Method::POST, format!("/v1/sessions/{}/kill", plain(id)?)),
        AdminCommand::List => (Method::GET, "/v1/sessions".to_owned()),
        AdminCommand::Show(id) => (Method::GET, format!("/v1/sessions/{}", plain(id)?)),
        AdminCommand::Teardown(id) => (Method::POST, format!("/v1/sessions/{}/teardown", plain(id)?)),
    };
    let value = match order {
        AdminCommand::List => all_pages(admin, token, &path, "sessions").await?,
        AdminCommand::ListSlots { .. } => all_pages(admin, token, &path, "slots").await?,
        AdminCommand::Configuration
        | AdminCommand::Forgive(_)
        | AdminCommand::EndSlot { .. }
        | AdminCommand::Kill(_)
        | AdminCommand::MoveSlot { .. }
        | AdminCommand::Show(_)
        | AdminCommand::Teardown(_) => call(admin, token, method, &path, body).await?,
    };
    if json {
        return Ok(format!("{value:#}\n"));
    }
    Ok(match order {
        AdminCommand::Configuration => configuration(&value),
        AdminCommand::List => table(&value),
        AdminCommand::ListSlots { .. } => slot_table(&value),
        AdminCommand::Show(_) => story(&value),
        AdminCommand::EndSlot { .. }
        | AdminCommand::Forgive(_)
        | AdminCommand::Kill(_)
        | AdminCommand::MoveSlot { .. }
        | AdminCommand::Teardown(_) => {
            let also = value["also"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let also: String = also.map(|id| format!(", and with it {id}")).collect();
            format!("{}: {}{also}\n", field(&value, "id"), field(&value, "done"))
        }
    })
}

/// Reads all pages into one list. Other fields come from the first page.
async fn all_pages(admin: &EndpointUrl, token: Option<&Secret>, path: &str, list: &str) -> Result<Value, String> {
    let mut whole = call(admin, token, Method::GET, &format!("{path}?limit={MAX_PAGE_SESSIONS}"), Bytes::new()).await?;
    while let Some(next) = whole["next"].as_str() {
        let page = format!("{path}?limit={MAX_PAGE_SESSIONS}&after={next}");
        let mut value = call(admin, token, Method::GET, &page, Bytes::new()).await?;
        if let (Some(all), Value::Array(more)) = (whole[list].as_array_mut(), value[list].take()) {
            all.extend(more);
        }
        whole["next"] = value["next"].take();
    }
    if let Some(whole) = whole.as_object_mut() {
        whole.remove("next");
    }
    Ok(whole)
}

async fn call(
    admin: &EndpointUrl,
    token: Option<&Secret>,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Value, String> {
    let (tasks, _deaths) = Tasks::new();
    let trust = Trust::public().map_err(|fault| fault.to_string())?;
    let pool = ConnectionPool::new(tasks, Clock, trust);
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let bearer = format!("Bearer {}", token.expose());
        let mut value = HeaderValue::try_from(bearer).map_err(|_| "the admin token cannot stand in a header")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let call = UpstreamCall {
        body,
        deadline: Clock.now() + Duration::from_secs(10),
        endpoint: admin,
        headers,
        method,
        path_and_query: path.parse().map_err(|_| "that is no session id")?,
        reply_max: 256 * 1024 * 1024,
    };
    let reply = pool.send(call).await.map_err(|fault| format!("{admin}: {fault}; is sidebeat running?"))?;
    let value: Value =
        serde_json::from_slice(&reply.body).map_err(|_| format!("{admin}: that is no admin listener"))?;
    if reply.status.is_success() { Ok(value) } else { Err(field(&value, "detail")) }
}

/// Accepts only an id's digits, so that no other input gets into a path.
fn plain(id: &str) -> Result<&str, String> {
    let good = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(id) } else { Err(format!("{id:?} is no id; list shows them")) }
}

/// The path of an authority's slots.
fn slots(authority: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let good = !authority.is_empty() && authority.bytes().all(plain);
    if good { Ok(format!("/v1/authorities/{authority}/slots")) } else { Err(format!("{authority:?} is no authority")) }
}

fn slot_table(value: &Value) -> String {
    const HEAD: [&str; 7] = ["ID", "ACCOUNT", "DEVICE", "CONTENT", "GROUPS", "OPENED", "BEATS"];
    let mut lines = vec![HEAD.map(str::to_owned)];
    for slot in value["slots"].as_array().into_iter().flatten() {
        let opened = format!("{:.0} s ago", slot["opened_s_ago"].as_f64().unwrap_or_default());
        let [id, account, device, content, beats] =
            ["id", "account", "device", "content", "beats"].map(|key| field(slot, key));
        let groups = ["device_group", "content_group"].into_iter().filter(|of| !slot[of].is_null());
        let groups: Vec<_> = groups.map(|of| field(slot, of)).collect();
        let groups = if groups.is_empty() { "-".to_owned() } else { groups.join(", ") };
        lines.push([id, account, device, content, groups, opened, beats]);
    }
    for kept in value["reserved"].as_array().into_iter().flatten() {
        let left = format!("{:.0} s left", kept["for_s"].as_f64().unwrap_or_default());
        let nothing = || "-".to_owned();
        let [account, device] = ["account", "device"].map(|key| field(kept, key));
        lines.push(["reserved".to_owned(), account, device, nothing(), nothing(), left, nothing()]);
    }
    if lines.len() == 1 { "nobody plays\n".to_owned() } else { columns(&lines) }
}

fn table(value: &Value) -> String {
    const HEAD: [&str; 7] = ["ID", "STATE", "DEVICE", "CONTENT", "BEATS", "CONFIRMED", "PACED BY"];
    let mut lines = vec![HEAD.map(str::to_owned)];
    for session in value["sessions"].as_array().into_iter().flatten() {
        let id: String = field(session, "id").chars().take(8).collect();
        lines.push([
            id,
            field(session, "state"),
            field(session, "device"),
            field(session, "content"),
            field(session, "beats"),
            session["confirmed_s_ago"].as_f64().map_or_else(|| "not yet".to_owned(), |ago| format!("{ago:.0} s ago")),
            field(session, "paced_by"),
        ]);
    }
    if lines.len() == 1 {
        return "no sessions\n".to_owned();
    }
    columns(&lines)
}

fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    let mut text = String::new();
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in lines {
        for (width, cell) in widths.iter().zip(line) {
            let _infallible = write!(text, "{cell:<width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn story(value: &Value) -> String {
    let mut text = String::new();
    for key in [
        "id",
        "state",
        "device",
        "device_by",
        "account",
        "content",
        "authority",
        "route",
        "paced_by",
        "beats",
        "served",
    ] {
        let _infallible = writeln!(text, "{key:<12} {}", field(value, key));
    }
    key_sessions(&mut text, value);
    for playback in value["playbacks"].as_array().into_iter().flatten() {
        let id: String = field(playback, "id").chars().take(8).collect();
        let [state, content, player] = ["state", "content", "player"].map(|key| field(playback, key));
        let _infallible = writeln!(text, "{:<12} {id}  {state}  {content}  {player}", "playback");
        key_sessions(&mut text, playback);
    }
    for entry in value["timeline"].as_array().into_iter().flatten() {
        let at = entry["at"].as_f64().unwrap_or_default() - value["opened"].as_f64().unwrap_or_default();
        let _infallible = writeln!(text, "{at:>+10.3} s  {}  {}", field(entry, "event"), field(entry, "detail"));
    }
    text
}

fn key_sessions(text: &mut String, of: &Value) {
    for session in of["eme"].as_array().into_iter().flatten() {
        let _infallible = writeln!(text, "{:<12} {}", "key session", key_session(session));
    }
}

/// `7f3c…  widevine, 2 license-request, 1 usable, closed: release-acknowledged`
fn key_session(value: &Value) -> String {
    let mut parts = vec![field(value, "drm")];
    let messages = value["messages"].as_object().into_iter().flatten();
    parts.extend(messages.map(|(kind, seen)| format!("{seen} {kind}")));
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for status in value["keyStatuses"].as_object().into_iter().flat_map(|statuses| statuses.values()) {
        *statuses.entry(plain_text(status)).or_default() += 1;
    }
    parts.extend(statuses.iter().map(|(status, keys)| format!("{keys} {status}")));
    if !value["closed"].is_null() {
        parts.push(field(value, "closed"));
    }
    format!("{}  {}", field(value, "id"), parts.join(", "))
}

fn configuration(value: &Value) -> String {
    let ago = |value: &Value| format!("{:.0} s ago", value.as_f64().unwrap_or_default());
    let mut text = format!("loaded {}\n", ago(&value["loaded_s_ago"]));
    let failed = &value["failed_reload"];
    if !failed.is_null() {
        let _infallible = writeln!(text, "the last reload failed {}:", ago(&failed["s_ago"]));
    }
    for fault in failed["faults"].as_array().into_iter().flatten() {
        let _infallible = writeln!(text, "  {}", plain_text(fault));
    }
    let stays: Vec<_> = value["needs_restart"].as_array().into_iter().flatten().map(plain_text).collect();
    if !stays.is_empty() {
        let _infallible = writeln!(text, "needs a restart: {}", stays.join(", "));
    }
    for warning in value["warnings"].as_array().into_iter().flatten() {
        let _infallible = writeln!(text, "warning: {}", plain_text(warning));
    }
    text
}

/// A field as text for a terminal, without control characters.
fn field(value: &Value, key: &str) -> String {
    plain_text(&value[key])
}

fn plain_text(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
