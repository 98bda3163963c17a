//! Reads a Widevine LicenseRequest: a new license, a renewal or a release, and its content.
//!
//! The content id and the request type decide together; the size does not, because a renewal may carry the client id
//! too. `widevine` calls [`read`] with the signed bytes.

use super::message::{DrmMessage, DrmSystem, MessageKind};
use super::protobuf::{MalformedProtobuf, ProtobufFields, WireValue};
use super::pssh;
use super::widevine::{OFFLINE, identification, identifier};
use crate::secret::Fingerprint;

/// LicenseRequest.type of a release.
const RELEASE: u64 = 3;

pub(super) fn read(msg: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    let (mut content, mut asked) = (None, None);
    let mut fields = ProtobufFields::of(msg);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (2, WireValue::Bytes(bytes)) => content = Some(bytes),
            (3, WireValue::Varint(number)) => asked = Some(number),
            // The client id, kilobytes of it, is skipped by its length.
            (_, WireValue::Bytes(_) | WireValue::Other | WireValue::Varint(_)) => {}
        }
    }
    match (RequestedContent::read(content.ok_or(MalformedProtobuf)?)?, asked) {
        (RequestedContent::Existing(license), Some(RELEASE)) => existing(MessageKind::Release, license),
        // The type is ignored, because a server may go by the content as well.
        (RequestedContent::Existing(license), _) => existing(MessageKind::Renewal, license),
        (RequestedContent::Init(init), _) => new(init, init_data),
        (RequestedContent::Pssh(init), _) => new(init, pssh_data),
        (RequestedContent::WebM(init), _) => new(init, webm),
    }
}

/// LicenseRequest.content_id has one of these.
enum RequestedContent<'a> {
    Existing(&'a [u8]),
    Init(&'a [u8]),
    Pssh(&'a [u8]),
    WebM(&'a [u8]),
}

impl<'a> RequestedContent<'a> {
    fn read(content: &'a [u8]) -> Result<Self, MalformedProtobuf> {
        let mut found = None;
        let mut fields = ProtobufFields::of(content);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => found = Some(Self::Pssh(value.bytes()?)),
                2 => found = Some(Self::WebM(value.bytes()?)),
                3 => found = Some(Self::Existing(value.bytes()?)),
                4 => found = Some(Self::Init(value.bytes()?)),
                _ => {}
            }
        }
        found.ok_or(MalformedProtobuf)
    }
}

fn existing(kind: MessageKind, license: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    let mut message = DrmMessage::new(DrmSystem::Widevine, kind);
    let mut id = None;
    let mut fields = ProtobufFields::of(license);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => id = Some(value.bytes()?),
            2 | 3 => drop(value.varint()?),
            4 => drop(value.bytes()?),
            _ => {}
        }
    }
    identification(id.ok_or(MalformedProtobuf)?, &mut message)?;
    Ok(message)
}

/// Adds one field of a variant to the message.
type ContentMeaning = fn(u32, WireValue<'_>, &mut DrmMessage) -> Result<(), MalformedProtobuf>;

fn new(init: &[u8], meaning: ContentMeaning) -> Result<DrmMessage, MalformedProtobuf> {
    let mut message = DrmMessage::new(DrmSystem::Widevine, MessageKind::LicenseRequest);
    let mut fields = ProtobufFields::of(init);
    while let Some((number, value)) = fields.next()? {
        meaning(number, value, &mut message)?;
    }
    message.content_id = message.content_id.or_else(|| message.key_ids.fingerprint());
    Ok(message)
}

fn pssh_data(number: u32, value: WireValue<'_>, message: &mut DrmMessage) -> Result<(), MalformedProtobuf> {
    match number {
        1 => header(value.bytes()?, message),
        2 => message.offline = value.varint()? == OFFLINE,
        3 => message.request_id = identifier(value.bytes()?),
        _ => {}
    }
    Ok(())
}

fn webm(number: u32, value: WireValue<'_>, message: &mut DrmMessage) -> Result<(), MalformedProtobuf> {
    match number {
        // The header of WebM is the key id itself.
        1 => message.key_ids.insert(value.bytes()?),
        2 => message.offline = value.varint()? == OFFLINE,
        3 => message.request_id = identifier(value.bytes()?),
        _ => {}
    }
    Ok(())
}

fn init_data(number: u32, value: WireValue<'_>, message: &mut DrmMessage) -> Result<(), MalformedProtobuf> {
    match number {
        1 => drop(value.varint()?),
        2 => header(value.bytes()?, message),
        3 => message.offline = value.varint()? == OFFLINE,
        4 => message.request_id = identifier(value.bytes()?),
        _ => {}
    }
    Ok(())
}

/// Reads WidevinePsshData, bare or in boxes. It comes from the content and not from the CDM, so a part that does not
/// parse costs its facts and not the message.
fn header(data: &[u8], message: &mut DrmMessage) {
    if !data.is_empty() && pssh::boxes(data).next().is_none() {
        let _ = widevine_header(data, message);
    }
    for found in pssh::boxes(data) {
        found.key_ids.for_each(|id| message.key_ids.insert(id));
        if found.system == pssh::WIDEVINE {
            let _ = widevine_header(found.data, message);
        }
    }
}

fn widevine_header(data: &[u8], message: &mut DrmMessage) -> Result<(), MalformedProtobuf> {
    let mut fields = ProtobufFields::of(data);
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => message.key_ids.insert(value.bytes()?),
            4 => {
                let id = Some(value.bytes()?).filter(|id| !id.is_empty());
                message.content_id = id.map(|id| Fingerprint::of_parts(&[b"content id", id]));
            }
            _ => {}
        }
    }
    Ok(())
}
