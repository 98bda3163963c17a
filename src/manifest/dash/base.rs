//! Where the relative URIs of an element begin, as its `BaseURL`s say.

use super::super::uri::{Absolute, Base};

#[derive(Clone, Debug)]
pub(super) struct Owned {
    authority: String,
    pub(super) path: String,
    root: String,
    tls: bool,
}

impl Owned {
    pub(super) fn base(&self) -> Base<'_> {
        Base { authority: &self.authority, path: &self.path, root: &self.root, tls: self.tls }
    }
}

pub(super) fn owned(base: &Base<'_>, absolute: Absolute<'_>) -> Owned {
    let Absolute { authority, mut path, tls } = absolute;
    path.truncate(path.find('?').unwrap_or(path.len()));
    let inside = tls == base.tls && authority.eq_ignore_ascii_case(base.authority) && path.starts_with(base.root);
    let root = if inside { base.root } else { "/" };
    Owned { authority: authority.into_owned(), path, root: root.to_owned(), tls }
}
