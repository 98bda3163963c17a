//! Sources of identity in a request: of the device, the account and the content token.

use std::fmt;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::headers::header_name;
use super::words::pair;

/// A place in a request that can name a device, an account or a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IdentitySource {
    /// `cookie:NAME`
    Cookie(String),
    /// `header:NAME`
    Header(HeaderName),
    /// `mtls`: fingerprint of the client's certificate.
    Mtls,
    /// `path-segment`: the first segment after the route's path; not passed on.
    PathSegment,
    /// `peer`: the client's IP address.
    Peer,
    /// `query:NAME`; removed from the query toward the license server.
    Query(String),
    /// `token-claim:PATH`: a claim of the content token, dots between names.
    TokenClaim(String),
}

/// The kind of the source that named a device, in the words of logs, records and the admin API.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "&'static str")]
pub enum DeviceSource {
    /// An authorize call's body.
    Body,
    Cookie,
    Header,
    Mtls,
    PathSegment,
    Peer,
    Query,
    /// The admin API, with a registration.
    Registered,
    TokenClaim,
    /// A source that this version does not know; or no device.
    #[default]
    Unknown,
}

impl DeviceSource {
    const ALL: [Self; 10] = [
        Self::Body,
        Self::Cookie,
        Self::Header,
        Self::Mtls,
        Self::PathSegment,
        Self::Peer,
        Self::Query,
        Self::Registered,
        Self::TokenClaim,
        Self::Unknown,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Mtls => "mtls",
            Self::PathSegment => "path-segment",
            Self::Peer => "peer",
            Self::Query => "query",
            Self::Registered => "registered",
            Self::TokenClaim => "token-claim",
            Self::Unknown => "unknown",
        }
    }
}

impl From<DeviceSource> for &'static str {
    fn from(source: DeviceSource) -> Self {
        source.name()
    }
}

impl From<String> for DeviceSource {
    fn from(name: String) -> Self {
        Self::ALL.into_iter().find(|source| source.name() == name).unwrap_or_default()
    }
}

impl IdentitySource {
    pub fn kind(&self) -> DeviceSource {
        match self {
            Self::Cookie(_) => DeviceSource::Cookie,
            Self::Header(_) => DeviceSource::Header,
            Self::Mtls => DeviceSource::Mtls,
            Self::PathSegment => DeviceSource::PathSegment,
            Self::Peer => DeviceSource::Peer,
            Self::Query(_) => DeviceSource::Query,
            Self::TokenClaim(_) => DeviceSource::TokenClaim,
        }
    }

    /// The query parameter that the source reads, which is not passed on.
    pub fn query_parameter(&self) -> Option<&str> {
        match self {
            Self::Query(name) => Some(name),
            Self::Cookie(_) | Self::Header(_) | Self::Mtls | Self::PathSegment | Self::Peer | Self::TokenClaim(_) => {
                None
            }
        }
    }
}

impl fmt::Display for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().name();
        match self {
            Self::Cookie(name) | Self::Query(name) | Self::TokenClaim(name) => write!(f, "{kind}:{name}"),
            Self::Header(name) => write!(f, "{kind}:{name}"),
            Self::Mtls | Self::PathSegment | Self::Peer => f.write_str(kind),
        }
    }
}

