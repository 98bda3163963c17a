//! Widevine: reads the clear parts of requests, and makes licenses with real ids and policy and filler for keys.
//!
//! The reader is independent of the proxy's on purpose, because the simulator is its counterpart.

mod reply;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::{OCTETS, ServiceAnswer, ServiceRefusal};
use super::call::HeadendCall;
use super::license::{CHALLENGE, is_json};
use super::protobuf_writer::{bytes, varint};
use super::state::{CallMoment, HeadendState};
pub(super) use reply::reply;

/// Kinds of requests.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum RequestedLicense<'a> {
    Certificate,
    New {
        key_id: Option<&'a [u8]>,
        request_id: &'a [u8],
    },
    /// Carries the LicenseIdentification of the license to release.
    Release {
        id: &'a [u8],
    },
    Renew {
        id: &'a [u8],
    },
}

impl RequestedLicense<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::New { .. } => "new",
            Self::Release { .. } => "release",
            Self::Renew { .. } => "renewal",
        }
    }

    /// True if the request concerns a license that was given before.
    pub(super) fn is_of_a_license(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Renew { .. })
    }
}

pub(super) fn answer(
    state: &HeadendState,
    at: CallMoment,
    call: &HeadendCall,
) -> Result<ServiceAnswer, ServiceRefusal> {
    let challenge = challenge(call).ok_or(CHALLENGE)?;
    let asked = read(&challenge).ok_or(CHALLENGE)?;
    let reply = reply(&asked, state.settings.widevine, at.wall);
    let answer = if is_json(call) {
        ServiceAnswer::json(&json!({"status": "OK", "errorCode": 0, "license": [STANDARD.encode(reply)]}))
    } else {
        ServiceAnswer::raw(OCTETS, reply)
    };
    Ok(answer.about(asked.name()))
}

/// True if the body asks for the service certificate, raw or as JSON.
pub(super) fn wants_certificate(body: &[u8]) -> bool {
    let json = || serde_json::from_slice::<Value>(body).ok();
    body == SERVICE_CERTIFICATE_REQUEST || json().is_some_and(|json| json.get("challenge") == Some(&json!("CAQ=")))
}

/// Reads a request; `None` if it is not from a Widevine module.
pub(super) fn read(challenge: &[u8]) -> Option<RequestedLicense<'_>> {
    if challenge == SERVICE_CERTIFICATE_REQUEST {
        return Some(RequestedLicense::Certificate);
    }
    if varint(challenge, 1).unwrap_or(1) != 1 {
        return None;
    }
    let request = bytes(challenge, 2)?;
    let (content, kind) = (bytes(request, 2)?, varint(request, 3).unwrap_or(1));
    if let Some(id) = bytes(content, 3).and_then(|existing| bytes(existing, 1)) {
        return Some(if kind == 3 { RequestedLicense::Release { id } } else { RequestedLicense::Renew { id } });
    }
    let variant = [1, 2, 4].into_iter().find_map(|number| Some((number, bytes(content, number)?)));
    let (number, variant) = variant?;
    let request_id = bytes(variant, if number == 4 { 4 } else { 3 })?;
    let key_id = bytes(variant, 1).filter(|_| number == 1).and_then(|pssh| bytes(pssh, 2));
    Some(RequestedLicense::New { key_id, request_id })
}

fn challenge(call: &HeadendCall) -> Option<Vec<u8>> {
    if !is_json(call) {
        return Some(call.body.to_vec());
    }
    let body: Value = serde_json::from_slice(&call.body).ok()?;
    STANDARD.decode(body.get("challenge")?.as_str()?).ok()
}

const SERVICE_CERTIFICATE_REQUEST: &[u8] = &[0x08, 0x04];

#[cfg(test)]
mod tests {
    use super::super::filler::fill;
    use super::super::protobuf_writer::{put_bytes, put_varint};
    use super::super::settings::WidevinePolicy;
    use super::reply::first_id;
    use super::*;

    /// A request of type `kind` whose content id has `variant` with the request id in `field`.
    fn request(variant: u64, field: u64, kind: u64) -> Vec<u8> {
        let (mut content, mut id, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut content, field, b"request-1");
        put_bytes(&mut id, variant, &content);
        put_bytes(&mut body, 1, &fill(1200, "client"));
        put_bytes(&mut body, 2, &id);
        put_varint(&mut body, 3, kind);
        put_varint(&mut message, 1, 1);
        put_bytes(&mut message, 2, &body);
        put_bytes(&mut message, 3, &fill(256, "rsa"));
        message
    }

    fn renewal_of(id: &[u8], kind: u64) -> Vec<u8> {
        let (mut existing, mut content, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut existing, 1, id);
        put_bytes(&mut content, 3, &existing);
        put_bytes(&mut body, 2, &content);
        put_varint(&mut body, 3, kind);
        put_bytes(&mut message, 2, &body);
        put_bytes(&mut message, 3, &fill(32, "mac"));
        message
    }

    fn id_of(license: &[u8]) -> &[u8] {
        bytes(bytes(license, 2).unwrap(), 1).unwrap()
    }

    #[test]
    fn each_content_id_variant_shows_its_request_id() {
        for (variant, field) in [(1, 3), (2, 3), (4, 4)] {
            let message = request(variant, field, 1);
            let Some(RequestedLicense::New { request_id, .. }) = read(&message) else {
                panic!("variant {variant} was not read")
            };
            assert_eq!(request_id, b"request-1");
        }
    }

    #[test]
    fn a_license_repeats_the_request_and_a_renewal_counts_up() {
        let policy = WidevinePolicy { can_renew: true, duration: 130, renewal_delay: 60, retry_interval: 10 };
        let message = request(1, 3, 1);
        let license = reply(&read(&message).unwrap(), policy, 1_700_000_000);
        let id = id_of(&license);
        assert_eq!((varint(&license, 1), bytes(id, 1), varint(id, 5)), (Some(2), Some(&b"request-1"[..]), Some(0)));
        let rights = bytes(bytes(&license, 2).unwrap(), 2).unwrap();
        assert_eq!([3, 6, 9, 10].map(|number| varint(rights, number).unwrap()), [1, 130, 60, 10]);

        let renewal = renewal_of(id, 2);
        let renewed = reply(&read(&renewal).unwrap(), policy, 1_700_000_060);
        let next = id_of(&renewed);
        assert_eq!((bytes(next, 1), bytes(next, 2), varint(next, 5)), (bytes(id, 1), bytes(id, 2), Some(1)));
    }

    #[test]
    fn releases_and_certificates_are_distinguished() {
        let id = first_id(b"r");
        let message = renewal_of(&id, 3);
        assert_eq!(read(&message), Some(RequestedLicense::Release { id: &id }));
        assert_eq!(read(&[8, 4]), Some(RequestedLicense::Certificate));
        assert!(wants_certificate(b"{\"challenge\":\"CAQ=\"}") && !wants_certificate(b"{}"));
        assert_eq!(varint(&reply(&RequestedLicense::Certificate, WidevinePolicy::default(), 1), 1), Some(5));
        assert_eq!(read(b"hello"), None);
        assert_eq!(read(&reply(&RequestedLicense::Certificate, WidevinePolicy::default(), 1)), None);
    }
}
