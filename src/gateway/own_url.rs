//! How a caller reaches us: scheme, host and port of the URLs that it is given.

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority as HostAndPort;

use super::Gateway;
use crate::edge::Peer;

impl Gateway {
    /// How this caller reaches us, if anything says. Its own name for us is good enough where none is
    /// configured: it is told to nobody else.
    pub(super) fn base(&self, peer: &Peer, parts: &Parts) -> Option<String> {
        self.base_of(peer.tls, parts.uri.authority(), &parts.headers)
    }

    /// As [`Self::base`].
    pub(super) fn base_of(&self, tls: bool, target: Option<&HostAndPort>, headers: &HeaderMap) -> Option<String> {
        if let Some(base) = &self.public_url {
            return Some(base.to_string());
        }
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = target.map(HostAndPort::as_str).or_else(host)?;
        Some(format!("{}://{host}", if tls { "https" } else { "http" }))
    }
}
