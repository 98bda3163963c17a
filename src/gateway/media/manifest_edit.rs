//! An edit of a manifest as a value, so that a large one can run on another thread.

use std::sync::Arc;

use bytes::Bytes;

use super::paths::{MediaDocument, MediaTarget, PlaybackPaths};
use crate::config::EndpointUrl;
use crate::gateway::route::GatewayRoute;
use crate::manifest::{
    self, AbsoluteUri, CmcdRequest, EditPlan, ManifestEdits, ManifestFacts, ManifestFormat, Purpose, UnfitManifest,
};
use crate::registrations::Registration;
use crate::secret::Fingerprint;

/// Larger manifests are edited on another thread. This size takes well under a millisecond, a few at worst.
pub(super) const MAX_INLINE_EDIT_BYTES: usize = 64 * 1024;

pub(super) struct EditJob {
    /// See [`EditPlan::end`].
    pub(super) end: Option<u64>,
    pub(super) format: ManifestFormat,
    /// See [`EditPlan::imports`].
    pub(super) imports: Vec<(String, String)>,
    /// URL by which this playback asks for licenses.
    pub(super) license: Option<String>,
    /// True if the player asked at another path than the manifest's.
    pub(super) moved: bool,
    pub(super) playheads: bool,
    /// Query of the player's request.
    pub(super) query: Option<String>,
    pub(super) registration: Arc<Registration>,
    pub(super) route: Arc<GatewayRoute>,
    /// Scheme, host and port by which the player reached us.
    pub(super) site: Option<String>,
    pub(super) slate: Option<EndpointUrl>,
    pub(super) target: MediaTarget,
    pub(super) text: Bytes,
}

pub(super) struct EditedManifest {
    pub(super) body: Bytes,
    pub(super) facts: ManifestFacts,
    /// Number of URIs that lead to servers that the route does not have.
    pub(super) left: usize,
}

impl EditJob {
    /// Edits the manifest. Relative URIs of an MPD are bound as well if there is room, because some players
    /// resolve them against the URL that they asked for first, not against the playback's own.
    pub(super) fn run(&self) -> Result<EditedManifest, UnfitManifest> {
        let whole = self.format == ManifestFormat::Dash && self.target.document != MediaDocument::Part;
        match self.edit(whole) {
            Err(UnfitManifest::Grows) if whole => self.edit(false),
            edited => edited,
        }
    }

    fn edit(&self, relative: bool) -> Result<EditedManifest, UnfitManifest> {
        // Only routes with media come here.
        let media = self.route.config.media().ok_or(UnfitManifest::Broken)?;
        let (route, registration) = (&*self.route, &*self.registration);
        let map = PlaybackPaths { media, registration, route, slate: self.slate.as_ref() };
        let own = map.own();
        let session = format!("{:016x}", Fingerprint::of(own.as_bytes()).get());
        let content = format!("{:016x}", Fingerprint::of(self.target.path.as_bytes()).get());
        let cmcd = CmcdRequest { content: &content, session: &session };
        let plan = EditPlan {
            all: relative || self.moved || media.direct,
            base: self.target.base(),
            bind: &|to: &AbsoluteUri<'_>, purpose: Purpose| map.bind(to, purpose, self.target.slate),
            cmcd: Some(&cmcd).filter(|_| media.inject_cmcd),
            end: self.end,
            imports: &self.imports,
            license: self.license.as_deref(),
            own: &own,
            part: self.target.document == MediaDocument::Part,
            playheads: self.playheads,
            query: self.query.as_deref(),
            site: self.site.as_deref(),
            strict: media.strict,
        };
        let ManifestEdits { edits, facts, left, .. } =
            manifest::read(self.format, &self.text, &plan, media.manifest_max)?;
        Ok(EditedManifest { body: manifest::apply(&self.text, &edits)?, facts, left })
    }
}
