//! Edits of a text: which bytes go, and what stands there instead.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

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

/// The text with all edits, which come in the order of its bytes. One that does not fit is left out.
pub fn apply(text: &Bytes, edits: &[Edit]) -> Bytes {
    if edits.is_empty() {
        return text.clone();
    }
    let more: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut whole = BytesMut::with_capacity(text.len() + more);
    let mut from = 0;
    for edit in edits {
        let Some(kept) = text.get(from..edit.at.start).filter(|_| edit.at.end <= text.len()) else { continue };
        whole.extend_from_slice(kept);
        whole.extend_from_slice(edit.with.as_bytes());
        from = edit.at.end;
    }
    whole.extend_from_slice(text.get(from..).unwrap_or_default());
    whole.freeze()
}
