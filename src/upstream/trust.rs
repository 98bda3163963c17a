//! Whom we believe to be the server: the public roots, or a CA file for named endpoints.
//!
//! Owns the TLS client configurations, so that all runtimes share their session caches. Built once
//! from the configuration, then cloned into every pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::Endpoint;

#[derive(Clone)]
pub struct Trust {
    pinned: Vec<Pinned>,
    public: Arc<ClientConfig>,
}

#[derive(Clone)]
struct Pinned {
    ca: PathBuf,
    config: Arc<ClientConfig>,
    host: String,
    port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum TrustFault {
    #[error("{host}:{port} is given two different CA files")]
    Conflict { host: String, port: u16 },
    #[error("{ca}: holds no certificate in PEM form that can be used as a CA", ca = .0.display())]
    NoCertificate(PathBuf),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{ca}: cannot be read: {reason}", ca = .ca.display())]
    Unreadable { ca: PathBuf, reason: String },
}

impl Trust {
    /// The roots that browsers trust, as compiled in.
    pub fn public() -> Result<Self, TrustFault> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self { pinned: Vec::new(), public: Arc::new(config(roots)?) })
    }

    /// Every connection to the endpoint's host and port trusts this CA file in place of the public
    /// roots, whatever the path: one server shows one certificate.
    pub fn pin(&mut self, endpoint: &Endpoint, ca: &Path) -> Result<(), TrustFault> {
        let (host, port) = (endpoint.host().to_owned(), endpoint.port());
        if let Some(known) = self.pinned_for(endpoint) {
            return if known.ca == ca { Ok(()) } else { Err(TrustFault::Conflict { host, port }) };
        }
        let config = match self.pinned.iter().find(|pinned| pinned.ca == ca) {
            Some(pinned) => Arc::clone(&pinned.config),
            None => Arc::new(config(read(ca)?)?),
        };
        self.pinned.push(Pinned { ca: ca.to_owned(), config, host, port });
        Ok(())
    }

    pub(super) fn config_for(&self, endpoint: &Endpoint) -> Arc<ClientConfig> {
        Arc::clone(self.pinned_for(endpoint).map_or(&self.public, |pinned| &pinned.config))
    }

    fn pinned_for(&self, endpoint: &Endpoint) -> Option<&Pinned> {
        let same =
            |pinned: &&Pinned| pinned.port == endpoint.port() && pinned.host.eq_ignore_ascii_case(endpoint.host());
        self.pinned.iter().find(same)
    }
}

fn read(ca: &Path) -> Result<RootCertStore, TrustFault> {
    let unreadable =
        |error: rustls::pki_types::pem::Error| TrustFault::Unreadable { ca: ca.to_owned(), reason: error.to_string() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|_| TrustFault::NoCertificate(ca.to_owned()))?;
    }
    if roots.is_empty() {
        return Err(TrustFault::NoCertificate(ca.to_owned()));
    }
    Ok(roots)
}

fn config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).unwrap()
    }

    #[test]
    fn a_pin_holds_for_its_host_and_port_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one.pem", "two.pem"].map(|name| directory.path().join(name));
        for file in [&one, &two] {
            let made = rcgen::generate_simple_self_signed(vec!["ca".into()]).unwrap();
            std::fs::write(file, made.cert.pem()).unwrap();
        }
        let mut trust = Trust::public().unwrap();
        trust.pin(&endpoint("https://a.example/x"), &one).unwrap();
        trust.pin(&endpoint("https://A.example:443/y"), &one).unwrap();
        trust.pin(&endpoint("https://b.example"), &one).unwrap();
        assert!(matches!(trust.pin(&endpoint("https://a.example"), &two), Err(TrustFault::Conflict { .. })));

        let config = |url: &str| trust.config_for(&endpoint(url));
        assert!(Arc::ptr_eq(&config("https://a.example/z"), &config("https://b.example")));
        assert!(!Arc::ptr_eq(&config("https://a.example"), &trust.public));
        assert!(Arc::ptr_eq(&config("https://a.example:8443"), &trust.public));
        assert!(Arc::ptr_eq(&config("https://c.example"), &trust.public));
    }

    #[test]
    fn a_file_without_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let mut trust = Trust::public().unwrap();
        assert!(matches!(trust.pin(&endpoint("https://a"), &file), Err(TrustFault::Unreadable { .. })));
        for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            assert!(matches!(trust.pin(&endpoint("https://a"), &file), Err(TrustFault::NoCertificate(_))), "{text}");
        }
    }
}
