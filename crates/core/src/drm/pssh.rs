//! Reads a sequence of protection system specific header boxes (ISO/IEC 23001-7).
//!
//! The views are borrowed, and reading stops silently at the first bytes that are no box. `widevine_request` calls
//! this, because a license request may carry whole boxes instead of the bare Widevine header.

/// edef8ba9-79d6-4ace-a3c8-27dcd51d21ed
pub(super) const WIDEVINE: [u8; 16] =
    [0xed, 0xef, 0x8b, 0xa9, 0x79, 0xd6, 0x4a, 0xce, 0xa3, 0xc8, 0x27, 0xdc, 0xd5, 0x1d, 0x21, 0xed];

const MAX_PSSH_BOXES: usize = 64;
/// Size, name, version and flags, system id, data size.
const MIN_PSSH_BYTES: usize = 32;

pub(super) struct Pssh<'a> {
    pub(super) data: &'a [u8],
    pub(super) key_ids: std::slice::ChunksExact<'a, u8>,
    pub(super) system: [u8; 16],
}

pub(super) fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = Pssh<'_>> {
    std::iter::from_fn(move || {
        let (found, rest) = split(bytes)?;
        bytes = rest;
        Some(found)
    })
    .take(MAX_PSSH_BOXES)
}

fn split(bytes: &[u8]) -> Option<(Pssh<'_>, &[u8])> {
    let size = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    if size < MIN_PSSH_BYTES {
        return None;
    }
    let (this, rest) = bytes.split_at_checked(size)?;
    let this = this.get(4..)?.strip_prefix(b"pssh")?;
    let (version, this) = this.split_first_chunk::<4>()?;
    let (system, this) = this.split_first_chunk::<16>()?;
    let (key_ids, this) = if version.first() == Some(&0) { (this.get(..0)?, this) } else { key_ids(this)? };
    let (length, data) = this.split_first_chunk::<4>()?;
    let data = data.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((Pssh { data, key_ids: key_ids.chunks_exact(16), system: *system }, rest))
}

fn key_ids(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*count)).ok()?.checked_mul(16)?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(system: [u8; 16], ids: &[[u8; 16]], data: &[u8]) -> Vec<u8> {
        let count = u32::try_from(ids.len()).unwrap().to_be_bytes();
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        let body = [b"pssh\x01\0\0\0", &system[..], &count, ids.as_flattened(), &length, data].concat();
        [&u32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body[..]].concat()
    }

    #[test]
    fn boxes_that_follow_each_other_are_all_read() {
        let bytes = [v1(WIDEVINE, &[[1; 16], [2; 16]], b"abc"), v1([9; 16], &[], b"")].concat();
        let found: Vec<_> = boxes(&bytes).map(|b| (b.system, b.key_ids.count(), b.data.to_vec())).collect();
        assert_eq!(found, [(WIDEVINE, 2, b"abc".to_vec()), ([9; 16], 0, Vec::new())]);
    }

    #[test]
    fn false_sizes_and_counts_end_the_reading() {
        let good = v1(WIDEVINE, &[[1; 16]], b"abc");
        for length in 0..good.len() {
            assert_eq!(boxes(&good[..length]).count(), 0, "{length}");
        }
        let mut many_ids = good.clone();
        many_ids[28..32].fill(0xff);
        assert_eq!(boxes(&many_ids).count(), 0);
        assert_eq!(boxes(&good.repeat(100)).count(), MAX_PSSH_BOXES);
    }
}
