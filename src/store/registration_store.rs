//! Stores registered playbacks, so that a playback authorized before a restart works after it.
//!
//! A record holds the true URLs and the caller's headers, which otherwise never leave the process, so nothing of it
//! is ever shown.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::Store;
use super::record::{RecordKey, StoredRecord, expose_some, hide_some};
use crate::clock::{Clock, EpochTime};
use crate::config::{DeviceSource, EndpointUrl};
use crate::ids::PlaybackId;
use crate::registrations::{Archive, AuthorizationBlock, Registration};
use crate::secret::{Fingerprint, Secret};

#[derive(Clone, Deserialize, Serialize)]
pub struct RegistrationRecord {
    /// The authority's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<AuthorizationBlock>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_token: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_url: Option<EndpointUrl>,
    device: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Vec<u8>)>,
    pub id: PlaybackId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license_url: Option<EndpointUrl>,
    route: Arc<str>,
    #[serde(rename = "rung")]
    device_source: DeviceSource,
    /// The block's token. Before the first call to the authority only the block has it.
    #[serde(
        default,
        deserialize_with = "hide_some",
        serialize_with = "expose_some",
        skip_serializing_if = "Option::is_none"
    )]
    token: Option<Secret>,
    /// Time at which it was made, or moved to the young generation.
    pub used: EpochTime,
}

impl fmt::Debug for RegistrationRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationRecord").field("route", &self.route).finish_non_exhaustive()
    }
}

impl RegistrationRecord {
    fn of(registration: &Registration, used: EpochTime) -> Self {
        let Registration {
            authority,
            block,
            content_token,
            content_url,
            device,
            headers,
            id,
            license_url,
            route,
            device_source,
        } = registration;
        let header = |(name, value): &(HeaderName, HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
        Self {
            authority: authority.clone(),
            block: block.clone(),
            content_token: *content_token,
            content_url: content_url.clone(),
            device: device.clone(),
            headers: headers.iter().map(header).collect(),
            id: *id,
            license_url: license_url.clone(),
            route: route.clone(),
            device_source: *device_source,
            token: block.as_ref().and_then(|block| block.token.clone()),
            used,
        }
    }

    pub fn restore(self) -> Registration {
        let Self {
            authority,
            block,
            content_token,
            content_url,
            device,
            headers,
            id,
            license_url,
            route,
            device_source,
            token,
            used: _,
        } = self;
        let header = |(name, value): (String, Vec<u8>)| {
            let mut value = HeaderValue::from_bytes(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        Registration {
            authority,
            block: block.map(|block| AuthorizationBlock { token, ..block }),
            content_token,
            content_url,
            device,
            headers: headers.into_iter().filter_map(header).collect(),
            id,
            license_url,
            route,
            device_source,
        }
    }
}

/// The archive of registrations, in the store.
#[derive(Debug)]
pub struct RegistrationStore {
    pub clock: Clock,
    pub store: Arc<dyn Store>,
}

impl Archive for RegistrationStore {
    fn forget(&self, id: PlaybackId) {
        self.store.forget(RecordKey::Registration(id));
    }

    fn keep(&self, registration: &Registration) {
        let record = RegistrationRecord::of(registration, self.clock.wall().into());
        self.store.put(StoredRecord::Registration(Box::new(record)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::FieldNames;
    use crate::store::Memory;

    #[test]
    fn a_registration_comes_back_as_it_was_and_shows_nothing() {
        let reply = json!({"heartbeatFlag": true, "heartbeatToken": "hush", "heartbeatFreq": 9000, "contentId": "c1"});
        let registration = || Registration {
            authority: Some("far".into()),
            block: AuthorizationBlock::read(&reply, &FieldNames::default()),
            content_token: Some(Fingerprint::new(7)),
            content_url: EndpointUrl::parse("https://cdn.example/a.mpd?sig=hush").ok(),
            device: "tv".into(),
            headers: vec![("x-authorization".parse().unwrap(), HeaderValue::from_bytes(b"hush \xff").unwrap())],
            id: PlaybackId::from([7; 16]),
            license_url: EndpointUrl::parse("https://drm.example/l?k=hush").ok(),
            route: "/authorize".into(),
            device_source: DeviceSource::Body,
        };
        let memory = Memory::manual();
        let archive = RegistrationStore { clock: Clock, store: memory.clone() };
        archive.keep(&registration());
        memory.commit();
        let records = memory.crash().load().registrations;
        assert!(!format!("{records:?}").contains("hush"));
        let [record] = <[_; 1]>::try_from(records).unwrap();
        assert_eq!((record.device_source, record.id), (DeviceSource::Body, registration().id));
        let back = record.restore();
        let fields = |it: Registration| {
            let names = (it.authority, it.content_token, it.device, it.id, it.route, it.device_source);
            (names, it.block, it.content_url, it.headers, it.license_url)
        };
        assert!(back.headers.iter().all(|(_, value)| value.is_sensitive()));
        assert_eq!(fields(back), fields(registration()));
        archive.forget(registration().id);
        memory.commit();
        assert!(memory.is_empty());
    }
}
