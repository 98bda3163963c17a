//! Bounds on what a manifest may make of itself: output and work grow with its own size, and not with its square.
//!
//! A variable, a base or a long path of the playback can stand in every line. So every edit and every URI that is
//! worked out is counted, and a manifest that goes beyond the bounds is refused.

use super::{EditPlan, TextEdit, UnfitManifest};

/// Longest URI that variables or bases may be put together to; servers take no longer ones.
pub const MAX_EXPANDED_URI_BYTES: usize = 8 * 1024;
/// An edited manifest may always be this much larger than twice what came: a small one below a long path, with what is
/// told to players in it.
const EXTRA_OUTPUT_BYTES: usize = 64 * 1024;
/// And by so much for each of its edits: short names of long windows grow by scheme, host and path of the playback, and by
/// the folder that they stand in. Where those are longer, by as much as they are ([`longest_prefix`]).
const EXTRA_OUTPUT_BYTES_PER_EDIT: usize = 256;
/// In all by no more than this, however many edits there are: a window of a day has some forty thousand.
pub const MAX_EXTRA_OUTPUT_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of URIs that are worked out for each byte of the manifest.
const MAX_RESOLVED_PER_BYTE: usize = 16;
/// Beyond that: for small manifests below long paths.
const MAX_EXTRA_RESOLVED_BYTES: usize = 4 * 1024 * 1024;

/// Counts what one manifest has cost so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExpansionCount {
    /// Bytes by which its edits let it grow.
    pub added: usize,
    pub edits: usize,
    /// Bytes that an edit may put before a name.
    pub prefix: usize,
    /// Bytes of the URIs that were worked out.
    pub resolved: usize,
}

impl ExpansionCount {
    pub(super) fn of(plan: &EditPlan<'_>) -> Self {
        Self { prefix: longest_prefix(plan), ..Self::default() }
    }

    pub(super) fn edit(&mut self, edit: &TextEdit) {
        self.edits += 1;
        self.added = self.added.saturating_add(edit.with.len().saturating_sub(edit.at.len()));
    }

    pub(super) fn resolve(&mut self, bytes: usize) {
        self.resolved = self.resolved.saturating_add(bytes);
    }

    /// `size`: of the manifest as it came.
    pub(super) fn check(&self, size: usize) -> Result<(), UnfitManifest> {
        let per_edit = self.prefix.max(EXTRA_OUTPUT_BYTES_PER_EDIT);
        let extra = EXTRA_OUTPUT_BYTES.saturating_add(self.edits.saturating_mul(per_edit));
        let most_added = size.saturating_add(extra.min(MAX_EXTRA_OUTPUT_BYTES));
        let most_resolved = size.saturating_mul(MAX_RESOLVED_PER_BYTE).saturating_add(MAX_EXTRA_RESOLVED_BYTES);
        if self.added > most_added || self.resolved > most_resolved {
            return Err(UnfitManifest::Grows);
        }
        Ok(())
    }
}

/// What may stand before a short name once it is edited: our host, the playback's path with the server's name in it, and,
/// where relative URIs are bound, the folder of the manifest, which holds its token in many networks.
fn longest_prefix(plan: &EditPlan<'_>) -> usize {
    const MARK_BYTES: usize = "~h/s/".len();
    const SCHEME_BYTES: usize = "https://".len();
    let ours = plan.site.map_or(0, str::len) + plan.own.len() + MARK_BYTES;
    let folder = plan.base.path.rfind('/').map_or(0, |slash| slash + 1);
    ours.max(SCHEME_BYTES) + plan.base.authority.len() + if plan.all { folder } else { 0 }
}
