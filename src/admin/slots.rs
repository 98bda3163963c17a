//! `/v1/authorities/NAME/slots`: lists the held slots of an embedded authority page by page, oldest first; ends one, or
//! moves it to another device. The session in the slot learns of its end at its next beat or license call.
//!
//! For a list, the ledger is locked for a few slots at a time, so that a long list delays neither beats nor opens. It is
//! made on another thread, so that it delays no probe.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Admin;
use super::api::{fault, good};
use super::body::{MAX_SLOT_ORDER_BYTES, collect};
use super::json::seconds;
use super::list::{DEFAULT_PAGE_SESSIONS, limit};
use crate::authority::ledger::{MAX_LEDGER_NAME_BYTES, SlotNumber};
use crate::authority::{Authority, EmbeddedAuthority, HeldSlot, KeptSlot, MOVED_SLOT_KEPT};
use crate::clock::Clock;
use crate::edge::{ReplyBody, RequestBody};
use crate::telemetry::SlotEnd;

impl Admin {
    /// `path` follows `/v1/authorities`.
    pub(super) async fn slots(
        &self,
        method: &Method,
        path: &[&str],
        query: Option<&str>,
        incoming: RequestBody,
    ) -> Response<ReplyBody> {
        let authority = path.first().and_then(|name| self.authorities.by_name(name));
        let found = authority.as_ref().and_then(|authority| Some((authority, authority.counter()?)));
        let Some((authority, counter)) = found else {
            return fault(StatusCode::NOT_FOUND, "no embedded authority has this name");
        };
        match (method, path) {
            (&Method::GET, [_, "slots"]) => self.list_slots(authority.clone(), query).await,
            (&Method::DELETE, [_, "slots", id]) => match slot(id).filter(|slot| counter.end(self.clock.now(), *slot)) {
                Some(_) => self.slot_ended(authority, id, SlotEnd::Ended, "ended"),
                None => fault(StatusCode::NOT_FOUND, "nobody holds this slot"),
            },
            (&Method::POST, [_, "slots", id, "move"]) => match device(incoming).await {
                Ok(device) => self.move_slot(authority, counter, id, &device),
                Err(why) => fault(StatusCode::BAD_REQUEST, why),
            },
            (_, [_, "slots", ..]) => fault(StatusCode::METHOD_NOT_ALLOWED, "see docs/operations.md for the API"),
            (_, _) => fault(StatusCode::NOT_FOUND, "see docs/operations.md for the paths"),
        }
    }

    fn move_slot(
        &self,
        authority: &Authority,
        counter: &EmbeddedAuthority,
        id: &str,
        device: &str,
    ) -> Response<ReplyBody> {
        match slot(id).filter(|slot| counter.move_to(self.clock.now(), *slot, device)) {
            Some(_) => self.slot_ended(authority, id, SlotEnd::Moved, "moved"),
            None => fault(StatusCode::NOT_FOUND, "nobody holds this slot"),
        }
    }

    fn slot_ended(&self, authority: &Authority, id: &str, why: SlotEnd, done: &str) -> Response<ReplyBody> {
        tracing::info!(authority = &*authority.name, slot = id, "an operator asked: {done}");
        self.telemetry.metrics.slots_ended(&authority.name, why, 1);
        let reserved = (why == SlotEnd::Moved).then(|| seconds(MOVED_SLOT_KEPT));
        good(&json!({ "id": id, "done": done, "reserved_s": reserved }))
    }
}

/// Reads an id of up to sixteen hexadecimal digits; leading zeros may be missing.
pub(super) fn slot(id: &str) -> Option<SlotNumber> {
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(id, 16).ok().filter(|_| digits).map(SlotNumber)
}

async fn device(incoming: RequestBody) -> Result<String, &'static str> {
    let say = "send {\"device\": \"…\"}";
    let bytes = collect(incoming, MAX_SLOT_ORDER_BYTES).await.map_err(|_| say)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| say)?;
    let device = value["device"].as_str().filter(|device| !device.is_empty()).ok_or(say)?;
    if device.len() > MAX_LEDGER_NAME_BYTES { Err("the device's name is too long") } else { Ok(device.to_owned()) }
}

/// Slots that are read under one lock of the ledger.
const SLOTS_PER_LOCK: usize = 256;
/// Slots that a page examines, whether they fit its filters or not.
const MAX_SLOTS_EXAMINED: usize = 100_000;

