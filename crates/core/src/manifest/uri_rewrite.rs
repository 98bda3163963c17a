//! Rewrites the URIs of a manifest, folder by folder.
//!
//! A manifest names thousands of files in a few folders. Plainly named files in one folder differ in the name alone,
//! and so do their rewritten URIs. So the name stays in the text, and only its folder is replaced, by the result for
//! the first file. Any other URI is resolved by itself ([`UriRewriter::bind_whole`]), with the same meaning. The
//! parsers call it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::playhead::PathHash;
use super::uri::{AbsoluteUri, UriBase, UriReach, is_data, names_server};
use super::{EditPlan, ManifestEdits, Purpose, TextEdit};

/// Number of folders remembered: picture, sound and texts on a few servers.
const MAX_FOLDERS_REMEMBERED: usize = 8;

/// Escapes a URI for its format.
pub(super) type UriWriter = fn(&str) -> Cow<'_, str>;

pub(super) struct UriRewriter {
    folders: ArrayVec<FolderRewrite, MAX_FOLDERS_REMEMBERED>,
    /// Index of the folder that was used last.
    newest: usize,
    write: UriWriter,
}

/// The result for the plainly named files in a folder.
struct FolderRewrite {
    lead: UriDestination,
    /// Hash of its path at the server.
    path: PathHash,
    /// The folder as written in the text; empty for the manifest's own.
    text: String,
    usage: UriUsage,
}

/// The use of a URI, and the form that it may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UriUsage {
    /// Writes scheme and host, because the format requires them or a base may lead to another server. That server would
    /// otherwise get a rooted URI with the playback's id.
    pub(super) absolute: bool,
    pub(super) purpose: Purpose,
}

/// The result of editing a URI.
pub(super) struct RewrittenUri {
    /// Path at its server.
    pub(super) path: String,
    pub(super) standing: BaseStanding,
}

/// Where relative URIs below a base lead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BaseStanding {
    /// Past the route.
    Elsewhere,
    /// To the place to which the base around it leads.
    Inherited,
    /// To sidebeat.
    Ours,
}

/// The decision on a URI, or on its folder.
enum UriDestination {
    /// Leave it as it is.
    Kept,
    /// Count it: it should be bound, but leads to a server that the route does not have.
    Left,
    To(Arc<str>),
}

/// A URI in a manifest.
pub(super) struct ManifestUri<'a> {
    /// Position of its first byte.
    pub(super) at: usize,
    /// Slice of the manifest.
    pub(super) raw: &'a str,
    pub(super) usage: UriUsage,
}

impl UriRewriter {
    pub(super) fn new(write: UriWriter) -> Self {
        Self { folders: ArrayVec::new(), newest: 0, write }
    }

    /// Forgets all folders, because relative URIs have another base from now on.
    pub(super) fn forget(&mut self) {
        self.folders.clear();
    }

    /// Adds the edit that keeps this URI's player on the route, and returns the path at its server, without the query,
    /// if `wanted`. `plain`: the URI without the format's own escapes.
    pub(super) fn bind<'a>(
        &mut self,
        plan: &EditPlan<'_>,
        base: &UriBase<'_>,
        uri: &ManifestUri<'a>,
        plain: impl Fn(&'a str) -> Cow<'a, str>,
        found: &mut ManifestEdits,
        wanted: bool,
    ) -> Option<PathHash> {
        let ManifestUri { at, raw, usage } = *uri;
        if let Some((folder, name)) = self.folder(plan, base, uri, &plain, found) {
            note(&folder.lead, usage.purpose, at..at + folder.text.len(), found);
            if is_fetched(usage.purpose) {
                found.facts.endings.note(without_query(name));
            }
            return wanted.then(|| folder.path.and(without_query(name)));
        }
        let bound = self.bind_whole(plan, base, at..at + raw.len(), &plain(raw), usage, found);
        bound.filter(|_| wanted).map(|bound| PathHash::of(without_query(&bound.path)))
    }

    /// Like [`Self::bind`], for a URI in this part of the text that is resolved by itself. `None` if it is on no
    /// server.
    pub(super) fn bind_whole(
        &mut self,
        plan: &EditPlan<'_>,
        base: &UriBase<'_>,
        at: Range<usize>,
        uri: &str,
        usage: UriUsage,
        found: &mut ManifestEdits,
    ) -> Option<RewrittenUri> {
        found.expansion.resolve(base.path.len() + uri.len());
        // Data inside a URI cannot be edited.
        if is_data(uri) && matches!(usage.purpose, Purpose::Assets | Purpose::Manifest | Purpose::Part) {
            note(&UriDestination::Left, usage.purpose, at, found);
            return None;
        }
        let (stays, to) = resolved(base, uri)?;
        if is_fetched(usage.purpose) {
            found.facts.endings.note(without_query(&to.path));
        }
        let mut lead = lead(plan, stays, &to, uri, usage, self.write);
        // The fragment selects a part of the manifest.
        if let (UriDestination::To(with), Some((_, fragment))) = (&mut lead, uri.split_once('#'))
            && matches!(usage.purpose, Purpose::Manifest | Purpose::Part)
        {
            *with = format!("{with}#{}", (self.write)(fragment)).into();
        }
        note(&lead, usage.purpose, at, found);
        let standing = match &lead {
            UriDestination::Kept if stays => BaseStanding::Inherited,
            UriDestination::Kept if plan.is_own(uri) => BaseStanding::Ours,
            UriDestination::To(with) if plan.is_own(with) => BaseStanding::Ours,
            UriDestination::Kept | UriDestination::Left | UriDestination::To(_) => BaseStanding::Elsewhere,
        };
        Some(RewrittenUri { path: to.path, standing })
    }

