//! Reads XMR, the binary license inside a PlayReady reply: its dates and key ids.
//!
//! A container only adds a header before its objects, so the reader enters it by skipping eight bytes, without
//! recursion. The keys in it are encrypted and not read. `playready` calls [`read`].

use super::key_ids::KeyIds;
use super::message::Validity;

const XMR_MAGIC: &[u8] = b"XMR\0";
/// Magic, version, rights id.
const XMR_HEADER_BYTES: usize = 24;
/// Flags, type, length.
const XMR_OBJECT_HEAD_BYTES: usize = 8;
const OBJECTS_MAX: usize = 256;

const CONTAINER: u16 = 2;
const CONTENT_KEY: u16 = 0x0a;
const EXPIRATION: u16 = 0x12;
const ISSUED: u16 = 0x13;

/// Dates of the license, from the objects that can be read; `None` if the bytes are not XMR.
pub(super) fn read(license: &[u8], key_ids: &mut KeyIds) -> Option<Validity> {
    let mut rest = license.get(XMR_HEADER_BYTES..).filter(|_| license.starts_with(XMR_MAGIC))?;
    let mut validity = Validity::default();
    for _ in 0..OBJECTS_MAX {
        let Some((kind, body, after)) = object(rest) else { break };
        rest = after;
        match kind {
            CONTENT_KEY => body.first_chunk::<16>().into_iter().for_each(|id| key_ids.insert(&swap(*id))),
            EXPIRATION => (validity.begin, validity.end) = (date(body, 0), date(body, 4)),
            ISSUED => validity.issued = date(body, 0),
            _ => {}
        }
    }
    Some(validity)
}

/// Converts between the little-endian GUID of PlayReady and the big-endian key id of the others.
pub(super) fn swap(id: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = id;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

/// Type and body of the next object (a container's body is empty), and the rest.
fn object(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [a, b, c, d, length @ ..] = *bytes.first_chunk::<XMR_OBJECT_HEAD_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let (this, after) = bytes.split_at_checked(length)?;
    let body = this.get(XMR_OBJECT_HEAD_BYTES..)?;
    let kind = u16::from_be_bytes([c, d]);
    if u16::from_be_bytes([a, b]) & CONTAINER == 0 {
        return Some((kind, body, after));
    }
    Some((kind, &[], bytes.get(XMR_OBJECT_HEAD_BYTES..)?))
}

/// Reads a date; zero and all ones mean no limit.
fn date(body: &[u8], at: usize) -> Option<u64> {
    let date = u32::from_be_bytes(*body.get(at..)?.first_chunk()?);
    (date != 0 && date != u32::MAX).then_some(u64::from(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE60: &[u8] = include_bytes!("../../../../tests/vectors/drm/pr_xmr_lease60.bin");

    #[test]
    fn dates_and_key_id_are_found_inside_containers() {
        let mut ids = KeyIds::default();
        let validity = read(LEASE60, &mut ids);
        let expected = Validity { begin: None, end: Some(1_700_000_060), issued: Some(1_700_000_000) };
        assert_eq!(validity, Some(expected));
        assert_eq!(ids.as_slice(), [0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes()]);
    }

    #[test]
    fn damaged_licenses_are_read_as_far_as_they_go() {
        for length in 0..LEASE60.len() {
            read(&LEASE60[..length], &mut KeyIds::default());
            let mut flipped = LEASE60.to_vec();
            flipped[length] ^= 0xff;
            read(&flipped, &mut KeyIds::default());
        }
        let endless = [&LEASE60[..XMR_HEADER_BYTES], &[0, 2, 0, 1, 0, 0, 0, 8].repeat(10_000)].concat();
        assert_eq!(read(&endless, &mut KeyIds::default()), Some(Validity::default()));
        assert_eq!(read(b"not XMR at all, but long enough", &mut KeyIds::default()), None);
    }
}
