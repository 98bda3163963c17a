//! Widevine: the envelope that every message has, and what servers answer.
//!
//! Reads a handful of tags and skips the rest by length, without allocating. Fields and their
//! meaning are those of the public message definition; what is inside a license request is in
//! `widevine_request`. Called by `recognise` with bodies that begin with 08, 12 or 0A.

use super::message::{Direction, Kind, Lease, Message, System};
use super::protobuf::{Fields, Malformed, Value};
use super::widevine_request;
use crate::secret::Fingerprint;

/// `08 04`, and room for what a later CDM might add. Anything longer is another message.
const CERTIFICATE_REQUEST_MAX: usize = 8;

/// `LicenseIdentification.type` and the license type of a license request.
pub(super) const OFFLINE: u64 = 2;

/// A SignedMessage.
pub(super) fn read(direction: Direction, body: &[u8]) -> Result<Message, Malformed> {
    let signed = Signed::read(body)?;
    match (direction, signed.kind) {
        (Direction::Request, Some(4)) if signed.msg.is_none() && body.len() <= CERTIFICATE_REQUEST_MAX => {
            Ok(Message::new(System::Widevine, Kind::CertificateRequest))
        }
        // Desktop CDMs leave the type out, set-top CDMs write it, and an unknown one counts as left out.
        (Direction::Request, None | Some(0 | 1 | 6..)) => widevine_request::read(signed.checked()?),
        (Direction::Reply, Some(2)) => license(signed.checked()?),
        (Direction::Reply, Some(3)) => error(signed.msg.ok_or(Malformed)?),
        (Direction::Reply, Some(5)) => certificate(signed.msg.ok_or(Malformed)?),
        _ => Err(Malformed),
    }
}

/// A SignedProvisioningMessage: the same shape in both directions.
pub(super) fn provisioning(body: &[u8]) -> Result<Message, Malformed> {
    both(body)?;
    Ok(Message::new(System::Widevine, Kind::Provisioning))
}

#[derive(Default)]
struct Signed<'a> {
    kind: Option<u64>,
    msg: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
}

impl<'a> Signed<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut signed = Self::default();
        let mut fields = Fields::of(body);
        // A field of another type than it should have is an unknown field, as parsers take it.
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                // The last one counts, but not every parser knows that.
                (1, Value::Varint(kind)) if signed.kind.is_none_or(|before| before == kind) => signed.kind = Some(kind),
                (2, Value::Bytes(msg)) if signed.msg.is_none() => signed.msg = Some(msg),
                (1, Value::Varint(_)) | (2, Value::Bytes(_)) => return Err(Malformed),
                (3, Value::Bytes(signature)) => signed.signature = Some(signature),
                (_, Value::Bytes(_) | Value::Other | Value::Varint(_)) => {}
            }
        }
        Ok(signed)
    }

    /// The message inside, if it is signed: license requests and licenses always are.
    fn checked(&self) -> Result<&'a [u8], Malformed> {
        self.signature.filter(|signature| !signature.is_empty()).and(self.msg).ok_or(Malformed)
    }
}

fn license(msg: &[u8]) -> Result<Message, Malformed> {
    let (mut id, mut policy) = (None, None);
    let mut fields = Fields::of(msg);
    // The keys come after both, and may be many.
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
    let mut message = Message::new(System::Widevine, Kind::License);
    identification(id.ok_or(Malformed)?, &mut message)?;
    message.lease = policy.map(lease).transpose()?;
    Ok(message)
}

/// LicenseIdentification: in a license, and whole again in its renewals and its release.
pub(super) fn identification(id: &[u8], message: &mut Message) -> Result<(), Malformed> {
    let mut fields = Fields::of(id);
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

/// Opaque: 16 raw bytes from desktops, 32 hexadecimal digits from devices.
pub(super) fn identifier(bytes: &[u8]) -> Option<Fingerprint> {
    (!bytes.is_empty()).then(|| Fingerprint::of(bytes))
}

fn lease(policy: &[u8]) -> Result<Lease, Malformed> {
    let mut lease = Lease::default();
    let mut fields = Fields::of(policy);
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

/// The wire has signed 64 bits; a bound keeps sums of times from overflowing anywhere above.
fn seconds(value: u64) -> u64 {
    if value > i64::MAX as u64 { 0 } else { value.min(u64::from(u32::MAX)) }
}

fn error(msg: &[u8]) -> Result<Message, Malformed> {
    let mut message = Message::new(System::Widevine, Kind::Error);
    let mut fields = Fields::of(msg);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            message.error_code = Some(u32::try_from(value.varint()?).map_err(|_| Malformed)?);
        }
    }
    message.error_code.is_some().then_some(message).ok_or(Malformed)
}

/// A certificate and its signature.
fn certificate(msg: &[u8]) -> Result<Message, Malformed> {
    both(msg)?;
    Ok(Message::new(System::Widevine, Kind::Certificate))
}

/// Fields 1 and 2 are there, and hold bytes.
fn both(body: &[u8]) -> Result<(), Malformed> {
    let (mut first, mut second) = (None, None);
    let mut fields = Fields::of(body);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => first = Some(value.bytes()?),
            2 => second = Some(value.bytes()?),
            _ => {}
        }
    }
    let filled = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| !bytes.is_empty());
    (filled(first) && filled(second)).then_some(()).ok_or(Malformed)
}
