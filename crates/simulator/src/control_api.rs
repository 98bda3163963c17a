//! The control API below `/sim/`: tokens for tests, the session list, the log, kills, faults, settings.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::answer::ServiceAnswer;
use super::shared::HeadendShared;
use super::state::{CallMoment, HeadendState, end_name};
use super::token::{ContentToken, SessionControl, session_name};
use sidebeat_core::ledger::{EndedSlot, SlotNumber, SlotRow};
use sidebeat_system::random::random_u64;

/// Ended sessions in the list.
const MAX_ENDED_SESSIONS_SHOWN: usize = 1_000;
/// Longest wait of a long poll.
const MAX_LONG_POLL_TIME: Duration = Duration::from_secs(60);
/// Default validity of a content token in seconds.
const DEFAULT_TOKEN_TTL_S: u64 = 3_600;

type SimQuery = HashMap<String, String>;

/// Answers a call; `path` follows `/sim/`.
pub(super) async fn answer(
    shared: &HeadendShared,
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: &Bytes,
) -> ServiceAnswer {
    let query = parse(query.unwrap_or_default());
    let done = match (method.as_str(), path) {
        ("GET", "books") => Ok(shared.with(|state, at| books(state, at))),
        ("DELETE", "faults") => Ok(shared.with(|state, _| clear(state))),
        ("POST", "faults") => json_of(body).and_then(|script| shared.with(|state, _| add_faults(state, script))),
        ("POST", "kill") => json_of(body).and_then(|whom| shared.with(|state, _| kill(state, &whom))),
        ("GET", "log") => log(shared, &query).await,
        ("GET", "settings") => Ok(shared.with(|state, _| settings(state))),
        ("POST", "settings") => json_of(body).and_then(|patch| shared.with(|state, _| change(state, &patch))),
        ("GET", "token") => shared.with(|state, at| token(state, at, &query)),
        (_, "books" | "faults" | "kill" | "log" | "settings" | "token") => {
            return fail(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        }
        (_, _) => return fail(StatusCode::NOT_FOUND, "no such call"),
    };
    match done {
        Ok(value) => ServiceAnswer::json(&value),
        Err(fault) => fail(StatusCode::BAD_REQUEST, &fault),
    }
}

fn token(state: &HeadendState, at: CallMoment, query: &SimQuery) -> Result<Value, String> {
    let name = |key: &str, default: &str| query.get(key).map_or(default, String::as_str).to_owned();
    let limit = query.get("limit").map(|limit| number::<u32>("limit", limit)).transpose()?;
    let ttl = query.get("ttl").map_or(Ok(DEFAULT_TOKEN_TTL_S), |ttl| number::<u64>("ttl", ttl))?;
    let token = ContentToken {
        account: name("account", "account-1"),
        content: name("content", "content-1"),
        device: name("device", "device-1"),
        expires: Some(at.wall.saturating_add(ttl)),
        jti: flag(query, "once", false)?.then(|| format!("{:016x}", random_u64())),
        session: flag(query, "session", true)?
            .then_some(SessionControl { external: query.get("external").cloned(), limit }),
    };
    Ok(json!({ "token": state.issuer.content(&token) }))
}

fn books(state: &HeadendState, at: CallMoment) -> Value {
    let open: Vec<_> = state.ledger.list().map(|row| open_row(state, &row)).collect();
    let ended: Vec<_> =
        state.ledger.ended().take(MAX_ENDED_SESSIONS_SHOWN).map(|ended| ended_row(state, ended)).collect();
    let counters = &state.counters;
    json!({
        "counters": {
            "calls": counters.calls, "early_beats": counters.early_beats, "ended": counters.ended,
            "opened": counters.opened, "overlaps": counters.overlaps, "peak": counters.peak,
            "refused": counters.refused,
        },
        "ended": ended,
        "firstlight": state.light.show(&state.settings.firstlight),
        "ms": state.milliseconds(at.now),
        "open": open,
    })
}

fn open_row(state: &HeadendState, row: &SlotRow<'_>) -> Value {
    json!({
        "account": row.account, "beats": row.beats, "content": row.content, "device": row.device,
        "early": state.live(row.slot).map_or(0, |live| live.early), "id": session_name(row.slot),
        "last_beat": state.milliseconds(row.last), "opened": state.milliseconds(row.opened),
    })
}

fn ended_row(state: &HeadendState, ended: &EndedSlot) -> Value {
    json!({
        "account": &*ended.account, "beats": ended.beats, "content": &*ended.content, "device": &*ended.device,
        "ended": state.milliseconds(ended.at), "how": end_name(ended.end), "id": session_name(ended.slot),
        "opened": state.milliseconds(ended.opened),
    })
}

/// Log entries newer than `since`. With `wait`, waits until there is one or the time is over.
async fn log(shared: &HeadendShared, query: &SimQuery) -> Result<Value, String> {
    let since = query.get("since").map_or(Ok(0), |since| number("since", since))?;
    let wait = query.get("wait").map_or(Ok(0), |wait| number("wait", wait))?;
    let endpoint = query.get("endpoint").map(String::as_str);
    let over = tokio::time::sleep(Duration::from_millis(wait).min(MAX_LONG_POLL_TIME));
    let mut over = std::pin::pin!(over);
    loop {
        let mut logged = shared.watch();
        let (calls, last) = shared.with(|state, _| (state.journal.since(since, endpoint), state.journal.last()));
        let reply = json!({ "calls": calls, "last": last });
        if wait == 0 || !calls.is_empty() {
            return Ok(reply);
        }
        tokio::select! {
            () = over.as_mut() => return Ok(reply),
            () = shared.tasks.stopped() => return Ok(reply),
            _changed = logged.changed() => {}
        }
    }
}

fn kill(state: &mut HeadendState, whom: &Value) -> Result<Value, String> {
    let text = |key: &str| whom.get(key).and_then(Value::as_str);
    let killed = match (text("account"), text("device"), text("session")) {
        (Some(account), None, None) => state.ledger.kill_account(account),
        (None, Some(device), None) => state.ledger.kill_device(device),
        (None, None, Some(session)) => {
            let slot = u64::from_str_radix(session, 16).map_err(|_not_hex| "session is not an id of the books")?;
            usize::from(state.ledger.kill(SlotNumber(slot)))
        }
        (_, _, _) => return Err("give one of account, device, session".to_owned()),
    };
    Ok(json!({ "killed": killed }))
}

fn add_faults(state: &mut HeadendState, script: Value) -> Result<Value, String> {
    let faults = state.faults.add(script).map_err(|fault| fault.to_string())?;
    Ok(json!({ "faults": faults }))
}

fn clear(state: &mut HeadendState) -> Value {
    state.faults.clear();
    json!({ "faults": 0 })
}

fn settings(state: &HeadendState) -> Value {
    serde_json::to_value(&state.settings).unwrap_or_default()
}

fn change(state: &mut HeadendState, patch: &Value) -> Result<Value, String> {
    state.settings = state.settings.patched(patch).map_err(|fault| fault.to_string())?;
    Ok(settings(state))
}

fn fail(status: StatusCode, message: &str) -> ServiceAnswer {
    ServiceAnswer { status, ..ServiceAnswer::json(&json!({ "error": message })) }
}

fn json_of(body: &Bytes) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|fault| format!("not JSON: {fault}"))
}

fn parse(query: &str) -> SimQuery {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_not_a_number| format!("{key} is not a whole number in range"))
}

fn flag(query: &SimQuery, key: &str, default: bool) -> Result<bool, String> {
    match query.get(key).map(String::as_str) {
        None => Ok(default),
        Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(format!("{key} is neither true nor false")),
    }
}
