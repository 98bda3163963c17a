//! Edits of a text: the bytes to replace, and their replacement. The parsers collect them; [`apply`] makes the new
//! text.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::UnfitManifest;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TextEdit {
    pub at: Range<usize>,
    /// Shared by all edits with the same replacement.
    pub with: Arc<str>,
}

impl TextEdit {
    pub(super) fn insert(at: usize, with: &str) -> Self {
        Self { at: at..at, with: with.into() }
    }

    pub(super) fn shift(&mut self, by: usize) {
        self.at = self.at.start + by..self.at.end + by;
    }
}

/// Sorts edits by position, because parsers add some of them late.
///
/// # Errors
/// [`UnfitManifest::Overlaps`]
pub(super) fn in_order(edits: &mut [TextEdit]) -> Result<(), UnfitManifest> {
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let apart = |pair: &[TextEdit]| matches!(pair, [first, second] if first.at.end <= second.at.start);
    if edits.windows(2).all(apart) { Ok(()) } else { Err(UnfitManifest::Overlaps) }
}

/// The text with all edits applied. They must be in order (`in_order`) and apart.
///
/// # Errors
/// [`UnfitManifest::Overlaps`] if an edit fits nowhere: a text without it would lead past the route.
pub fn apply(text: &Bytes, edits: &[TextEdit]) -> Result<Bytes, UnfitManifest> {
    if edits.is_empty() {
        return Ok(text.clone());
    }
    let more: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut whole = BytesMut::with_capacity(text.len() + more);
    let mut from = 0;
    for edit in edits {
        let kept = text.get(from..edit.at.start).filter(|_| (edit.at.start..=text.len()).contains(&edit.at.end));
        whole.extend_from_slice(kept.ok_or(UnfitManifest::Overlaps)?);
        whole.extend_from_slice(edit.with.as_bytes());
        from = edit.at.end;
    }
    whole.extend_from_slice(text.get(from..).unwrap_or_default());
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(at: Range<usize>) -> TextEdit {
        TextEdit { at, with: "x".into() }
    }

    #[test]
    fn an_edit_that_fits_nowhere_refuses_the_whole_text() {
        let text = Bytes::from_static(b"0123456789");
        for (edits, what) in [
            (vec![edit(2..5), edit(4..6)], "two want the same bytes"),
            (vec![edit(2..6), edit(3..4)], "one within another"),
            (vec![edit(8..11)], "the end is beyond the text"),
            (vec![edit(0..1), edit(11..11)], "it stands beyond the text"),
            (vec![edit(0..1), edit(usize::MAX..usize::MAX)], "it stands nowhere"),
            (vec![edit(Range { start: 5, end: 3 })], "its end comes before its beginning"),
            (vec![edit(4..6), edit(0..2)], "out of order"),
        ] {
            assert_eq!(apply(&text, &edits), Err(UnfitManifest::Overlaps), "{what}");
        }
        // Edits out of order are sorted, and overlapping ones refused.
        let mut edits = [edit(4..6), edit(0..2), edit(10..10), edit(2..2)];
        in_order(&mut edits).unwrap();
        assert_eq!(apply(&text, &edits).unwrap(), "xx23x6789x");
        for mut edits in [[edit(4..6), edit(0..5)], [edit(3..3), edit(2..4)], [edit(1..2), edit(1..3)]] {
            assert_eq!(in_order(&mut edits), Err(UnfitManifest::Overlaps), "{edits:?}");
        }
        assert_eq!(UnfitManifest::Overlaps.name(), "overlaps", "as it is counted");
    }
}
