//! Decides which servers are trusted: by the public roots, or by a CA file for named endpoints.
//!
//! Owns the TLS client configurations, so that all runtimes share their session caches. Cloned into every pool; a
//! reload changes it for all.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::config::EndpointUrl;

#[derive(Clone)]
pub struct Trust(Arc<ArcSwap<Pins>>);

/// All that is trusted, read and checked.
#[derive(Clone)]
pub struct Pins {
    pinned: Vec<Pinned>,
    public: Arc<PublicTls>,
}

/// Trusts the public roots; made for the first server that needs them, because many processes call none.
struct PublicTls {
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    made: OnceLock<Arc<ClientConfig>>,
}

#[derive(Clone)]
struct Pinned {
    ca: PathBuf,
    /// Content of the file.
    certificates: Arc<[CertificateDer<'static>]>,
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
    /// Trusts the roots that browsers trust, as compiled in.
    pub fn public() -> Result<Self, TrustFault> {
        let public = PublicTls { builder: builder()?, made: OnceLock::new() };
        let pins = Pins { pinned: Vec::new(), public: Arc::new(public) };
        Ok(Self(Arc::new(ArcSwap::from_pointee(pins))))
    }

    /// Reads the CA files of all endpoints that are called from now on, each with its file or none, and `note`s each
    /// fault with its file. A server that is not among them keeps its pin, because earlier calls and running sessions
    /// need it. The result has no effect before [`Self::take`].
    pub fn prepare<'a>(
        &self,
        named: impl IntoIterator<Item = (&'a EndpointUrl, Option<&'a Path>)>,
        mut note: impl FnMut(&Path, TrustFault),
    ) -> Pins {
        let before = self.0.load();
        let mut pins = Pins { pinned: Vec::new(), public: Arc::clone(&before.public) };
        let mut named_at = Vec::new();
        for (endpoint, ca) in named {
            named_at.push(endpoint);
            if let Some(ca) = ca
                && let Err(fault) = pins.pin(endpoint, ca, &before)
            {
                note(ca, fault);
            }
        }
        let unnamed = |pinned: &&Pinned| !named_at.iter().any(|endpoint| pinned.is_for(endpoint));
        pins.pinned.extend(before.pinned.iter().filter(unnamed).cloned());
        pins
    }

    /// Like [`Self::prepare`]: the pins, or the first fault.
    #[cfg(test)]
    pub(super) fn prepared<'a>(
        &self,
        named: impl IntoIterator<Item = (&'a EndpointUrl, Option<&'a Path>)>,
    ) -> Result<Pins, TrustFault> {
        let mut first = None;
        let pins = self.prepare(named, |_ca, fault| {
            first.get_or_insert(fault);
        });
        first.map_or(Ok(pins), Err)
    }

    /// Uses these pins for every new connection. Existing connections whose trust has changed get no new calls.
    pub fn take(&self, pins: Pins) {
        self.0.store(Arc::new(pins));
    }

    pub(super) fn config_for(&self, endpoint: &EndpointUrl) -> Arc<ClientConfig> {
        let pins = self.0.load();
        Arc::clone(pins.pinned_for(endpoint).map_or_else(|| pins.public.config(), |pinned| &pinned.config))
    }
}

impl Pins {
    /// Pins a CA file for the endpoint's host and port in place of the public roots, for every path, because a server
    /// has one certificate. A file whose content is the same as `before` keeps its connections.
    fn pin(&mut self, endpoint: &EndpointUrl, ca: &Path, before: &Self) -> Result<(), TrustFault> {
        let (host, port) = (endpoint.host().to_owned(), endpoint.port());
        if let Some(known) = self.pinned_for(endpoint) {
            return if known.ca == ca { Ok(()) } else { Err(TrustFault::Conflict { host, port }) };
        }
        let (certificates, config) = match self.pinned.iter().find(|pinned| pinned.ca == ca) {
            Some(pinned) => (Arc::clone(&pinned.certificates), Arc::clone(&pinned.config)),
            None => {
                let certificates = read(ca)?;
                let roots = roots(ca, &certificates)?;
                let same = before.pinned.iter().find(|pinned| pinned.ca == ca && pinned.certificates == certificates);
                let known = same.map(|pinned| Arc::clone(&pinned.config));
                (certificates, known.map_or_else(|| config(roots).map(Arc::new), Ok)?)
            }
        };
        self.pinned.push(Pinned { ca: ca.to_owned(), certificates, config, host, port });
        Ok(())
    }

