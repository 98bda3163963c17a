//! A TLS client that speaks either protocol, and a CA for devices.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::edge_support::Running;

pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

pub(crate) type Stream = tokio_rustls::client::TlsStream<TcpStream>;

#[derive(Clone)]
pub(crate) struct Client {
    config: Option<Arc<ClientConfig>>,
    protocol: Option<&'static [u8]>,
    roots: Arc<RootCertStore>,
    shown: Option<(CertificateDer<'static>, Arc<PrivateKeyDer<'static>>)>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    /// Trusts the CA in `directory`.
    pub(crate) fn trusting(directory: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(directory.join("ca.pem")).unwrap()).unwrap();
        let versions = rustls::ALL_VERSIONS.to_vec();
        Self { config: None, protocol: None, roots: Arc::new(roots), shown: None, versions }.ready()
    }

    pub(crate) fn speaking(self, protocol: &'static [u8]) -> Self {
        Self { protocol: Some(protocol), ..self }.ready()
    }

    pub(crate) fn over(self, version: &'static SupportedProtocolVersion) -> Self {
        Self { versions: vec![version], ..self }.ready()
    }

    pub(crate) fn showing(self, certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        Self { shown: Some((certificate, Arc::new(key))), ..self }.ready()
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.shake(stream).await
    }

    /// The handshake over a connection that is there.
    pub(crate) async fn shake(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(self.config.as_ref().unwrap())).connect(name, stream).await
    }

    /// A hyper client of the protocol that was agreed.
    pub(crate) async fn calls(&self, edge: &Running) -> Calls {
        let stream = self.connect(edge.tls).await.unwrap();
        let two = stream.get_ref().1.alpn_protocol() == Some(H2);
        let (ended, closed) = tokio::sync::watch::channel(());
        if two {
            let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            edge.tasks.spawn(async move {
                let _ended = (connection.await, ended);
            });
            return Calls { closed, send: Send::Two(send) };
        }
        let (send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        edge.tasks.spawn(async move {
            let _ended = (connection.await, ended);
        });
        Calls { closed, send: Send::One(Arc::new(tokio::sync::Mutex::new(send))) }
    }

    /// The configuration for all connections, because it holds the tickets for resumption.
    fn ready(self) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.shown {
            None => config.with_no_client_auth(),
            Some((shown, key)) => config.with_client_auth_cert(vec![shown.clone()], key.clone_key()).unwrap(),
        };
        config.alpn_protocols = self.protocol.iter().map(|protocol| protocol.to_vec()).collect();
        Self { config: Some(Arc::new(config)), ..self }
    }
}

#[derive(Clone)]
pub(crate) struct Calls {
    closed: tokio::sync::watch::Receiver<()>,
    send: Send,
}

#[derive(Clone)]
enum Send {
    One(Arc<tokio::sync::Mutex<http1::SendRequest<Full<Bytes>>>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Calls {
    pub(crate) async fn post(&mut self, target: &str, body: &'static str) -> Response<Bytes> {
        let body = Full::from(body);
        let reply = match &mut self.send {
            Send::One(send) => {
                let request = Request::post(target).header("host", "localhost").body(body).unwrap();
                send.lock().await.send_request(request).await.unwrap()
            }
            Send::Two(send) => {
                let request = Request::post(format!("https://localhost{target}")).body(body).unwrap();
                send.send_request(request).await.unwrap()
            }
        };
        let (parts, body) = reply.into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn closed(&mut self) {
        while self.closed.changed().await.is_ok() {}
    }
}

/// Issues client certificates.
pub(crate) struct Devices {
    directory: tempfile::TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Devices {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("devices.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, issuer: rcgen::Issuer::new(params, key) }
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("devices.pem")
    }

    pub(crate) fn issue(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = rcgen::CertificateParams::new(vec!["device".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
