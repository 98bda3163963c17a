//! Where players connect to, and one call over HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Outcome;
use crate::call::{Answer, CALLER, Player, Reply, SEEN};
use crate::wire::Reader;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The target of a case's calls, and the answer that they must get.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) answer: Answer,
    pub(crate) path: &'static str,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Target {
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.tls {
            None => Ok(Box::new(self.tcp().await?)),
            Some(tls) => Ok(Box::new(self.handshake(tls).await?)),
        }
    }

    pub(crate) async fn handshake(&self, tls: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(tls)).connect(name, self.tcp().await?).await
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Sends a player's call, waits for the answer and judges it.
    pub(crate) async fn call<S: Stream + ?Sized>(
        &self,
        player: &Player,
        turn: u32,
        stream: &mut S,
        reader: &mut Reader,
    ) -> io::Result<()> {
        stream.write_all(&player.request(self.path, turn)).await?;
        stream.flush().await?;
        if !reader.next(&mut *stream).await? {
            return Err(io::Error::other("the connection was closed early"));
        }
        let reply = Reply {
            body: reader.body(),
            caller: reader.header(CALLER),
            content_type: reader.header("content-type"),
            seen: reader.header(SEEN),
            status: reader.status(),
        };
        self.answer.judge(&player.caller(turn), &reply).map_err(io::Error::other)
    }
}

/// Settings of a TLS client that trusts the certificates of this run. Each call makes a store of its own for resumption.
pub(crate) fn tls_client(folder: &Path, alpn: &[u8], resumes: bool) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = if resumes { Resumption::in_memory_sessions(4) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Fails unless the handshake was of this kind.
pub(crate) fn check_handshake(stream: &TlsStream<TcpStream>, is_resumed: bool) -> io::Result<()> {
    let kind = stream.get_ref().1.handshake_kind();
    if (kind == Some(HandshakeKind::Resumed)) == is_resumed {
        return Ok(());
    }
    Err(io::Error::other(format!("a handshake of the other kind: {kind:?}")))
}
