//! Fetches a manifest whole and edits it for its playback. Caches never keep the result.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::classify::{self, MediaReply};
use super::fetch::{self, OriginFailure};
use super::manifest_edit::{EditJob, EditedManifest, MAX_INLINE_EDIT_BYTES};
use super::paths::{MediaDocument, MediaTarget, PlaybackPaths};
use super::replies::{MediaKind, MediaOutcome};
use super::{MediaCall, UNKNOWN_MEDIA, told};
use crate::edge::own_replies::EdgeRefusal;
use crate::edge::{OutgoingBody, ReplyBody, body, passed_on};
use crate::manifest::{self, ManifestFormat, Purpose, SniffedBody, UnfitManifest};
use crate::upstream::{CallPhase, UpstreamFault};

/// A manifest from its server.
pub(super) struct FetchedManifest {
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
}

/// Reasons why no manifest can be sent.
pub(super) enum NoManifest {
    /// Too many manifests are being edited.
    Busy,
    Failure(OriginFailure),
    /// The server's reply is no success and is passed on unchanged.
    Reply(Box<MediaReply>),
    Unfit(UnfitManifest),
}

impl MediaCall<'_> {
    /// Answers with the edited manifest. `came` is the reply, if one has begun to come and turned out to be a
    /// manifest.
    pub(super) async fn manifest(
        &self,
        map: &PlaybackPaths<'_>,
        target: &MediaTarget,
        came: Option<MediaReply>,
    ) -> Response<OutgoingBody> {
        if self.request.method == Method::HEAD {
            return self.head(map, target).await;
        }
        let fetched = match came {
            Some(reply) => self.gathered(reply, target).await,
            None => self.whole(target).await,
        };
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(instead) => return self.instead(map, target, instead),
        };
        // The kill may have come while the server held the manifest back.
        if let Some(refusal) = self.killed() {
            return self.ended_or_turned(MediaKind::Manifest, target, &refusal, Some(fetched)).await;
        }
        // The first bytes decide, whatever path and type say.
        let (format, part) = match manifest::sniff(&fetched.body, true) {
            _ if target.document == MediaDocument::Part => (ManifestFormat::Dash, true),
            SniffedBody::Manifest(format) => (format, false),
            SniffedBody::Part => (ManifestFormat::Dash, true),
            SniffedBody::More | SniffedBody::Other => return self.foreign(fetched),
        };
        let mut target = target.clone();
        if part {
            target.document = MediaDocument::Part;
        }
        let target = &target;
        match self.edited(map, target, format, &fetched.body, (false, None)).await {
            Ok((body, mut facts)) => {
                let (live, playheads) = (facts.live, std::mem::take(&mut facts.playheads));
                self.playback.learned().note_playheads(&target.path, playheads);
                // A part's facts would be taken for those of the whole manifest.
                if !part {
                    self.playback.learned().note(&target.path, format, &fetched.body, facts);
                }
                if live != Some(false) {
                    // Only now is it known that the stream is live, and when the player is seen again. A playlist
                    // of playlists says neither; another may.
                    let _known = self.flow(false, None);
                }
                self.got();
                self.count(MediaKind::Manifest, MediaOutcome::Passed);
                self.sent(body, fetched.headers)
            }
            Err(NoManifest::Unfit(UnfitManifest::Foreign)) => self.foreign(fetched),
            Err(instead) => self.instead(map, target, instead),
        }
    }

    /// Passes on a reply that is no manifest though one was asked for, mostly an error text. It leads nowhere, so
    /// it needs no edit.
    fn foreign(&self, fetched: FetchedManifest) -> Response<OutgoingBody> {
        self.gateway.telemetry.metrics.manifest_unfit(&self.route.path, UnfitManifest::Foreign.name());
        if self.media.strict {
            return self.refused(MediaKind::Other, UNKNOWN_MEDIA);
        }
        self.count(MediaKind::Other, MediaOutcome::Passed);
        self.sent(fetched.body, fetched.headers)
    }

    /// Ends a killed live playlist behind the last segment that its player knows; `None` if that is impossible.
    /// `fetched` is the manifest, if it has come already.
    pub(super) async fn ended(
        &self,
        target: &MediaTarget,
        fetched: Option<FetchedManifest>,
    ) -> Option<Response<OutgoingBody>> {
        let (live, tail) = {
            let learned = self.playback.learned();
            (learned.is_live(), learned.tail(&target.path))
        };
        let (true, Some(tail), true) = (live, tail, self.request.method == Method::GET) else { return None };
        let FetchedManifest { body, headers } = match fetched {
            Some(fetched) => fetched,
            None => self.whole(target).await.ok()?,
        };
        let map = self.map(None);
        let ended = self.edited(&map, target, ManifestFormat::Hls, &body, (false, Some(tail.next)));
        let (body, _) = ended.await.ok()?;
        self.count(MediaKind::Manifest, MediaOutcome::Ended);
        Some(self.sent(body, headers))
    }

    pub(super) async fn head(&self, map: &PlaybackPaths<'_>, target: &MediaTarget) -> Response<OutgoingBody> {
        let fetched = self.fetch(target, true).await;
        if let Some(refusal) = self.killed() {
            return self.turned(MediaKind::Manifest, &refusal);
        }
        match fetched {
            Ok(streamed) => {
                let mut reply = MediaReply::from(streamed);
                // A GET would get the body decoded.
                fetch::decoded(&mut reply.headers, false);
                fetch::edited(&mut reply.headers);
                self.count(MediaKind::Manifest, MediaOutcome::Passed);
                self.onward(map, target, reply)
            }
            Err(failure) => self.failed(MediaKind::Manifest, &failure),
        }
    }

    /// Fetches the manifest within the route's bounds of size and time.
    pub(super) async fn whole(&self, target: &MediaTarget) -> Result<FetchedManifest, NoManifest> {
        let reply = MediaReply::from(self.fetch(target, true).await.map_err(NoManifest::Failure)?);
        if reply.status.is_success() {
            self.gathered(reply, target).await
        } else {
            Err(NoManifest::Reply(Box::new(reply)))
        }
    }

    /// Reads the body, decodes it and converts it to UTF-8.
    async fn gathered(&self, reply: MediaReply, target: &MediaTarget) -> Result<FetchedManifest, NoManifest> {
        let MediaReply { body, mut headers, .. } = reply;
        let body = body::collect(body, self.media.manifest_max, self.stall_timeout(&target.path)).await;
        let body = body.map_err(|fault| match fault {
            // Only players' calls wait for a place, so `Break` and `Refuse` do not occur here.
            body::BodyFault::Break | body::BodyFault::Refuse(_) => {
                NoManifest::Failure(OriginFailure::Fault(UpstreamFault::Reset))
            }
            body::BodyFault::Exceed => NoManifest::Unfit(UnfitManifest::Large),
            body::BodyFault::Stall => {
                NoManifest::Failure(OriginFailure::Fault(UpstreamFault::Slow { phase: CallPhase::Body }))
            }
        })?;
        let encodings: Vec<String> = classify::encoding_values(&headers).map(str::to_owned).collect();
        let (charset, most) = (fetch::charset(&headers).map(str::to_owned), self.media.manifest_max);
        let bytes = body.len();
        let decode = move || {
            let names = manifest::encodings(encodings.iter().map(String::as_str));
            manifest::utf8(manifest::decoded(&names, body, most)?, charset.as_deref())
        };
        // A few encoded bytes may expand to many.
        let encoded = headers.contains_key(CONTENT_ENCODING);
        let text = self.heavy(if encoded { usize::MAX } else { bytes }, decode).await?.map_err(NoManifest::Unfit)?;
        if encoded || text.converted {
            fetch::decoded(&mut headers, text.converted);
        }
        Ok(FetchedManifest { body: text.bytes, headers })
    }

    pub(super) fn instead(
        &self,
        map: &PlaybackPaths<'_>,
        target: &MediaTarget,
        instead: NoManifest,
    ) -> Response<OutgoingBody> {
        match instead {
            NoManifest::Busy => {
                self.gateway.telemetry.metrics.manifest_unfit(&self.route.path, "busy");
                self.count(MediaKind::Manifest, MediaOutcome::Failed);
                told(BUSY)
            }
            NoManifest::Failure(failure) => self.failed(MediaKind::Manifest, &failure),
            NoManifest::Reply(streamed) => {
                self.count(MediaKind::Manifest, MediaOutcome::Passed);
                self.onward(map, target, *streamed)
            }
            // An unedited manifest would lead the player past us.
            NoManifest::Unfit(unfit) => {
                self.gateway.telemetry.metrics.manifest_unfit(&self.route.path, unfit.name());
                self.count(MediaKind::Manifest, MediaOutcome::Refused);
                if self.gateway.telemetry.may_write_about("manifest unfit", &self.route.path) {
                    tracing::warn!(route = &*self.route.path, "{unfit}");
                }
                told(MANIFEST)
            }
        }
    }

    /// Edits a manifest for this playback. `moved` is true if the player asked at another path than the
    /// manifest's. For `end` see [`manifest::EditPlan::end`].
    pub(super) async fn edited(
        &self,
        map: &PlaybackPaths<'_>,
        target: &MediaTarget,
        format: ManifestFormat,
        text: &Bytes,
        (moved, end): (bool, Option<u64>),
    ) -> Result<(Bytes, manifest::ManifestFacts), NoManifest> {
        let job = EditJob {
            end,
            format,
            imports: if format == ManifestFormat::Hls { self.playback.learned().variables.clone() } else { Vec::new() },
            license: self.license(),
            moved,
            playheads: self.playback.tells.load(Ordering::Relaxed),
            query: self.request.uri.query().map(str::to_owned),
            registration: self.registration.clone(),
            route: self.route.clone(),
            site: self.gateway.base(self.peer, self.request),
            slate: map.slate.cloned(),
            target: target.clone(),
            text: text.clone(),
        };
        let edited = self.heavy(text.len(), move || job.run()).await?;
        let EditedManifest { body, facts, left } = edited.map_err(NoManifest::Unfit)?;
        self.count_left(left);
        Ok((body, facts))
    }

    /// Counts the URIs of one document that lead past the route.
    pub(super) fn count_left(&self, left: usize) {
        if left > 0 {
            self.gateway.telemetry.metrics.manifest_unfit(&self.route.path, "left");
            tracing::debug!(route = &*self.route.path, left, "URIs lead to servers that the route does not have");
        }
    }

    /// Runs work on a text of so many bytes. A large one runs elsewhere, because it would delay every other
    /// player of this thread.
    pub(super) async fn heavy<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoManifest> {
        if bytes <= MAX_INLINE_EDIT_BYTES {
            return Ok(work());
        }
        self.gateway.tasks.heavy(work).await.map_err(|_busy| NoManifest::Busy)
    }

    /// URL by which this playback asks for licenses.
    fn license(&self) -> Option<String> {
        let (license, segment) = (self.media.license_route.as_deref()?, self.registration.id.segment());
        if !license.starts_with('/') {
            return Some(format!("{license}{segment}"));
        }
        let base = self.gateway.base(self.peer, self.request)?;
        Some(format!("{base}{}{segment}", license.trim_end_matches('/')))
    }

    pub(super) fn sent(&self, body: Bytes, mut headers: HeaderMap) -> Response<OutgoingBody> {
        fetch::edited(&mut headers);
        passed_on(StatusCode::OK, headers, OutgoingBody::from(ReplyBody::new(body)))
    }

    pub(super) fn sent_as(&self, format: ManifestFormat, text: String) -> Response<OutgoingBody> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
        self.sent(text.into(), headers)
    }
}

