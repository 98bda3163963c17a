//! TLS toward players: the server's configuration and its certificate.
//!
//! Owns the certificate in use, and the optional CA whose client certificates name devices. A reload (`app::reload`) has
//! a [`CheckedCertificate`] read and shows it, without touching a listener or an open connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::certificate_expiry;
use crate::config;

pub(super) const H2: &[u8] = b"h2";

/// Reasons why a certificate cannot be used. Each names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    #[error("{} holds no PEM certificate (-----BEGIN CERTIFICATE-----); put the leaf first, then its chain", path.display())]
    Empty { path: PathBuf },
    #[error("{} holds no usable PEM private key: {why}; it must be an unencrypted ECDSA, RSA or Ed25519 key", path.display())]
    Key { path: PathBuf, why: String },
    #[error("{} does not belong to {}; put the pair that was issued together in place", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("cannot read {}: {why}; correct the path or make a pair with `sidebeat certs init`", path.display())]
    Read { path: PathBuf, why: io::Error },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("{} holds a certificate that cannot be used: {why}", path.display())]
    Unusable { path: PathBuf, why: String },
}

/// The certificate for players, and its files.
#[derive(Debug)]
pub struct Certificates {
    now: ArcSwap<CheckedCertificate>,
}

/// A certificate and its key, read and checked.
#[derive(Debug)]
pub struct CheckedCertificate {
    certificate: PathBuf,
    key: PathBuf,
    not_after: Option<Duration>,
    pair: Arc<CertifiedKey>,
}

/// The files of TLS toward players, read and checked before a start, so that the start does not read them again.
#[derive(Debug, Default)]
pub struct CheckedTlsFiles {
    /// `None` if the pair is not there yet.
    pub certificate: Option<CheckedCertificate>,
    pub client_ca: Option<RootCertStore>,
}

/// Advice to the operator about a failed handshake, if there is any.
pub(super) fn handshake_advice(fault: &io::Error) -> Option<&'static str> {
    use rustls::AlertDescription as Alert;
    match fault.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(
            Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate,
        ) => Some(
            "a player does not trust our certificate: its device must trust the CA (certs/ca.pem, if sidebeat made \
             it), and the name in its URL must be in the certificate",
        ),
        rustls::Error::AlertReceived(Alert::CertificateExpired) => {
            Some("a player finds our certificate expired: renew it, or set the clock of its device")
        }
        _ => None,
    }
}

impl CertificateFault {
    /// The file that must be mended, if it is a file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Empty { path } | Self::Key { path, .. } | Self::Read { path, .. } | Self::Unusable { path, .. } => {
                Some(path)
            }
            Self::Mismatch { key, .. } => Some(key),
            Self::Setup(_) => None,
        }
    }
}

impl Certificates {
    pub fn of(shown: CheckedCertificate) -> Self {
        Self { now: ArcSwap::from_pointee(shown) }
    }

    /// Reads and checks both files, then uses the new certificate for new connections. On a fault the old one stays.
    /// The client CA is read once, at start.
    pub fn reload(&self) -> Result<(), CertificateFault> {
        let before = self.now.load_full();
        self.show(CheckedCertificate::read(&before.certificate, &before.key)?);
        Ok(())
    }

    /// Uses a certificate for new connections.
    pub fn show(&self, shown: CheckedCertificate) {
        self.now.store(Arc::new(shown));
    }

    /// End of the leaf's validity, since the Unix epoch; for a metric.
    pub fn not_after(&self) -> Option<Duration> {
        self.now.load().not_after
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.load().pair))
    }
}

impl CheckedCertificate {
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateFault> {
        let chain = read_certificates(certificate)?;
        let not_after = chain.first().and_then(|leaf| certificate_expiry::not_after(leaf));
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|why| CertificateFault::Key { path: key.to_owned(), why: why.to_string() })?;
        let pair = CertifiedKey::from_der(chain, private, &provider()).map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => {
                CertificateFault::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
            }
            rustls::Error::InvalidCertificate(_) => {
                CertificateFault::Unusable { path: certificate.to_owned(), why: why.to_string() }
            }
            other => CertificateFault::Key { path: key.to_owned(), why: other.to_string() },
        })?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), not_after, pair: Arc::new(pair) })
    }
}

