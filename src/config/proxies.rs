//! Which proxies in front of us are believed when they say for whom they call.

use std::net::IpAddr;

use ipnet::IpNet;

/// `server.trusted-proxies`: addresses and networks (CIDR). Nobody, unless told otherwise.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// `address` in its canonical form: an IPv4-mapped one is IPv4.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it believes every address there is, so that anybody can claim to be anybody.
    pub fn trusts_everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }
}

/// `server.forwarded-header`: which header of a trusted proxy names the viewer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardedHeader {
    /// Whichever is there. If both are, they must agree.
    #[default]
    Any,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`
    XForwardedFor,
}
