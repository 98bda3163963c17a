//! Finds URLs that lead back to this proxy, where each call would cause another until it is refused.

use std::net::{IpAddr, SocketAddr};

use super::EndpointUrl;
use super::table_reader::TableReader;

/// Checks the URLs among `keys` of the table. `listeners` are all addresses of this process.
pub(super) fn check_urls(table: &TableReader<'_>, keys: &[&str], listeners: &[SocketAddr]) {
    for key in keys {
        let Some(Ok(endpoint)) = table.peek(key).map(|text| EndpointUrl::parse(&text)) else { continue };
        if let Some(own) = listeners.iter().find(|listener| leads_to(&endpoint, **listener)) {
            let what =
                format!("leads to {own}, where this proxy itself listens: write the URL of the server behind it");
            table.fault(key, what);
        }
    }
}

fn leads_to(endpoint: &EndpointUrl, listener: SocketAddr) -> bool {
    let port = listener.port() != 0 && endpoint.port() == listener.port();
    let named: Option<IpAddr> = match endpoint.host().parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) if endpoint.host().eq_ignore_ascii_case("localhost") => None,
        Err(_) => return false,
    };
    let own = listener.ip().to_canonical();
    port && match named {
        Some(address) => address == own || (own.is_unspecified() && address.is_loopback()),
        None => own.is_loopback() || own.is_unspecified(),
    }
}
