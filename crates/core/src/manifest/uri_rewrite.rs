//! Where the URIs of a manifest lead, folder by folder.
//!
//! A manifest names thousands of files in a few folders. What is found out of one file holds for every other
//! plainly named one beside it: its URI differs in the name alone, and so does the URI by which the player
//! reaches it. So the name stays where it is in the text, and only its folder is replaced. Whatever is not
//! plain is worked out by itself ([`UriRewriter::bind_whole`]), and means the same.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::playhead::PathHash;
use super::uri::{AbsoluteUri, UriBase, UriReach, is_data, names_server};
use super::{EditPlan, ManifestEdits, Purpose, TextEdit};

/// Folders that are kept in mind; picture, sound and texts of a few servers.
const MAX_FOLDERS_REMEMBERED: usize = 8;

/// Makes a URI fit to stand in its format, one character at a time.
pub(super) type UriWriter = fn(&str) -> Cow<'_, str>;

pub(super) struct UriRewriter {
    folders: ArrayVec<FolderRewrite, MAX_FOLDERS_REMEMBERED>,
    /// Index of the one that was used last.
    newest: usize,
    write: UriWriter,
}

/// What is known of the plainly named files in one folder.
struct FolderRewrite {
    lead: UriDestination,
    /// Of its path at the server.
    path: PathHash,
    /// As the text has it; empty for the manifest's own.
    text: String,
    usage: UriUsage,
}

/// What a URI is for, and in which form it may stand there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UriUsage {
    /// With scheme and host: its format wants it so, or it may be read below a base that does not lead to us. A rooted
    /// one would be asked of that base's server, which then knows the playback's id.
    pub(super) absolute: bool,
    pub(super) purpose: Purpose,
}

/// Where one URI leads once it is edited.
pub(super) struct RewrittenUri {
    /// At its server.
    pub(super) path: String,
    pub(super) standing: BaseStanding,
}

/// What holds for relative URIs below a base.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BaseStanding {
    /// They lead past the route.
    Elsewhere,
    /// They lead where its own base leads.
    Inherited,
    /// They lead to us.
    Ours,
}

/// What becomes of a URI, or of its folder.
enum UriDestination {
    /// It stays as it is.
    Kept,
    /// It would have to be bound, but leads to a server that the route does not have.
    Left,
    To(Arc<str>),
}

/// One URI as it stands in a manifest.
pub(super) struct ManifestUri<'a> {
    /// Its first byte.
    pub(super) at: usize,
    /// Slice of the manifest.
    pub(super) raw: &'a str,
    pub(super) usage: UriUsage,
}

impl UriRewriter {
    pub(super) fn new(write: UriWriter) -> Self {
        Self { folders: ArrayVec::new(), newest: 0, write }
    }

    /// Relative URIs begin elsewhere from now on.
    pub(super) fn forget(&mut self) {
        self.folders.clear();
    }

    /// Notes the edit that keeps this URI's player on the route, and returns its path at its server, without the
    /// query, if that is `wanted`. `plain`: what it says once the format's own marks are taken off.
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

    /// As [`Self::bind`], of one that fills this part of the text and is looked at by itself. None: it is on no
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
        // It cannot be edited where it stands.
        if is_data(uri) && matches!(usage.purpose, Purpose::Assets | Purpose::Manifest | Purpose::Part) {
            note(&UriDestination::Left, usage.purpose, at, found);
            return None;
        }
        let (stays, to) = resolved(base, uri)?;
        if is_fetched(usage.purpose) {
            found.facts.endings.note(without_query(&to.path));
        }
        let mut lead = lead(plan, stays, &to, uri, usage, self.write);
        // It says which part of a manifest is meant.
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

    /// The folder of a plainly named file, and the file's name with its query.
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
            // Whatever is still in use comes back.
            self.folders.clear();
        }
        self.folders.push(folder);
        self.folders.len() - 1
    }
}

impl FolderRewrite {
    /// From the whole URI of one of its files. None if the name is no part of where it leads.
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

/// Where a URI leads, and whether it does so by binding to the manifest's own URL.
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

/// `text`: the URI, or its folder.
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
    // Where a part's own URIs begin, only its player knows.
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

/// The path that a URI leads to at its server, without the query.
pub(super) fn path(base: &UriBase<'_>, uri: &str) -> String {
    let mut path = base.resolve_any(uri).path;
    path.truncate(without_query(&path).len());
    path
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// A URI's folder, and the name behind it if that is plain: nothing in it or in its query could mean anything
/// but itself, whatever the folder.
fn split(uri: &str) -> Option<(&str, &str)> {
    let end = memchr::memchr2(b'#', b'?', uri.as_bytes()).unwrap_or(uri.len());
    let (path, query) = uri.split_at_checked(end)?;
    let folder = memchr::memrchr(b'/', path.as_bytes()).map_or(0, |slash| slash + 1);
    let name = path.as_bytes().get(folder..)?;
    // A dot, or the code of one, may begin a step upward.
    let begins = name.first().is_some_and(|first| !matches!(first, b'%' | b'.'));
    let plain = begins && name.iter().all(|byte| NAME.has(*byte)) && query.bytes().all(|byte| QUERY.has(byte));
    if plain { uri.split_at_checked(folder) } else { None }
}

/// What plain names and queries are made of. A query may hold variables: whatever stands for them, it leads to no
/// other path.
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
