//! The license server: it judges each request, gives every caller the same license, and tells its name and the verdict
//! back in headers. To a GET it is an origin of segments. It speaks HTTP/1.1 with and without TLS, on the core of the load.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Outcome;
use crate::call::{CALLER, LICENSE, Player, SEEN, is_challenge};
use crate::segments;
use crate::wire::Reader;

/// The players of the case that is played, as the license server knows them.
#[derive(Default)]
struct Expected {
    is_managed: bool,
    tokens: HashMap<Arc<str>, Arc<str>>,
}

#[derive(Default)]
pub(crate) struct Judge(Mutex<Expected>);

impl Judge {
    /// From now on these players call. `is_managed`: their requests must carry a session's token beside their own.
    pub(crate) fn expect(&self, is_managed: bool, players: &[Player]) {
        let tokens = players.iter().map(|player| (Arc::clone(&player.device), Arc::clone(&player.token))).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Expected { is_managed, tokens };
    }

    fn verdict(&self, caller: &str, authorizations: &str, body: &[u8]) -> &'static str {
        let Some((device, turn)) = caller.rsplit_once('-') else { return "no caller" };
        if !turn.parse().is_ok_and(|turn| is_challenge(body, turn)) {
            return "another challenge";
        }
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = expected.tokens.get(device) else { return "an unknown device" };
        let (content, session) = authorizations.split_once(',').unwrap_or((authorizations, ""));
        match (expected.is_managed, session.matches('.').count()) {
            _ if content != &**own => "another content token",
            (false, 0) | (true, 2) => "good",
            (false, _) => "a session that it has not",
            (true, _) => "no session",
        }
    }
}

pub(crate) struct Upstream {
    pub(crate) judge: Arc<Judge>,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    _serving: JoinSet<()>,
}

impl Upstream {
    /// Serves until it is dropped. The folder holds its certificate.
    pub(crate) async fn start(folder: &Path) -> Outcome<Self> {
        let (judge, mut serving) = (Arc::<Judge>::default(), JoinSet::new());
        let acceptor = acceptor(folder)?;
        let (plain, tls) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let addresses = (plain.local_addr()?, tls.local_addr()?);
        serving.spawn(accept(plain, Arc::clone(&judge), None));
        serving.spawn(accept(tls, Arc::clone(&judge), Some(acceptor)));
        Ok(Self { judge, plain: addresses.0, tls: addresses.1, _serving: serving })
    }
}

async fn accept(listener: TcpListener, judge: Arc<Judge>, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (judge, tls) = (Arc::clone(&judge), tls.clone());
        connections.spawn(async move { drop(connection(stream, &judge, tls).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, judge: &Judge, tls: Option<TlsAcceptor>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => serve(stream, judge).await,
        Some(tls) => serve(tls.accept(stream).await?, judge).await,
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, judge: &Judge) -> io::Result<()> {
    let (mut reader, mut reply) = (Reader::default(), Vec::new());
    while reader.next(&mut stream).await? {
        if let Some(path) = reader.path_of_get() {
            let (kind, body) = segments::file(path);
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body).await?;
            stream.flush().await?;
            continue;
        }
        let caller = reader.header("user-agent").unwrap_or_default();
        let verdict = judge.verdict(caller, reader.header("nv-authorizations").unwrap_or_default(), reader.body());
        reply.clear();
        reply.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n");
        for (name, value) in [("content-length", &*LICENSE.len().to_string()), (CALLER, caller), (SEEN, verdict)] {
            for part in [name, ": ", value, "\r\n"] {
                reply.extend_from_slice(part.as_bytes());
            }
        }
        reply.extend_from_slice(b"\r\n");
        reply.extend_from_slice(LICENSE);
        stream.write_all(&reply).await?;
        stream.flush().await?;
    }
    Ok(())
}

fn acceptor(folder: &Path) -> Outcome<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(folder.join("leaf.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key"))?;
    Ok(TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::challenge;

    #[test]
    fn a_request_that_lost_its_session_or_its_token_is_noticed() {
        let player = Player { device: "tv-1".into(), token: "a.b.c".into() };
        let judge = Judge::default();
        let verdict = |authorizations| judge.verdict("tv-1-7", authorizations, &challenge(7));
        judge.expect(true, std::slice::from_ref(&player));
        assert_eq!(verdict("a.b.c,d.e.f"), "good");
        assert_eq!(verdict("a.b.c"), "no session");
        assert_eq!(verdict("x.y.z,d.e.f"), "another content token");
        assert_eq!(judge.verdict("tv-1-8", "a.b.c,d.e.f", &challenge(7)), "another challenge");
        assert_eq!(judge.verdict("tv-2-7", "a.b.c,d.e.f", &challenge(7)), "an unknown device");
        judge.expect(false, &[player]);
        assert_eq!(verdict("a.b.c"), "good");
        assert_eq!(verdict("a.b.c,d.e.f"), "a session that it has not");
    }
}
