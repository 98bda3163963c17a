//! A scripted license server: it keeps its calls and gives the replies of the test.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sidebeat::task::{DeadTasks, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A license of ClearKey.
pub(crate) const LICENSE: &str =
    r#"{"keys":[{"k":"AAECAwQFBgcICQoLDA0ODw","kid":"ABEiM0RVZneImaq7zN3u_w","kty":"oct"}]}"#;

/// An unreadable body that may be a license.
pub(crate) const OPAQUE: &str = "\u{1}license";

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    tasks: Tasks,
    _deaths: DeadTasks,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Upstream {
    /// Answers every call with what `answer` makes of it.
    pub(crate) async fn answering(answer: impl Fn(&Asked) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), answer).await
    }

    pub(crate) async fn at(
        address: SocketAddr,
        answer: impl Fn(&Asked) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let (upstream, listener) = Self::bind(address).await;
        let (seen, tasks, answer) = (upstream.seen.clone(), upstream.tasks.clone(), Arc::new(answer));
        upstream.tasks.spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = tasks.stopped() => return,
                };
                let (seen, answer) = (seen.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (seen.clone(), answer.clone());
                    async move {
                        let asked = Asked::read(request).await;
                        let reply = answer(&asked);
                        seen.lock().unwrap().push(asked);
                        Ok::<_, Infallible>(reply.map(Full::new))
                    }
                });
                tasks.spawn(async move {
                    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        upstream
    }

    /// Takes a request in and does with the connection whatever the test wants.
    pub(crate) async fn raw<F>(handle: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (upstream, listener) = Self::bind(([127, 0, 0, 1], 0).into()).await;
        let tasks = upstream.tasks.clone();
        upstream.tasks.spawn(async move {
            loop {
                let (mut stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = tasks.stopped() => return,
                };
                let mut head = [0; 8192];
                let _some = stream.read(&mut head).await;
                tasks.spawn(handle(stream));
            }
        });
        upstream
    }

    /// Writes these bytes for any request, and closes.
    pub(crate) async fn writing(bytes: &'static [u8]) -> Self {
        Self::raw(move |mut stream| async move {
            // The proxy may have seen enough before the end.
            let _gone = stream.write_all(bytes).await;
            let _gone = stream.shutdown().await;
        })
        .await
    }

    async fn bind(address: SocketAddr) -> (Self, TcpListener) {
        let listener = TcpListener::bind(address).await.unwrap();
        let (tasks, deaths) = Tasks::new();
        let address = listener.local_addr().unwrap();
        (Self { address, seen: Arc::default(), tasks, _deaths: deaths }, listener)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/acquire", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn only(&self) -> Asked {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Asked {
    async fn read(request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Self { body, headers: parts.headers, method: parts.method, target: parts.uri.to_string() }
    }
}

/// 200 with these bytes.
pub(crate) fn good(content_type: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder().header("content-type", content_type).body(body.into()).unwrap()
}

pub(crate) fn status(status: u16) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"{\"errorCode\":4000}"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// An address without a listener.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
