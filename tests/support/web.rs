//! HTTP as a player speaks it: a socket per call, without hidden retries.

#![allow(dead_code, reason = "each test uses its own part")]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use serde_json::Value;
use sidebeat::task::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// No player waits longer; a test that does has found a reply that never comes.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) status: StatusCode,
}

/// The connection ended before the reply did.
#[derive(Debug)]
pub(crate) struct Cut;

pub(crate) async fn send(
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Cut> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|_refused| Cut)?;
        match tls {
            None => over(stream, request).await,
            Some(config) => {
                let name = ServerName::try_from("localhost").unwrap();
                let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|_refused| Cut)?;
                over(stream, request).await
            }
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no reply within {PATIENCE:?}"))
}

/// Like [`send`] without TLS, from a given address.
pub(crate) async fn send_from(
    own: Option<IpAddr>,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Cut> {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(own) = own {
        socket.bind((own, 0).into()).unwrap();
    }
    let exchange = async { over(socket.connect(address).await.map_err(|_refused| Cut)?, request).await };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no reply within {PATIENCE:?}"))
}

/// Dropping it hangs up.
async fn over(stream: impl AsyncRead + AsyncWrite + Unpin, request: Request<Full<Bytes>>) -> Result<Reply, Cut> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Cut)?;
    let exchange = async move {
        let (parts, body) = sender.send_request(request).await.map_err(|_| Cut)?.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        Ok(Reply { body, headers: parts.headers, status: parts.status })
    };
    let (reply, _ended) = tokio::join!(exchange, connection);
    reply
}

/// An HTTP/2 connection, over TLS as browsers use it.
pub(crate) struct Http2(http2::SendRequest<Full<Bytes>>);

impl Http2 {
    /// `authority`: the CA to trust, PEM.
    pub(crate) async fn connect(address: SocketAddr, authority: &Path, tasks: &Tasks) -> Self {
        let mut config = Arc::unwrap_or_clone(trusting(authority));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tasks.spawn(async move {
            let _ended = connection.await;
        });
        Self(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Reply {
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        Reply { body: body.collect().await.unwrap().to_bytes(), headers: parts.headers, status: parts.status }
    }
}

/// A client that trusts only this CA.
pub(crate) fn trusting(authority: &Path) -> Arc<ClientConfig> {
    Arc::new(trust(authority).with_no_client_auth())
}

/// Like [`trusting`], before it gets a certificate to show.
pub(crate) fn trust(authority: &Path) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots)
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn is_good(&self) -> bool {
        self.status == 200
    }

    /// The status and, of a refusal in JSON, its `error` and the head-end's `errorCode`.
    pub(crate) fn refusal(&self) -> (u16, String, Option<i64>) {
        let told = self.json();
        let error = told["error"].as_str().unwrap_or_else(|| panic!("no refusal: {} {}", self.status, self.text()));
        (self.status.as_u16(), error.to_owned(), told["errorCode"].as_i64())
    }

    /// The status and the head-end's `errorCode`; 0 if there is none.
    pub(crate) fn code(&self) -> (u16, i64) {
        (self.status.as_u16(), self.json()["errorCode"].as_i64().unwrap_or_default())
    }

    /// [`Self::refusal`] without the code.
    pub(crate) fn error(&self) -> (u16, String) {
        let (status, error, _) = self.refusal();
        (status, error)
    }
}