    fn pinned_for(&self, endpoint: &EndpointUrl) -> Option<&Pinned> {
        self.pinned.iter().find(|pinned| pinned.is_for(endpoint))
    }
}

impl PublicTls {
    fn config(&self) -> &Arc<ClientConfig> {
        self.made.get_or_init(|| {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            Arc::new(finish(self.builder.clone().with_root_certificates(roots)))
        })
    }
}

impl Pinned {
    fn is_for(&self, endpoint: &EndpointUrl) -> bool {
        self.port == endpoint.port() && self.host.eq_ignore_ascii_case(endpoint.host())
    }
}

fn read(ca: &Path) -> Result<Arc<[CertificateDer<'static>]>, TrustFault> {
    let unreadable =
        |error: rustls::pki_types::pem::Error| TrustFault::Unreadable { ca: ca.to_owned(), reason: error.to_string() };
    CertificateDer::pem_file_iter(ca).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

fn roots(ca: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TrustFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|_| TrustFault::NoCertificate(ca.to_owned()))?;
    }
    if roots.is_empty() { Err(TrustFault::NoCertificate(ca.to_owned())) } else { Ok(roots) }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    Ok(finish(builder()?.with_root_certificates(roots)))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn finish(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig {
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> EndpointUrl {
        EndpointUrl::parse(text).unwrap()
    }

    #[test]
    fn a_pin_holds_for_its_host_and_port_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one.pem", "two.pem"].map(|name| directory.path().join(name));
        for file in [&one, &two] {
            let made = rcgen::generate_simple_self_signed(vec!["ca".into()]).unwrap();
            std::fs::write(file, made.cert.pem()).unwrap();
        }
        let trust = Trust::public().unwrap();
        let prepare = |pins: &[(&str, &Path)]| {
            let pins: Vec<_> = pins.iter().map(|(url, ca)| (endpoint(url), *ca)).collect();
            trust.prepared(pins.iter().map(|(endpoint, ca)| (endpoint, Some(*ca))))
        };
        let good: &[(&str, &Path)] =
            &[("https://a.example/x", &one), ("https://A.example:443/y", &one), ("https://b.example", &one)];
        trust.take(prepare(good).unwrap());
        let twice: &[(&str, &Path)] = &[("https://a.example/x", &one), ("https://a.example", &two)];
        assert!(matches!(prepare(twice), Err(TrustFault::Conflict { .. })));

        let tls = trust.0.load().public.clone();
        let config = |url: &str| trust.config_for(&endpoint(url));
        assert!(Arc::ptr_eq(&config("https://a.example/z"), &config("https://b.example")));
        assert!(tls.made.get().is_none(), "no server has needed the public roots");
        let public = tls.config().clone();
        assert!(!Arc::ptr_eq(&config("https://a.example"), &public));
        assert!(Arc::ptr_eq(&config("https://a.example:8443"), &public));
        assert!(Arc::ptr_eq(&config("https://c.example"), &public));
    }

    #[test]
    fn a_file_without_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let trust = Trust::public().unwrap();
        let pin = || trust.prepared([(&endpoint("https://a"), Some(&*file))]).map(drop);
        assert!(matches!(pin(), Err(TrustFault::Unreadable { .. })));
        for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            assert!(matches!(pin(), Err(TrustFault::NoCertificate(_))), "{text}");
        }
    }

    #[test]
    fn a_reload_changes_only_what_is_named_and_differs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let write = || {
            let made = rcgen::generate_simple_self_signed(vec!["ca".into()]).unwrap();
            std::fs::write(&file, made.cert.pem()).unwrap();
        };
        write();
        let trust = Trust::public().unwrap();
        let (a, b) = (endpoint("https://a.example"), endpoint("https://b.example"));
        let pin = |named: &[(&EndpointUrl, Option<&Path>)]| trust.take(trust.prepared(named.iter().copied()).unwrap());
        pin(&[(&a, Some(&file)), (&b, Some(&file))]);
        let first = trust.config_for(&a);
        pin(&[(&a, Some(&file)), (&b, None)]);
        assert!(Arc::ptr_eq(&trust.config_for(&a), &first), "an unchanged file keeps its connections");
        assert!(!Arc::ptr_eq(&trust.config_for(&b), &first), "the pin was taken away");
        pin(&[(&b, None)]);
        assert!(Arc::ptr_eq(&trust.config_for(&a), &first), "sessions at a server that is gone still reach it");
        write();
        pin(&[(&a, Some(&file))]);
        assert!(!Arc::ptr_eq(&trust.config_for(&a), &first), "the file holds another CA");
    }
}
