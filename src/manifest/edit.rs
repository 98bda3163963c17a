//! Edits of a text: which bytes go, and what stands there instead.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Unfit;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    pub at: Range<usize>,
    /// Shared by all edits that say the same.
    pub with: Arc<str>,
}

impl Edit {
    pub(super) fn insert(at: usize, with: &str) -> Self {
        Self { at: at..at, with: with.into() }
    }

    pub(super) fn shift(&mut self, by: usize) {
        self.at = self.at.start + by..self.at.end + by;
    }
}

/// Sorts edits by the bytes that they replace; parsers note some of them behind what comes later in the text.
///
/// # Errors
/// [`Unfit::Overlaps`]
pub(super) fn in_order(edits: &mut [Edit]) -> Result<(), Unfit> {
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let apart = |pair: &[Edit]| matches!(pair, [first, second] if first.at.end <= second.at.start);
    if edits.windows(2).all(apart) { Ok(()) } else { Err(Unfit::Overlaps) }
}

/// The text with all edits, which come in the order of its bytes and are apart (`in_order`).
pub fn apply(text: &Bytes, edits: &[Edit]) -> Bytes {
    if edits.is_empty() {
        return text.clone();
    }
    let more: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut whole = BytesMut::with_capacity(text.len() + more);
    let mut from = 0;
    for edit in edits {
        let Some(kept) = text.get(from..edit.at.start).filter(|_| edit.at.end <= text.len()) else {
            debug_assert!(false, "an edit that fits nowhere: {edit:?}");
            continue;
        };
        whole.extend_from_slice(kept);
        whole.extend_from_slice(edit.with.as_bytes());
        from = edit.at.end;
    }
    whole.extend_from_slice(text.get(from..).unwrap_or_default());
    whole.freeze()
}
