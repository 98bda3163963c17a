//! Where the relative URIs of an element begin, as its `BaseURL`s say.
//!
//! Several `BaseURL`s beside each other are alternatives, and a player may use any of them. Some may lead past the
//! route while others lead to us.

use super::super::uri::{AbsoluteUri, UriBase};
use super::super::{EditPlan, ManifestEdits};
use super::MAX_ELEMENT_DEPTH;

/// The bases that hold within one element.
#[derive(Clone, Debug, Default)]
pub(super) struct ElementBases {
    /// The one that URIs are followed by.
    chosen: Option<ChosenBase>,
    /// Of these, or of the bases around them, a player chooses one.
    pub(super) several: bool,
    /// With some of them a rooted URI leads to another server than us, which then knows the playback's id.
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
    /// One more, which begins at `around`. All lead to the same files: the first that keeps to the route tells which.
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

    /// Bytes of its path.
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

/// Edits of URIs, by index, that elements further in inherit, each with the bases of its own. For each depth of the
/// element that has them.
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

    /// `index`: of an edit that is a rooted URI.
    pub(super) fn note_rooted(&mut self, depth: usize, index: usize) {
        self.rooted.get_mut(depth).into_iter().for_each(|within| within.push(index));
    }

    /// The element at this depth has ended.
    pub(super) fn end(&mut self, depth: usize) {
        for all in [&mut self.relative, &mut self.rooted] {
            all.get_mut(depth).into_iter().for_each(Vec::clear);
        }
    }

    /// Edits from this one on are no more.
    pub(super) fn forget(&mut self, edits: usize) {
        for within in self.relative.iter_mut().chain(&mut self.rooted) {
            while within.pop_if(|index| *index >= edits).is_some() {}
        }
    }

    /// An heir has a base of its own: by that, which is bound, its relative URIs are bound as well.
    pub(super) fn rebase(&mut self, found: &mut ManifestEdits) {
        for index in self.relative.iter_mut().flat_map(|within| within.drain(..)) {
            if let Some(edit) = found.edits.get_mut(index) {
                *edit = super::TextEdit::insert(edit.at.start, "");
            }
        }
    }

    /// The base of an heir leads past the route: what is rooted would follow it.
    pub(super) fn stray(&mut self, plan: &EditPlan<'_>, found: &mut ManifestEdits) {
        for index in self.rooted.iter_mut().flat_map(|within| within.drain(..)) {
            if let Some(edit) = found.edits.get_mut(index) {
                found.expansion.added += plan.site.map_or(0, str::len);
                edit.with = plan.with_host(edit.with.to_string()).into();
            }
        }
    }
}
