//! The options with which a simulated head-end is started.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::settings::Settings;
use sidebeat_core::secret::Secret;

/// A key that ClearKey licenses give away. `Debug` shows only its id.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ClearKey {
    pub id: [u8; 16],
    pub key: [u8; 16],
}

impl ClearKey {
    pub const fn new(id: u128, key: u128) -> Self {
        Self { id: id.to_be_bytes(), key: key.to_be_bytes() }
    }
}

impl fmt::Debug for ClearKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClearKey({:032x})", u128::from_be_bytes(self.id))
    }
}

/// The two keys of the demo content; the first is the channel's as well.
pub const DEMO_KEYS: [ClearKey; 2] = [
    ClearKey::new(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff, 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f),
    ClearKey::new(0xffee_ddcc_bbaa_9988_7766_5544_3322_1100, 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
];

/// A file embedded in the program.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedFile {
    pub bytes: &'static [u8],
    pub media_type: &'static str,
    /// Request path of the file, beginning with `/`.
    pub path: &'static str,
}

#[derive(Debug)]
pub struct Options {
    pub clear_keys: Vec<ClearKey>,
    /// Folder that is served under `/content/`.
    pub content: Option<PathBuf>,
    pub embeds: &'static [EmbeddedFile],
    /// Address for cleartext HTTP/1.1.
    pub listen: SocketAddr,
    /// Signs every token; random if absent.
    pub secret: Option<Secret>,
    pub settings: Settings,
    /// First segment of every service path, and the tokens' `kid`.
    pub tenant: String,
    pub tls: Option<HeadendTls>,
}

impl Options {
    /// Tenant `DEMO`, demo keys, a random secret, no content, no TLS.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            clear_keys: DEMO_KEYS.to_vec(),
            content: None,
            embeds: &[],
            listen,
            secret: None,
            settings: Settings::default(),
            tenant: "DEMO".to_owned(),
            tls: None,
        }
    }
}

#[derive(Debug)]
pub struct HeadendTls {
    /// PEM, the leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    pub listen: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_keys_are_the_published_ones() {
        assert_eq!(format!("{:?}", DEMO_KEYS[0]), "ClearKey(00112233445566778899aabbccddeeff)");
        assert_eq!(DEMO_KEYS.map(|demo| (demo.id[1], demo.key[1])), [(0x11, 0x01), (0xee, 0x0e)]);
    }
}
