//! URLs that lead back to this very proxy: each call would call again, until it is refused.

use std::net::{IpAddr, SocketAddr};

use super::EndpointUrl;
use super::table_reader::TableReader;

/// Checks those of `keys` in the table that are URLs. `listeners` are all that this process listens on.
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
