//! A relay over hyper and nothing else: what a proxy on these libraries costs before it decides anything.
//!
//! One worker, kept connections on both sides, bodies held whole as sidebeat holds them, HTTP/1.1 and HTTP/2, with and
//! without TLS. No limits, no time-outs, no checks: not a proxy to use.
//!
//! `relay PLAIN TLS UPSTREAM CERTIFICATE KEY`, all addresses with ports; it says `relay: ready` when it listens.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Fault = Box<dyn Error + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Fault>> + Send>>;

struct Relay {
    host: HeaderValue,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    upstream: SocketAddr,
}

#[derive(Clone)]
struct Calls(Arc<Relay>);

impl Service<Request<Incoming>> for Calls {
    type Response = Response<Full<Bytes>>;
    type Error = Fault;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let relay = Arc::clone(&self.0);
        Box::pin(async move { relay.forward(request).await })
    }
}

impl Relay {
    async fn forward(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Fault> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        parts.version = Version::HTTP_11;
        if parts.uri.authority().is_some() {
            parts.uri = parts.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
        }
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.insert(HOST, self.host.clone());
        let mut sender = self.connection().await?;
        let reply = match sender.send_request(Request::from_parts(parts, Full::new(body))).await {
            Ok(reply) => reply,
            Err(_) => {
                let mut refused = Response::new(Full::default());
                *refused.status_mut() = StatusCode::BAD_GATEWAY;
                return Ok(refused);
            }
        };
        let (mut head, body) = reply.into_parts();
        let body = body.collect().await?.to_bytes();
        if sender.is_ready() {
            self.keep(sender);
        } else {
            tokio::spawn(async move {
                if sender.ready().await.is_ok() {
                    self.keep(sender);
                }
            });
        }
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        head.version = Version::HTTP_11;
        Ok(Response::from_parts(head, Full::new(body)))
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                Some(sender) if sender.is_ready() => return Ok(sender),
                Some(_) => {}
                None => break,
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, calls: Calls, is_http2: bool) {
    if is_http2 {
        let http2 = http2::Builder::new(TokioExecutor::new());
        drop(http2.serve_connection(TokioIo::new(stream), calls).await);
    } else {
        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), calls).await);
    }
}

async fn accept(listener: TcpListener, calls: Calls, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _refused = stream.set_nodelay(true);
        let (calls, tls) = (calls.clone(), tls.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else { return serve(stream, calls, false).await };
            let Ok(stream) = tls.accept(stream).await else { return };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, calls, is_http2).await;
        });
    }
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Fault> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [plain, tls, upstream, certificate, key] = words.as_slice() else {
        return Err("relay PLAIN TLS UPSTREAM CERTIFICATE KEY".into());
    };
    let relay = Relay { host: HeaderValue::try_from(upstream)?, idle: Mutex::default(), upstream: upstream.parse()? };
    let (calls, acceptor) = (Calls(Arc::new(relay)), acceptor(Path::new(certificate), Path::new(key))?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (plain, tls) = (TcpListener::bind(plain.as_str()).await?, TcpListener::bind(tls.as_str()).await?);
        eprintln!("relay: ready http://{} https://{}", plain.local_addr()?, tls.local_addr()?);
        tokio::join!(accept(plain, calls.clone(), None), accept(tls, calls, Some(acceptor)));
        Ok::<(), Fault>(())
    })
}
