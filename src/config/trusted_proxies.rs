//! `trusted-proxies` and `forwarded-header` of `[server]`: the proxies in front of us that may name the viewer of a
//! call.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::table_reader::TableReader;

/// `server.trusted-proxies`: addresses and networks (CIDR). Empty by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// True if the address is trusted. `address` must be canonical: IPv4-mapped ones as IPv4.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if every address is trusted, so that any caller can claim any address.
    pub fn trusts_everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }
}

/// `server.forwarded-header`: the header of a trusted proxy that names the viewer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardedHeader {
    /// Either header. If both are present, they must agree.
    #[default]
    Any,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`
    XForwardedFor,
}

const FORWARDED_HEADER_WORDS: [(&str, ForwardedHeader); 3] = [
    ("any", ForwardedHeader::Any),
    ("forwarded", ForwardedHeader::Forwarded),
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
];

pub(super) fn forwarded_header(table: &TableReader<'_>, trusted: &TrustedProxies) -> ForwardedHeader {
    let header = table.choice("forwarded-header", &FORWARDED_HEADER_WORDS).unwrap_or_default();
    if header != ForwardedHeader::Any && trusted.is_empty() && !table.has("trusted-proxies") {
        table.fault("forwarded-header", "needs server.trusted-proxies: the header of anybody else is not read");
    }
    header
}

pub(super) fn trusted_proxies(table: &TableReader<'_>) -> TrustedProxies {
    let networks = table.list("trusted-proxies", "[\"10.0.0.2\", \"172.16.0.0/12\"]", network);
    let trusted = TrustedProxies::new(networks.unwrap_or_default());
    if trusted.trusts_everybody() {
        table.warn("trusted-proxies", "trusts everybody: any player can claim any address");
    }
    trusted
}

/// Reads an address or a CIDR network. A network of IPv4-mapped addresses becomes its IPv4 network.
fn network(text: &str) -> Result<IpNet, String> {
    const EXPECTED: &str = "must be an IP address or a network, such as \"10.0.0.2\" or \"10.0.0.0/8\"";
    let read = || Some(if text.contains('/') { text.parse().ok()? } else { IpNet::from(text.parse::<IpAddr>().ok()?) });
    let network: IpNet = read().ok_or(EXPECTED)?;
    let IpNet::V6(six) = network else { return Ok(network) };
    match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) {
        (Some(four), Some(prefix)) => Ipv4Net::new(four, prefix).map(IpNet::V4).map_err(|_| EXPECTED.to_owned()),
        (Some(_), None) | (None, _) => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_proxy_is_an_address_or_a_network() {
        for (text, inside, outside) in [
            ("10.0.0.2", "10.0.0.2", "10.0.0.3"),
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            // As `ip addr` shows it.
            ("172.17.0.1/16", "172.17.9.9", "172.18.0.1"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::ffff:192.0.2.0/120", "192.0.2.7", "192.0.3.7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
        ] {
            let network = network(text).unwrap();
            assert!(network.contains(&inside.parse::<IpAddr>().unwrap()), "{text}");
            assert!(!network.contains(&outside.parse::<IpAddr>().unwrap()), "{text}");
        }
        for text in
            ["", "proxy", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.1:80", "::1/129", "[::1]", "*", "fe80::1%lo"]
        {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
