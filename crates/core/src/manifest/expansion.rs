//! Bounds the output and the work of editing a manifest: both grow with its size, and not with its square.
//!
//! A variable, a base or a long path of the playback can occur in every line. So every edit and every resolved URI is
//! counted, and a manifest beyond the bounds is refused. The parsers call it.

use super::{EditPlan, TextEdit, UnfitManifest};

/// Longest URI made from variables or bases; servers accept no longer ones.
pub const MAX_EXPANDED_URI_BYTES: usize = 8 * 1024;
/// An edited manifest may always exceed twice its size by so much, which lets a small one below a long path carry the
/// player's instructions.
const EXTRA_OUTPUT_BYTES: usize = 64 * 1024;
/// Allowance for each edit: scheme, host and path of the playback, and the folder, are put before short names. If those
/// are longer, their length counts instead ([`longest_prefix`]).
const EXTRA_OUTPUT_BYTES_PER_EDIT: usize = 256;
/// Limit of all allowances, for any number of edits: a window of a day has some forty thousand.
pub const MAX_EXTRA_OUTPUT_BYTES: usize = 2 * 1024 * 1024;
/// Limit of resolved URI bytes for each byte of the manifest.
const MAX_RESOLVED_PER_BYTE: usize = 16;
/// Additional allowance, for small manifests below long paths.
const MAX_EXTRA_RESOLVED_BYTES: usize = 4 * 1024 * 1024;

/// Cost of a manifest so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExpansionCount {
    /// Bytes that the edits may add.
    pub added: usize,
    pub edits: usize,
    /// Bytes that an edit may put before a name.
    pub prefix: usize,
    /// Bytes of the resolved URIs.
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

    /// `size`: of the manifest before the edits.
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

/// Longest text before a short name after an edit: host, the playback's path with the server's name, and, if relative
/// URIs are bound, the manifest's folder, which holds a token in many networks.
fn longest_prefix(plan: &EditPlan<'_>) -> usize {
    const MARK_BYTES: usize = "~h/s/".len();
    const SCHEME_BYTES: usize = "https://".len();
    let ours = plan.site.map_or(0, str::len) + plan.own.len() + MARK_BYTES;
    let folder = plan.base.path.rfind('/').map_or(0, |slash| slash + 1);
    ours.max(SCHEME_BYTES) + plan.base.authority.len() + if plan.all { folder } else { 0 }
}
