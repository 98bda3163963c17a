//! Reads `#EXT-X-DEFINE`: variables of a playlist, its own and imported ones. The HLS parser calls it.
//!
//! Variables are substituted where a URI with them is bound, and never changed where they are defined: the same one may
//! occur in a query, where its server needs the value, and other servers must not learn of the playback.

use std::borrow::Cow;

use super::HlsReader;
use super::attributes::attributes;
use super::variables::query_value;
use crate::manifest::{MAX_EXPANDED_URI_BYTES, Purpose, UnfitManifest};

/// Limit of variables in a playlist. An unknown one could lead past the route unseen, so more are refused.
const MAX_VARIABLES: usize = 64;

impl<'a> HlsReader<'a> {
    pub(super) fn define(&mut self, value: &'a str) -> Result<(), UnfitManifest> {
        let find = |name| attributes(value).find(|(key, _)| *key == name).map(|(_, value)| value);
        let known = match (find("NAME"), find("VALUE"), find("QUERYPARAM"), find("IMPORT")) {
            (Some(name), Some(value), ..) => Some((name, Cow::Borrowed(value))),
            (_, _, Some(name), _) => query_value(self.plan.query, name).map(|value| (name, value)),
            (.., Some(name)) => self.imported(name).map(|value| (name, Cow::Borrowed(value))),
            _ => None,
        };
        let Some((name, value)) = known else { return Ok(()) };
        if self.variables.len() == MAX_VARIABLES {
            return Err(UnfitManifest::Many);
        }
        self.variables.push((name, value));
        self.places.forget();
        Ok(())
    }

    fn imported(&self, name: &str) -> Option<&'a str> {
        let imports: &'a [(String, String)] = self.plan.imports;
        imports.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Handles a URI of which only the player knows where it leads.
    pub(super) fn unknown(&mut self, purpose: Purpose) -> Result<(), UnfitManifest> {
        // The caller removes the steering tag.
        if purpose == Purpose::Steering {
            return Ok(());
        }
        if self.plan.strict {
            return Err(UnfitManifest::Variable);
        }
        self.found.left += 1;
        self.found.facts.elsewhere |= matches!(purpose, Purpose::Manifest | Purpose::Segment);
        Ok(())
    }

    /// The variables that the named playlists may import. Values longer than any URI are omitted, because they are of
    /// no use there.
    pub(super) fn exported(&self) -> Vec<(String, String)> {
        let fits = |(_, value): &&(&str, Cow<'_, str>)| value.len() <= MAX_EXPANDED_URI_BYTES;
        self.variables
            .iter()
            .filter(fits)
            .map(|(name, value)| ((*name).to_owned(), value.clone().into_owned()))
            .collect()
    }
}
