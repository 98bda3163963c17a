//! Recognises FairPlay messages by their lengths: an SPC is a request, a CKC a reply.
//!
//! Everything but the frame is encrypted, so a message shows its kind and no more. The layout of version 1 is that of
//! WebKit's public test key server; later SPC versions only get a plausibility check. `recognise` calls [`read`] with
//! bodies that begin with a zero byte, and [`release`] for `bplist00`.

use super::message::{Direction, DrmMessage, DrmSystem, MessageKind};

/// A release record is a binary property list and begins with this.
pub(super) const RELEASE: &[u8] = b"bplist00";

const VERSIONS: std::ops::RangeInclusive<u32> = 1..=9;
/// Offset of the payload's length in SPC version 1.
const SPC_LENGTH_OFFSET: usize = 172;
/// Offset of the payload's length in a CKC.
const CKC_LENGTH_OFFSET: usize = 24;
/// Offsets at which a later SPC version may have the payload's length, in steps of 4.
const LATER_SPC_LENGTH_OFFSETS: std::ops::RangeInclusive<usize> = 128..=512;
const OTHER_PAYLOAD_MIN: usize = 256;

pub(super) fn read(direction: Direction, body: &[u8]) -> Option<DrmMessage> {
    let version = number(body, 0).filter(|version| VERSIONS.contains(version))?;
    let (kind, fits) = match (direction, version) {
        (Direction::Reply, _) => (MessageKind::License, framed(body, CKC_LENGTH_OFFSET) == Some(0)),
        // Servers ignore bytes behind a whole SPC.
        (Direction::Request, 1) => (MessageKind::LicenseRequest, framed(body, SPC_LENGTH_OFFSET).is_some()),
        (Direction::Request, _) => (MessageKind::LicenseRequest, is_other_spc(body)),
    };
    fits.then(|| DrmMessage::new(DrmSystem::FairPlay, kind))
}

pub(super) fn release(direction: Direction) -> Option<DrmMessage> {
    (direction == Direction::Request).then(|| DrmMessage::new(DrmSystem::FairPlay, MessageKind::Release))
}

/// Number of bytes behind the payload whose length stands at `at`; `None` if the length or the second word does not
/// fit.
fn framed(body: &[u8], at: usize) -> Option<usize> {
    let length = payload(body, at).filter(|_| number(body, 4) == Some(0))?;
    body.len().checked_sub(at + 4)?.checked_sub(length)
}

fn is_other_spc(body: &[u8]) -> bool {
    LATER_SPC_LENGTH_OFFSETS.step_by(4).any(|at| {
        let length = payload(body, at).filter(|length| *length >= OTHER_PAYLOAD_MIN);
        length.is_some_and(|length| body.len().checked_sub(at + 4).is_some_and(|rest| rest >= length))
    })
}

/// Reads a length that an encrypted payload could have: whole blocks of 16, and no larger than the body, so that sums
/// with it cannot overflow.
fn payload(body: &[u8], at: usize) -> Option<usize> {
    let length = usize::try_from(number(body, at)?).ok()?;
    (length > 0 && length.is_multiple_of(16) && length <= body.len()).then_some(length)
}

fn number(body: &[u8], at: usize) -> Option<u32> {
    body.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spc(length: u32, payload: usize) -> Vec<u8> {
        [&[0, 0, 0, 1, 0, 0, 0, 0][..], &[7; 164], &length.to_be_bytes(), &vec![7; payload]].concat()
    }

    #[test]
    fn the_length_decides() {
        for (length, payload, fits) in
            [(32, 32, true), (32, 31, false), (32, 33, true), (0, 0, false), (24, 24, false), (u32::MAX, 32, false)]
        {
            assert_eq!(read(Direction::Request, &spc(length, payload)).is_some(), fits, "{length} {payload}");
        }
    }

    #[test]
    fn a_ckc_is_no_request_and_an_spc_no_reply() {
        let ckc = [&[0, 0, 0, 1, 0, 0, 0, 0][..], &[7; 16], &[0, 0, 0, 16], &[7; 16]].concat();
        assert_eq!(read(Direction::Reply, &ckc).map(|m| m.kind), Some(MessageKind::License));
        assert_eq!(read(Direction::Request, &ckc), None);
        assert_eq!(read(Direction::Reply, &spc(32, 32)), None);
        assert_eq!(release(Direction::Reply), None);
    }
}
