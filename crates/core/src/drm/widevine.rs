//! Recognises Widevine messages: the envelope of every message, and the replies of servers.
//!
//! This module reads a few fields and skips the rest by length, without allocating. The fields and their meaning are those of
//! the public message definition; `widevine_request` reads the inside of a license request. `recognise` calls [`read`]
//! with binary bodies, and [`provisioning`] with those that begin with 0A.

use super::message::{Direction, DrmMessage, DrmSystem, LicenseLease, MessageKind};
use super::protobuf::{MalformedProtobuf, ProtobufFields, WireValue};
use super::recognise::weight;
use super::widevine_request;
use crate::secret::Fingerprint;

/// `08 04`, and room for additions of a later CDM. Anything longer is another message.
const CERTIFICATE_REQUEST_MAX: usize = 8;

/// `LicenseIdentification.type` and the license type of a license request.
pub(super) const OFFLINE: u64 = 2;

/// Reads a SignedMessage. The signature covers only its `msg`, so anybody can add a type or another message. It is
/// unknown which message of a request the server takes, so the one that asks for most counts.
pub(super) fn read(direction: Direction, body: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    let signed = SignedMessage::read(body)?;
    match (direction, signed.kind) {
        (Direction::Request, Some(4)) if signed.msg.is_none() && body.len() <= CERTIFICATE_REQUEST_MAX => {
            Ok(DrmMessage::new(DrmSystem::Widevine, MessageKind::CertificateRequest))
        }
        (Direction::Request, _) if signed.may_ask => signed.request(body),
        (Direction::Reply, _) if signed.is_ambiguous => Err(MalformedProtobuf),
        (Direction::Reply, Some(2)) => license(signed.checked()?),
        (Direction::Reply, Some(3)) => error(signed.msg.ok_or(MalformedProtobuf)?),
        (Direction::Reply, Some(5)) => certificate(signed.msg.ok_or(MalformedProtobuf)?),
        _ => Err(MalformedProtobuf),
    }
}

/// Reads a SignedProvisioningMessage, which has the same shape in both directions.
pub(super) fn provisioning(body: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    both(body)?;
    Ok(DrmMessage::new(DrmSystem::Widevine, MessageKind::Provisioning))
}

#[derive(Default)]
struct SignedMessage<'a> {
    /// True for types that differ, or several messages.
    is_ambiguous: bool,
    /// The last one.
    kind: Option<u64>,
    /// True if a server may take the message for a license request: it has no type, or one of its types allows that.
    may_ask: bool,
    /// The last one.
    msg: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
}

impl<'a> SignedMessage<'a> {
    fn read(body: &'a [u8]) -> Result<Self, MalformedProtobuf> {
        let mut signed = Self::default();
        let mut fields = ProtobufFields::of(body);
        // Like in other parsers, a field of the wrong wire type is an unknown field.
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, WireValue::Varint(kind)) => {
                    signed.is_ambiguous |= signed.kind.is_some_and(|before| before != kind);
                    // Set-top CDMs write 1, an unknown type counts as missing, and a server may ignore the type of a
                    // certificate request (4) that has a message.
                    signed.may_ask |= matches!(kind, 0 | 1 | 4 | 6..);
                    signed.kind = Some(kind);
                }
                (2, WireValue::Bytes(msg)) => {
                    signed.is_ambiguous |= signed.msg.is_some();
                    signed.msg = Some(msg);
                }
                (3, WireValue::Bytes(signature)) => signed.signature = Some(signature),
                (_, WireValue::Bytes(_) | WireValue::Other | WireValue::Varint(_)) => {}
            }
        }
        // Desktop CDMs leave the type out.
        signed.may_ask |= signed.kind.is_none();
        Ok(signed)
    }

    fn request(&self, body: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
        let mut found = widevine_request::read(self.checked()?);
        if self.is_ambiguous {
            let mut fields = ProtobufFields::of(body);
            while let Some((number, value)) = fields.next()? {
                let (2, WireValue::Bytes(msg)) = (number, value) else { continue };
                let least = found.as_ref().map_or(0, weight);
                found = widevine_request::read(msg).ok().filter(|other| weight(other) > least).map_or(found, Ok);
            }
        }
        found
    }

    /// The inner message, if it is signed: license requests and licenses always are.
    fn checked(&self) -> Result<&'a [u8], MalformedProtobuf> {
        self.signature.filter(|signature| !signature.is_empty()).and(self.msg).ok_or(MalformedProtobuf)
    }
}

