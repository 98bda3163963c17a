//! Finds scheme, host and port by which a caller reaches us, for the URLs that it is given.

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority as HostAndPort;

use super::Gateway;
use crate::edge::Peer;

impl Gateway {
    /// URL by which this caller reaches us, if anything tells it. Without a configured one, the caller's own name
    /// for us is good enough, because only this caller gets it.
    pub(super) fn base(&self, peer: &Peer, parts: &Parts) -> Option<String> {
        self.base_of(peer.tls, parts.uri.authority(), &parts.headers)
    }

    /// Like [`Self::base`].
    pub(super) fn base_of(&self, tls: bool, target: Option<&HostAndPort>, headers: &HeaderMap) -> Option<String> {
        if let Some(base) = &self.public_url {
            return Some(base.to_string());
        }
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = target.map(HostAndPort::as_str).or_else(host)?;
        Some(format!("{}://{host}", if tls { "https" } else { "http" }))
    }
}