/// A place in a request that can hold the content token; the first place with one counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSource {
    /// `custom-data`: the PlayReady challenge's CustomData.
    CustomData,
    /// `header:NAME`
    Header(HeaderName),
    /// `query:NAME`; removed from the query toward the license server.
    Query(String),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CustomData => f.write_str("custom-data"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccountSource {
    /// `device`: the device is its own account.
    Device,
    /// `fixed:NAME`: the account of all callers that no earlier source has named. It always answers.
    Fixed(String),
    Request(IdentitySource),
}

/// Reads a source of accounts. A source that belongs to a route's path or to a certificate
/// can name the device, and `device` then stands for it.
pub(super) fn account_source(text: &str) -> Result<AccountSource, String> {
    match pair(text) {
        ("device", None) => Ok(AccountSource::Device),
        ("fixed", Some(name)) => Ok(AccountSource::Fixed(name.to_owned())),
        _ => group_source(text).map(AccountSource::Request).map_err(|_| {
            "must be cookie:NAME, device, fixed:NAME, header:NAME, peer, query:NAME or token-claim:PATH".to_owned()
        }),
    }
}

pub(super) fn group_source(text: &str) -> Result<IdentitySource, String> {
    match request_source(text) {
        Ok(
            source @ (IdentitySource::Cookie(_)
            | IdentitySource::Header(_)
            | IdentitySource::Peer
            | IdentitySource::Query(_)
            | IdentitySource::TokenClaim(_)),
        ) => Ok(source),
        Ok(IdentitySource::Mtls | IdentitySource::PathSegment) | Err(_) => {
            Err("must be cookie:NAME, header:NAME, peer, query:NAME or token-claim:PATH".to_owned())
        }
    }
}

pub(super) fn request_source(text: &str) -> Result<IdentitySource, String> {
    match pair(text) {
        ("cookie", Some(name)) => Ok(IdentitySource::Cookie(name.to_owned())),
        ("header", Some(name)) => header_name(name).map(IdentitySource::Header),
        ("mtls", None) => Ok(IdentitySource::Mtls),
        ("path-segment", None) => Ok(IdentitySource::PathSegment),
        ("peer", None) => Ok(IdentitySource::Peer),
        ("query", Some(name)) => Ok(IdentitySource::Query(name.to_owned())),
        ("token-claim", Some(path)) if path.split('.').all(|name| !name.is_empty()) => {
            Ok(IdentitySource::TokenClaim(path.to_owned()))
        }
        _ => {
            Err("must be cookie:NAME, header:NAME, mtls, path-segment, peer, query:NAME or token-claim:PATH".to_owned())
        }
    }
}

pub(super) fn token_source(text: &str) -> Result<TokenSource, String> {
    match pair(text) {
        ("custom-data", None) => Ok(TokenSource::CustomData),
        ("header", Some(name)) => header_name(name).map(TokenSource::Header),
        ("query", Some(name)) => Ok(TokenSource::Query(name.to_owned())),
        _ => Err("must be custom-data, header:NAME or query:NAME".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_source_is_written_and_read_in_its_word() {
        let words = DeviceSource::ALL.map(DeviceSource::name);
        let expected = "body cookie header mtls path-segment peer query registered token-claim unknown";
        assert_eq!(words.join(" "), expected);
        for source in DeviceSource::ALL {
            let written = serde_json::to_string(&source).unwrap();
            assert_eq!(written, format!("\"{}\"", source.name()));
            assert_eq!(serde_json::from_str::<DeviceSource>(&written).unwrap(), source);
        }
        assert_eq!(DeviceSource::from("of another version".to_owned()), DeviceSource::Unknown);
        for (text, word) in
            [("path-segment", "path-segment"), ("header:x-id", "header"), ("token-claim:id", "token-claim")]
        {
            let source = request_source(text).unwrap();
            assert_eq!((source.kind().name(), source.to_string().as_str()), (word, text));
        }
    }

    #[test]
    fn device_sources_and_token_sources_are_read() {
        let name = HeaderName::from_static("x-device-id");
        for (text, word) in [
            ("cookie:Device", Some(IdentitySource::Cookie("Device".into()))),
            ("header:X-Device-Id", Some(IdentitySource::Header(name.clone()))),
            ("mtls", Some(IdentitySource::Mtls)),
            ("path-segment", Some(IdentitySource::PathSegment)),
            ("peer", Some(IdentitySource::Peer)),
            ("query:device", Some(IdentitySource::Query("device".into()))),
            ("token-claim:device.deviceId", Some(IdentitySource::TokenClaim("device.deviceId".into()))),
            ("token-claim:device..deviceId", None),
            ("header:", None),
            ("header", None),
            ("header:a b", None),
            ("header:host", None),
            ("peer:1", None),
            ("", None),
        ] {
            assert_eq!(request_source(text).ok(), word, "{text}");
        }
        assert_eq!(token_source("custom-data"), Ok(TokenSource::CustomData));
        assert_eq!(token_source("header:X-Device-Id"), Ok(TokenSource::Header(name)));
        assert_eq!(token_source("query:token"), Ok(TokenSource::Query("token".into())));
        assert_eq!(token_source("cookie:token"), Err("must be custom-data, header:NAME or query:NAME".into()));
    }

    #[test]
    fn account_sources_and_group_sources_are_read() {
        assert_eq!(account_source("device"), Ok(AccountSource::Device));
        assert_eq!(account_source("peer"), Ok(AccountSource::Request(IdentitySource::Peer)));
        assert_eq!(account_source("fixed:home"), Ok(AccountSource::Fixed("home".to_owned())));
        for text in ["mtls", "path-segment", "account", "fixed", "fixed:", "fixed:a b", "header:", ""] {
            assert!(account_source(text).is_err() && group_source(text).is_err(), "{text}");
        }
        assert!(group_source("device").is_err());
    }
}