    /// Splits a plainly named file into its folder, and its name with the query.
    fn folder<'a>(
        &mut self,
        plan: &EditPlan<'_>,
        base: &UriBase<'_>,
        uri: &ManifestUri<'a>,
        plain: impl Fn(&'a str) -> Cow<'a, str>,
        found: &mut ManifestEdits,
    ) -> Option<(&FolderRewrite, &'a str)> {
        let (text, name) = split(uri.raw)?;
        let is = |folder: &FolderRewrite| folder.usage == uri.usage && folder.text == text;
        if !self.folders.get(self.newest).is_some_and(is) {
            self.newest = match self.folders.iter().position(is) {
                Some(known) => known,
                None => {
                    found.expansion.resolve(base.path.len() + uri.raw.len());
                    let folder = FolderRewrite::learn(plan, base, text, &plain(uri.raw), uri.usage, self.write)?;
                    self.keep(folder)
                }
            };
        }
        Some((self.folders.get(self.newest)?, name))
    }

    fn keep(&mut self, folder: FolderRewrite) -> usize {
        if self.folders.is_full() {
            // Folders still in use are learned again.
            self.folders.clear();
        }
        self.folders.push(folder);
        self.folders.len() - 1
    }
}

impl FolderRewrite {
    /// Learns a folder from the whole URI of a file. `None` if the name does not decide where it leads.
    fn learn(
        plan: &EditPlan<'_>,
        base: &UriBase<'_>,
        text: &str,
        uri: &str,
        usage: UriUsage,
        write: UriWriter,
    ) -> Option<Self> {
        let name = uri.strip_prefix(text)?;
        let (stays, AbsoluteUri { authority, mut path, tls }) = resolved(base, uri)?;
        path.truncate(path.strip_suffix(name).filter(|folder| folder.ends_with('/'))?.len());
        let key = PathHash::of(&path);
        let lead = lead(plan, stays, &AbsoluteUri { authority, path, tls }, text, usage, write);
        Some(Self { lead, path: key, text: text.to_owned(), usage })
    }
}

/// Resolves a URI; also tells whether it resolves against the manifest's own URL.
fn resolved<'b>(base: &UriBase<'b>, uri: &'b str) -> Option<(bool, AbsoluteUri<'b>)> {
    match base.reach(uri) {
        UriReach::Escapes(absolute) => Some((false, absolute)),
        UriReach::Nowhere => None,
        UriReach::Stays => Some((true, base.resolve(uri))),
    }
}

fn note(lead: &UriDestination, purpose: Purpose, at: Range<usize>, found: &mut ManifestEdits) {
    match lead {
        UriDestination::Kept => {}
        UriDestination::Left => {
            found.left += 1;
            found.facts.elsewhere |= matches!(purpose, Purpose::Manifest | Purpose::Segment);
        }
        UriDestination::To(with) => found.edit(TextEdit { at, with: with.clone() }),
    }
}

/// Decides on a URI. `text`: the URI, or its folder.
fn lead(
    plan: &EditPlan<'_>,
    stays: bool,
    to: &AbsoluteUri<'_>,
    text: &str,
    usage: UriUsage,
    write: UriWriter,
) -> UriDestination {
    let UriUsage { absolute, purpose } = usage;
    // These are edited by their paths.
    let bound = plan.all || matches!(purpose, Purpose::Assets | Purpose::Part | Purpose::Steering);
    // Only its player knows the base of a part's URIs.
    let bound = bound && (!plan.part || purpose != Purpose::Segment);
    if plan.is_own(text) || (stays && !bound) || (purpose == Purpose::Beside && names_server(text)) {
        return UriDestination::Kept;
    }
    match (plan.bind)(to, purpose).map(|bound| if absolute { plan.with_host(bound) } else { bound }) {
        None => UriDestination::Left,
        Some(bound) if bound == text => UriDestination::Kept,
        Some(bound) => UriDestination::To(write(&bound).into()),
    }
}

fn is_fetched(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Data | Purpose::Segment)
}

/// The path at its server, without the query.
pub(super) fn path(base: &UriBase<'_>, uri: &str) -> String {
    let mut path = base.resolve_any(uri).path;
    path.truncate(without_query(&path).len());
    path
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// Splits a URI into its folder and a plain name: neither the name nor its query has another meaning in any folder.
fn split(uri: &str) -> Option<(&str, &str)> {
    let end = memchr::memchr2(b'#', b'?', uri.as_bytes()).unwrap_or(uri.len());
    let (path, query) = uri.split_at_checked(end)?;
    let folder = memchr::memrchr(b'/', path.as_bytes()).map_or(0, |slash| slash + 1);
    let name = path.as_bytes().get(folder..)?;
    // A dot, also percent-encoded, may begin a step upward.
    let begins = name.first().is_some_and(|first| !matches!(first, b'%' | b'.'));
    let plain = begins && name.iter().all(|byte| NAME.has(*byte)) && query.bytes().all(|byte| QUERY.has(byte));
    if plain { uri.split_at_checked(folder) } else { None }
}

/// The characters of plain names and queries. A query may hold variables, because no value changes the path.
static NAME: Bytes = Bytes::new(b"$%(),-.0123456789=ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");
static QUERY: Bytes =
    Bytes::new(b"!$%&()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~");

/// A set of bytes.
struct Bytes([bool; 256]);

impl Bytes {
    const fn new(mut list: &[u8]) -> Self {
        let mut all = [false; 256];
        while let [byte, rest @ ..] = list {
            all[*byte as usize] = true;
            list = rest;
        }
        Self(all)
    }

    fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).is_some_and(|is| *is)
    }
}