fn license(msg: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    let (mut id, mut policy) = (None, None);
    let mut fields = ProtobufFields::of(msg);
    // The keys, perhaps many, come after both.
    while id.is_none() || policy.is_none() {
        match fields.next()? {
            Some((1, value)) => id = Some(value.bytes()?),
            Some((2, value)) => policy = Some(value.bytes()?),
            Some((3 | 6, value)) => drop(value.bytes()?),
            Some((4 | 7, value)) => drop(value.varint()?),
            Some(_) => {}
            None => break,
        }
    }
    let mut message = DrmMessage::new(DrmSystem::Widevine, MessageKind::License);
    identification(id.ok_or(MalformedProtobuf)?, &mut message)?;
    message.lease = policy.map(lease).transpose()?;
    Ok(message)
}

/// Reads a LicenseIdentification: a license has one, and its renewals and its release repeat it whole.
pub(super) fn identification(id: &[u8], message: &mut DrmMessage) -> Result<(), MalformedProtobuf> {
    let mut fields = ProtobufFields::of(id);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => message.request_id = identifier(value.bytes()?),
            2 => message.session_id = identifier(value.bytes()?),
            3 | 6 => drop(value.bytes()?),
            4 => message.offline = value.varint()? == OFFLINE,
            5 => message.version = Some(value.varint()?),
            _ => {}
        }
    }
    Ok(())
}

/// Opaque identifier: 16 raw bytes from desktops, 32 hexadecimal digits from devices.
pub(super) fn identifier(bytes: &[u8]) -> Option<Fingerprint> {
    (!bytes.is_empty()).then(|| Fingerprint::of(bytes))
}

fn lease(policy: &[u8]) -> Result<LicenseLease, MalformedProtobuf> {
    let mut lease = LicenseLease::default();
    let mut fields = ProtobufFields::of(policy);
    while let Some((number, value)) = fields.next()? {
        match number {
            3 => lease.can_renew = value.varint()? != 0,
            4 => lease.rental_s = seconds(value.varint()?),
            5 => lease.playback_s = seconds(value.varint()?),
            6 => lease.duration_s = seconds(value.varint()?),
            7 => lease.recovery_s = seconds(value.varint()?),
            8 => lease.own_renewal_url = !value.bytes()?.is_empty(),
            9 => lease.renewal_delay_s = seconds(value.varint()?),
            10 => lease.retry_s = seconds(value.varint()?),
            1 | 2 | 11..=13 => drop(value.varint()?),
            _ => {}
        }
    }
    Ok(lease)
}

/// Limits a duration of signed 64 bits, so that no sum of times overflows.
fn seconds(value: u64) -> u64 {
    if value > i64::MAX as u64 { 0 } else { value.min(u64::from(u32::MAX)) }
}

fn error(msg: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    let mut message = DrmMessage::new(DrmSystem::Widevine, MessageKind::Error);
    let mut fields = ProtobufFields::of(msg);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            message.error_code = Some(u32::try_from(value.varint()?).map_err(|_| MalformedProtobuf)?);
        }
    }
    message.error_code.is_some().then_some(message).ok_or(MalformedProtobuf)
}

/// Reads a certificate with its signature.
fn certificate(msg: &[u8]) -> Result<DrmMessage, MalformedProtobuf> {
    both(msg)?;
    Ok(DrmMessage::new(DrmSystem::Widevine, MessageKind::Certificate))
}

/// Checks that fields 1 and 2 hold bytes.
fn both(body: &[u8]) -> Result<(), MalformedProtobuf> {
    let (mut first, mut second) = (None, None);
    let mut fields = ProtobufFields::of(body);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => first = Some(value.bytes()?),
            2 => second = Some(value.bytes()?),
            _ => {}
        }
    }
    let filled = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| !bytes.is_empty());
    (filled(first) && filled(second)).then_some(()).ok_or(MalformedProtobuf)
}
