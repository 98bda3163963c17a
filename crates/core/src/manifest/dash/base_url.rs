//! Keeps the bases of relative URIs, as the `BaseURL`s of elements define them.
//!
//! Several `BaseURL`s beside each other are alternatives, and a player may use any of them. Some may lead past the
//! route while others lead to sidebeat. The DASH parser calls it.

use super::super::uri::{AbsoluteUri, UriBase};
use super::super::{EditPlan, ManifestEdits};
use super::MAX_ELEMENT_DEPTH;

/// The bases within an element.
#[derive(Clone, Debug, Default)]
pub(super) struct ElementBases {
    /// The base used to resolve URIs here.
    chosen: Option<ChosenBase>,
    /// True if a player chooses among these, or among the bases around them.
    pub(super) several: bool,
    /// True if some base sends a rooted URI to another server, which then knows the playback's id.
    pub(super) strays: bool,
}

#[derive(Clone, Debug)]
struct ChosenBase {
    authority: String,
    path: String,
    root: String,
    strays: bool,
    tls: bool,
}

impl ElementBases {
    /// Adds an alternative, which is relative to `around`. All alternatives lead to the same files, so the first one on
    /// the route is used.
    pub(super) fn add(&mut self, around: &UriBase<'_>, uri: &str, (strays, several): (bool, bool)) {
        self.strays |= strays;
        self.several |= several || self.chosen.is_some();
        if self.chosen.as_ref().is_none_or(|chosen| chosen.strays && !strays) {
            self.chosen = Some(ChosenBase { strays, ..chosen(around, around.resolve_any(uri)) });
        }
    }

    pub(super) fn base<'a>(&'a self, around: UriBase<'a>) -> UriBase<'a> {
        let of = |chosen: &'a ChosenBase| UriBase {
            authority: &chosen.authority,
            path: &chosen.path,
            root: &chosen.root,
            tls: chosen.tls,
        };
        self.chosen.as_ref().map_or(around, of)
    }

    /// Length of its path in bytes.
    pub(super) fn longest(&self) -> usize {
        self.chosen.as_ref().map_or(0, |chosen| chosen.path.len())
    }
}

fn chosen(base: &UriBase<'_>, absolute: AbsoluteUri<'_>) -> ChosenBase {
    let AbsoluteUri { authority, mut path, tls } = absolute;
    path.truncate(path.find('?').unwrap_or(path.len()));
    let inside = tls == base.tls && authority.eq_ignore_ascii_case(base.authority) && path.starts_with(base.root);
    let root = if inside { base.root } else { "/" };
    ChosenBase { authority: authority.into_owned(), path, root: root.to_owned(), strays: false, tls }
}

/// Edits of URIs, by index, that inner elements inherit and resolve against their own bases; a list for each depth.
pub(super) struct InheritedEdits {
    relative: [Vec<usize>; MAX_ELEMENT_DEPTH + 1],
    rooted: [Vec<usize>; MAX_ELEMENT_DEPTH + 1],
}

impl InheritedEdits {
    pub(super) const fn new() -> Self {
        Self {
            relative: [const { Vec::new() }; MAX_ELEMENT_DEPTH + 1],
            rooted: [const { Vec::new() }; MAX_ELEMENT_DEPTH + 1],
        }
    }

    /// `index`: of an edit that binds a relative URI.
    pub(super) fn note_relative(&mut self, depth: usize, index: usize) {
        self.relative.get_mut(depth).into_iter().for_each(|within| within.push(index));
    }

    /// `index`: of an edit with a rooted URI.
    pub(super) fn note_rooted(&mut self, depth: usize, index: usize) {
        self.rooted.get_mut(depth).into_iter().for_each(|within| within.push(index));
    }

    /// The element at this depth has ended.
    pub(super) fn end(&mut self, depth: usize) {
        for all in [&mut self.relative, &mut self.rooted] {
            all.get_mut(depth).into_iter().for_each(Vec::clear);
        }
    }

    /// Forgets the edits from this index on.
    pub(super) fn forget(&mut self, edits: usize) {
        for within in self.relative.iter_mut().chain(&mut self.rooted) {
            while within.pop_if(|index| *index >= edits).is_some() {}
        }
    }

    /// Drops edits of relative URIs: an inner element has a base of its own, which is bound, so they are bound by it.
    pub(super) fn rebase(&mut self, found: &mut ManifestEdits) {
        for index in self.relative.iter_mut().flat_map(|within| within.drain(..)) {
            if let Some(edit) = found.edits.get_mut(index) {
                *edit = super::TextEdit::insert(edit.at.start, "");
            }
        }
    }

    /// Adds the host to rooted URIs, because the base of an inner element leads past the route.
    pub(super) fn stray(&mut self, plan: &EditPlan<'_>, found: &mut ManifestEdits) {
        for index in self.rooted.iter_mut().flat_map(|within| within.drain(..)) {
            if let Some(edit) = found.edits.get_mut(index) {
                found.expansion.added += plan.site.map_or(0, str::len);
                edit.with = plan.with_host(edit.with.to_string()).into();
            }
        }
    }
}
