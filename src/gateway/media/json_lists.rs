//! Edits the JSON lists that a manifest refers to: steering lists and lists of inserted assets.

use std::cell::Cell;

use http::{Method, Response};

use super::MediaCall;
use super::counts::{MediaKind, MediaOutcome};
use super::manifest::{FetchedManifest, NoManifest};
use super::paths::{MediaDocument, MediaTarget, PlaybackPaths};
use crate::edge::OutgoingBody;
use crate::manifest::{self, Purpose, UnfitManifest};

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