/// Builds the configuration: TLS 1.2 and 1.3, resumption by tickets, HTTP/2 and HTTP/1.1. With a client CA, client
/// certificates are requested but not required; one that the CA has not signed ends the handshake.
pub(super) fn server_config(
    settings: &config::TlsSettings,
    certificates: Arc<Certificates>,
    client_ca: Option<RootCertStore>,
) -> Result<ServerConfig, CertificateFault> {
    let provider = Arc::new(provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = client_ca.map_or_else(|| read_client_ca(path), Ok)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|why| CertificateFault::Unusable { path: path.clone(), why: why.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    config.ticketer = crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// SHA-256 of a client's certificate, hex in lower case.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Named explicitly, because the process-wide default may be set by a dependency.
fn provider() -> CryptoProvider {
    crypto::aws_lc_rs::default_provider()
}

/// Reads the CA for client certificates.
///
/// # Errors
/// The file cannot be used.
pub fn read_client_ca(path: &Path) -> Result<RootCertStore, CertificateFault> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|why| CertificateFault::Unusable { path: path.to_owned(), why: why.to_string() })?;
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let text = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|why| CertificateFault::Unusable { path: path.to_owned(), why: why.to_string() })?;
    if chain.is_empty() { Err(CertificateFault::Empty { path: path.to_owned() }) } else { Ok(chain) }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateFault> {
    std::fs::read(path).map_err(|why| CertificateFault::Read { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::super::local_ca::{self, CertsRequest};
    use super::*;

    fn pair(names: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let now = crate::clock::Clock.wall();
        let request =
            CertsRequest { directory: directory.path(), names: &[names.to_owned()], now, renew_authority: false };
        local_ca::init(&request).unwrap();
        let (leaf, key) = (directory.path().join("leaf.pem"), directory.path().join("leaf.key"));
        (directory, leaf, key)
    }

    #[test]
    fn a_fault_keeps_the_old_certificate_and_names_the_file() {
        let (_kept, leaf, key) = pair("one.example");
        let (_other, other_leaf, other_key) = pair("two.example");
        let certificates = Certificates::of(CheckedCertificate::read(&leaf, &key).unwrap());
        let shown = || certificates.now.load().pair.cert[0].clone();
        let before = shown();

        let whole = std::fs::read(&leaf).unwrap();
        let faults: [(&Path, &[u8], &str); 5] = [
            (&leaf, b"", "leaf.pem holds no PEM certificate"),
            (
                &leaf,
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "leaf.pem holds a certificate that",
            ),
            (&leaf, &std::fs::read(&other_leaf).unwrap(), "leaf.key does not belong to"),
            (&key, b"rubbish", "leaf.key holds no usable PEM private key"),
            (&key, &std::fs::read(&other_key).unwrap(), "leaf.key does not belong to"),
        ];
        for (path, text, said) in faults {
            let good = std::fs::read(path).unwrap();
            std::fs::write(path, text).unwrap();
            let fault = certificates.reload().unwrap_err().to_string();
            assert!(fault.contains(said), "{fault}");
            assert_eq!(shown(), before);
            std::fs::write(path, good).unwrap();
        }
        std::fs::remove_file(&leaf).unwrap();
        assert!(certificates.reload().unwrap_err().to_string().contains("certs init"));
        std::fs::write(&leaf, whole).unwrap();

        std::fs::copy(&other_leaf, &leaf).unwrap();
        std::fs::copy(&other_key, &key).unwrap();
        certificates.reload().unwrap();
        assert_ne!(shown(), before);
    }

    #[test]
    fn a_fingerprint_is_plain_hex() {
        let empty = fingerprint(&CertificateDer::from_slice(b""));
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
