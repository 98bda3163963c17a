//! `[admin]`: health, metrics and the sessions API.

use std::net::SocketAddr;

use super::table_reader::TableReader;
use super::words;
use crate::secret::Secret;

/// `[admin]`: health, metrics, sessions API.
#[derive(Debug)]
pub struct AdminSettings {
    pub listen: Option<SocketAddr>,
    /// Origins of web pages, such as dashboards, that may read the API.
    pub origins: Vec<String>,
    /// When set, `Authorization: Bearer` must carry it (health checks excepted).
    pub token: Option<Secret>,
}

pub(super) fn admin(table: &TableReader<'_>) -> AdminSettings {
    let default = SocketAddr::from(([127, 0, 0, 1], 9180));
    let address = |text: &str| if text == "off" { Ok(None) } else { words::address(text).map(Some) };
    let listen = table.word("listen", address).unwrap_or(Some(default));
    let token = table.secret("token");
    let guarded = table.has("token") || table.has("token-file");
    if listen.is_some_and(|address| !address.ip().to_canonical().is_loopback()) && !guarded {
        table.fault("listen", "can be reached from other machines: set admin.token or admin.token-file as well");
    }
    let origins = table.list("origins", "[\"https://dashboard.example\"]", words::origin).unwrap_or_default();
    AdminSettings { listen, origins, token }
}
