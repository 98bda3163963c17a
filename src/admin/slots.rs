//! `/v1/authorities/NAME/slots`: lists the slots of an embedded authority (in `slot_list`), ends one, or moves it to
//! another device. The session in the slot learns of its end at its next beat or license call.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Admin;
use super::api::{fault, good};
use super::json::seconds;
use crate::authority::ledger::{MAX_LEDGER_NAME_BYTES, SlotNumber};
use crate::authority::{Authority, EmbeddedAuthority, MOVED_SLOT_KEPT};
use crate::edge::{ReplyBody, RequestBody, body};
use crate::telemetry::SlotEnd;

/// Largest body: `{"device": "…"}`.
const MAX_SLOT_BODY_BYTES: usize = 4096;
const SLOT_BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

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
    let bytes: Bytes = body::collect(incoming, MAX_SLOT_BODY_BYTES, SLOT_BODY_TIMEOUT).await.map_err(|_| say)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| say)?;
    let device = value["device"].as_str().filter(|device| !device.is_empty()).ok_or(say)?;
    if device.len() > MAX_LEDGER_NAME_BYTES { Err("the device's name is too long") } else { Ok(device.to_owned()) }
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
}
