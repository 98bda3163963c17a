//! The replies of a Widevine license server: license, renewed and released license, service certificate.
//!
//! Ids and policy are real, signatures and keys are filler.

use super::RequestedLicense;
use crate::filler::fill;
use crate::protobuf_writer::{bytes, put_bytes, put_varint, varint};
use crate::settings::WidevinePolicy;
use sidebeat_system::random::random_u64;

/// The signed reply. `wall` is in seconds since the Unix epoch.
pub(crate) fn reply(asked: &RequestedLicense<'_>, policy: WidevinePolicy, wall: u64) -> Vec<u8> {
    match asked {
        RequestedLicense::Certificate => certificate(wall),
        RequestedLicense::New { key_id, request_id } => {
            signed(&license(&first_id(request_id), policy, &keys(*key_id), wall), true)
        }
        RequestedLicense::Release { id } => signed(&released(&next_id(id), wall), false),
        RequestedLicense::Renew { id } => signed(&license(&next_id(id), policy, &[renewed_key()], wall), false),
    }
}

pub(super) fn first_id(request_id: &[u8]) -> Vec<u8> {
    let mut id = Vec::new();
    put_bytes(&mut id, 1, request_id);
    put_bytes(&mut id, 2, &random_u64().to_be_bytes());
    put_varint(&mut id, 4, STREAMING);
    put_varint(&mut id, 5, 0);
    id
}

/// The id of the same license, one version later. It is written anew, because readers differ about a repeated field
/// (protobuf encoding guide, *last one wins*).
fn next_id(old: &[u8]) -> Vec<u8> {
    let mut id = Vec::new();
    for number in [1, 2, 3] {
        if let Some(part) = bytes(old, number) {
            put_bytes(&mut id, number, part);
        }
    }
    put_varint(&mut id, 4, varint(old, 4).unwrap_or(STREAMING));
    put_varint(&mut id, 5, varint(old, 5).unwrap_or_default().wrapping_add(1));
    if let Some(token) = bytes(old, 6) {
        put_bytes(&mut id, 6, token);
    }
    id
}

fn license(id: &[u8], policy: WidevinePolicy, keys: &[Vec<u8>], wall: u64) -> Vec<u8> {
    let mut rights = Vec::new();
    put_varint(&mut rights, 1, 1);
    put_varint(&mut rights, 2, 0);
    put_varint(&mut rights, 3, policy.can_renew.into());
    put_varint(&mut rights, 6, policy.duration.into());
    if policy.can_renew {
        put_bytes(&mut rights, 8, b"");
        put_varint(&mut rights, 9, policy.renewal_delay.into());
        put_varint(&mut rights, 10, policy.retry_interval.into());
    }
    let mut license = Vec::new();
    put_bytes(&mut license, 1, id);
    put_bytes(&mut license, 2, &rights);
    keys.iter().for_each(|key| put_bytes(&mut license, 3, key));
    put_varint(&mut license, 4, wall);
    license
}

fn released(id: &[u8], wall: u64) -> Vec<u8> {
    let mut rights = Vec::new();
    (1..=3).for_each(|number| put_varint(&mut rights, number, 0));
    let mut license = Vec::new();
    put_bytes(&mut license, 1, id);
    put_bytes(&mut license, 2, &rights);
    put_varint(&mut license, 4, wall);
    license
}

fn keys(key_id: Option<&[u8]>) -> [Vec<u8>; 2] {
    let (mut signing, mut content) = (Vec::new(), Vec::new());
    put_bytes(&mut signing, 2, &fill(16, "siv"));
    put_bytes(&mut signing, 3, &fill(80, "senc"));
    put_varint(&mut signing, 4, 1);
    put_bytes(&mut content, 1, key_id.unwrap_or(&fill(16, "kid")));
    put_bytes(&mut content, 2, &fill(16, "kiv"));
    put_bytes(&mut content, 3, &fill(32, "kenc"));
    put_varint(&mut content, 4, 2);
    put_varint(&mut content, 5, 1);
    [signing, content]
}

fn renewed_key() -> Vec<u8> {
    let (mut control, mut key) = (Vec::new(), Vec::new());
    put_bytes(&mut control, 1, &fill(16, "kcb"));
    put_varint(&mut key, 4, 3);
    put_bytes(&mut key, 8, &control);
    key
}

fn signed(license: &[u8], with_session_key: bool) -> Vec<u8> {
    let mut message = Vec::new();
    put_varint(&mut message, 1, LICENSE);
    put_bytes(&mut message, 2, license);
    put_bytes(&mut message, 3, &fill(32, "mac"));
    if with_session_key {
        put_bytes(&mut message, 4, &fill(256, "sk"));
    }
    message
}

fn certificate(wall: u64) -> Vec<u8> {
    let (mut inner, mut outer, mut message) = (Vec::new(), Vec::new(), Vec::new());
    put_varint(&mut inner, 1, 3);
    put_bytes(&mut inner, 2, &fill(16, "sn"));
    put_varint(&mut inner, 3, wall);
    put_bytes(&mut inner, 4, &fill(270, "pub"));
    put_bytes(&mut inner, 7, b"example.test");
    put_bytes(&mut outer, 1, &inner);
    put_bytes(&mut outer, 2, &fill(384, "root"));
    put_varint(&mut message, 1, SERVICE_CERTIFICATE);
    put_bytes(&mut message, 2, &outer);
    message
}

/// SignedMessage.type
const LICENSE: u64 = 2;
const SERVICE_CERTIFICATE: u64 = 5;
/// LicenseIdentification.type
const STREAMING: u64 = 1;
