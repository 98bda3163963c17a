//! A small sorted set of key ids.
//!
//! Four ids are stored inline, enough for nearly every message, so that recognising allocates nothing. More ids go to
//! the heap, up to [`KeyIds::MAX_KEY_IDS`]; any further id is dropped.

use arrayvec::ArrayVec;

use crate::secret::Fingerprint;

/// Big-endian, as in Widevine and ClearKey.
pub type KeyId = [u8; 16];

const INLINE_KEY_IDS: usize = 4;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyIds {
    few: ArrayVec<KeyId, INLINE_KEY_IDS>,
    /// Holds all ids as soon as there are more than `INLINE_KEY_IDS`, else nothing.
    many: Vec<KeyId>,
}

impl KeyIds {
    pub const MAX_KEY_IDS: usize = 64;

    /// Inserts an id; bytes of another length than 16 are ignored.
    pub fn insert(&mut self, bytes: &[u8]) {
        let Ok(id) = KeyId::try_from(bytes) else { return };
        let Err(place) = self.as_slice().binary_search(&id) else { return };
        if !self.many.is_empty() {
            if self.many.len() < Self::MAX_KEY_IDS {
                self.many.insert(place, id);
            }
        } else if self.few.try_insert(place, id).is_err() {
            self.many.extend_from_slice(&self.few);
            self.many.insert(place, id);
            self.few.clear();
        }
    }

    /// Sorted, without duplicates.
    pub fn as_slice(&self) -> &[KeyId] {
        if self.many.is_empty() { &self.few } else { &self.many }
    }

    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Equal sets have equal fingerprints, in any order and from any system; `None` when empty.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        if self.is_empty() {
            return None;
        }
        let mut parts: ArrayVec<&[u8], { Self::MAX_KEY_IDS + 1 }> = ArrayVec::new();
        parts.push(b"key ids");
        parts.extend(self.as_slice().iter().map(|id| id.as_slice()).take(Self::MAX_KEY_IDS));
        Some(Fingerprint::of_parts(&parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: impl IntoIterator<Item = u8>) -> KeyIds {
        let mut set = KeyIds::default();
        ids.into_iter().for_each(|id| set.insert(&[id; 16]));
        set
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        assert_eq!(set([3, 1, 2, 1]), set([1, 2, 3]));
        assert_eq!(set([9, 8, 7, 6, 5, 4]).fingerprint(), set(4..=9).fingerprint());
        assert_ne!(set([1]).fingerprint(), set([1, 2]).fingerprint());
        assert_eq!(set([]).fingerprint(), None);
    }

    #[test]
    fn a_set_is_bounded_and_sorted() {
        let full = set((0..=255).rev());
        assert_eq!(full.len(), KeyIds::MAX_KEY_IDS);
        assert!(full.as_slice().is_sorted());
    }

    #[test]
    fn only_sixteen_bytes_are_a_key_id() {
        let mut ids = KeyIds::default();
        ids.insert(&[0; 15]);
        ids.insert(&[0; 17]);
        assert!(ids.is_empty());
    }
}