const BUSY: EdgeRefusal =
    super::refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many large manifests are being edited");
const MANIFEST: EdgeRefusal = super::refusal(StatusCode::FORBIDDEN, "manifest_unfit", "the manifest cannot be used");

/// The playback's path for a redirect of the origin. A document that is edited in a special way keeps its mark.
pub(super) fn bound(map: &PlaybackPaths<'_>, target: &MediaTarget, location: &str) -> Option<String> {
    let absolute = target.base().absolute(location)?;
    map.bind(&absolute, target.document.purpose(), target.slate)
}

/// A list has a handful of pathways or clips. It is read on the thread that serves players.
const MAX_LIST_BYTES: usize = 64 * 1024;

impl MediaCall<'_> {
    pub(super) async fn list(&self, map: &PlaybackPaths<'_>, target: &MediaTarget) -> Response<OutgoingBody> {
        if self.request.method == Method::HEAD {
            return self.head(map, target).await;
        }
        let FetchedManifest { body, headers } = match self.whole(target).await {
            Ok(fetched) => fetched,
            Err(instead) => return self.instead(map, target, instead),
        };
        if let Some(refusal) = self.killed() {
            return self.turned(MediaKind::Manifest, &refusal);
        }
        if body.len() > MAX_LIST_BYTES {
            return self.instead(map, target, NoManifest::Unfit(UnfitManifest::Large));
        }
        let base = target.base();
        let list = match target.document {
            MediaDocument::Assets => self.assets(map, target, &body),
            MediaDocument::Media | MediaDocument::Part => None,
            MediaDocument::Steering => {
                manifest::steered(&body, |uri| map.bind(&base.absolute(uri)?, Purpose::Steering, false))
            }
        };
        match list {
            Some(list) => {
                self.count(MediaKind::Manifest, MediaOutcome::Passed);
                self.sent(list.into(), headers)
            }
            None => self.instead(map, target, NoManifest::Unfit(UnfitManifest::Broken)),
        }
    }

    /// Edits an asset list. Its URIs become absolute, because the format demands that.
    fn assets(&self, map: &PlaybackPaths<'_>, target: &MediaTarget, list: &[u8]) -> Option<String> {
        let (base, left) = (target.base(), Cell::new(0));
        let site = self.gateway.base(self.peer, self.request).unwrap_or_default();
        let list = manifest::asset_list(list, |uri| {
            let to = base.absolute(uri)?;
            let bound = map.bind(&to, Purpose::Manifest, target.slate);
            left.set(left.get() + usize::from(bound.is_none()));
            bound.map(|path| format!("{site}{path}"))
        });
        self.count_left(left.get());
        list
    }
}