#[derive(Debug)]
struct SlotQuery {
    account: Option<String>,
    after: Option<SlotNumber>,
    device: Option<String>,
    limit: usize,
}

impl Admin {
    pub(super) async fn list_slots(&self, authority: Arc<Authority>, query: Option<&str>) -> Response<ReplyBody> {
        let query = match SlotQuery::read(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(detail) => return fault(StatusCode::BAD_REQUEST, detail),
        };
        let clock = self.clock;
        let make = move || match authority.counter() {
            Some(counter) => good(&page(counter, &query, clock)),
            None => fault(StatusCode::NOT_FOUND, "no embedded authority has this name"),
        };
        self.list(make).await
    }
}

fn page(counter: &EmbeddedAuthority, query: &SlotQuery, clock: Clock) -> Value {
    let (rows, next) = page_of_slots(counter, query, clock);
    let mut page = json!({ "slots": rows });
    if let Some(next) = next {
        page["next"] = format!("{:016x}", next.0).into();
    }
    if query.after.is_none() {
        page["reserved"] = counter.kept(clock.now()).iter().map(reservation).collect();
    }
    page
}

/// The rows of a page, and the begin of the next one.
fn page_of_slots(counter: &EmbeddedAuthority, query: &SlotQuery, clock: Clock) -> (Vec<Value>, Option<SlotNumber>) {
    let (mut next, mut rows, mut looked_at) = (query.after, Vec::new(), 0);
    let wall = clock.wall();
    loop {
        let chunk = counter.held_after(clock.now(), next, SLOTS_PER_LOCK);
        let is_last = chunk.len() < SLOTS_PER_LOCK;
        for held in chunk {
            if rows.len() == query.limit || looked_at == MAX_SLOTS_EXAMINED {
                return (rows, next);
            }
            rows.extend(query.fits(&held).then(|| row(&held, wall)));
            next = Some(held.slot);
            looked_at += 1;
        }
        if is_last {
            return (rows, None);
        }
    }
}

impl SlotQuery {
    fn read(query: &str) -> Result<Self, &'static str> {
        let mut read = Self { account: None, after: None, device: None, limit: DEFAULT_PAGE_SESSIONS };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| "the query is no UTF-8")?;
            match name {
                "account" => read.account = Some(value.into_owned()),
                "after" => read.after = Some(slot(&value).ok_or("after is the next of an earlier page")?),
                "device" => read.device = Some(value.into_owned()),
                "limit" => read.limit = limit(value).ok_or("limit is a number from 1 to 10000")?,
                _ => return Err("a page is asked for by limit, after, account and device"),
            }
        }
        Ok(read)
    }

    fn fits(&self, held: &HeldSlot) -> bool {
        let is = |asked: &Option<String>, said: &str| asked.as_deref().is_none_or(|asked| asked == said);
        is(&self.account, &held.account) && is(&self.device, &held.device)
    }
}

fn row(held: &HeldSlot, wall: Duration) -> Value {
    json!({
        "id": format!("{:016x}", held.slot.0),
        "account": held.account,
        "device": held.device,
        "device_group": held.device_group,
        "content_group": held.content_group,
        "content": (!held.content.is_empty()).then_some(&held.content),
        "opened": seconds(wall.saturating_sub(held.age)),
        "opened_s_ago": seconds(held.age),
        "beats": held.beats,
        "confirmed_s_ago": seconds(held.last_good),
    })
}

fn reservation(kept: &KeptSlot) -> Value {
    json!({ "account": kept.account, "device": kept.device, "for_s": seconds(kept.rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_from_hexadecimal_digits_alone() {
        for (text, read) in [
            ("00000000000000ff", Some(255)),
            ("FF", Some(255)),
            ("+ff", None),
            ("", None),
            ("0x1", None),
            ("10000000000000000", None),
        ] {
            assert_eq!(slot(text), read.map(SlotNumber), "{text}");
        }
    }

    #[test]
    fn a_page_of_slots_is_asked_for_in_words_that_are_known() {
        let asked = SlotQuery::read("limit=5&after=00000000000000ff&device=tv%201&account=a").unwrap();
        assert_eq!((asked.limit, asked.after, asked.device.as_deref()), (5, Some(SlotNumber(255)), Some("tv 1")));
        for odd in ["limit=0", "limit=10001", "after=x", "state=live", "device=%ff"] {
            assert!(SlotQuery::read(odd).is_err(), "{odd}");
        }
    }
}
