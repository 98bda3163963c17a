//! Sockets and HTTP: accepts, reads a request whole, hands it over, adds the CORS headers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::body::SimBody;
use super::call::{self, SeveredConnection};
use super::content::plain;
use super::control_api;
use super::endpoint::{HeadendEndpoint, HeadendRoute};
use super::shared::HeadendShared;

const BODY_DEADLINE: Duration = Duration::from_secs(10);
const MAX_CALL_BODY_BYTES: usize = 256 * 1024;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Also bounds the idle time of a connection.
const HEAD_DEADLINE: Duration = Duration::from_secs(120);
const MAX_CALL_HEAD_BYTES: usize = 64 * 1024;
/// Pause after a failed accept, which mostly means missing descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the tasks are told to stop.
pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<HeadendShared>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.tasks.stopped() => return,
        };
        let Ok((stream, _peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Otherwise small replies wait for the peer's acknowledgement. A failure only costs speed.
        let _slow = stream.set_nodelay(true);
        shared.tasks.spawn(handshake(stream, tls.clone(), Arc::clone(&shared)));
    }
}

async fn handshake(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<HeadendShared>) {
    let Some(tls) = tls else { return connection(stream, shared).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_DEADLINE, tls.accept(stream)).await {
        connection(stream, shared).await;
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<HeadendShared>) {
    let service = service_fn(|request| respond(Arc::clone(&shared), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_CALL_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A connection that ends badly, by its peer or by the script, needs no care.
    tokio::select! {
        _ended = connection.as_mut() => {}
        () = shared.tasks.stopped() => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}

async fn respond(
    shared: Arc<HeadendShared>,
    request: Request<Incoming>,
) -> Result<Response<SimBody>, SeveredConnection> {
    let (parts, body) = request.into_parts();
    let mut response = if parts.method == Method::OPTIONS {
        preflight(&parts)
    } else {
        match collect(body).await {
            Ok(body) => route(&shared, parts, body).await?,
            Err(status) => plain(status),
        }
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    Ok(response)
}

async fn route(shared: &Arc<HeadendShared>, parts: Parts, body: Bytes) -> Result<Response<SimBody>, SeveredConnection> {
    let renewal = shared.with(|state, _| state.settings.renewal_path);
    match HeadendRoute::of(&shared.tenant, renewal, &parts.method, parts.uri.path()) {
        HeadendRoute::Content(_) => call::serve(shared, HeadendEndpoint::Content, parts, body).await,
        HeadendRoute::Service(endpoint) => call::serve(shared, endpoint, parts, body).await,
        HeadendRoute::Sim(path) => {
            let answer = control_api::answer(shared, &parts.method, path, parts.uri.query(), &body).await;
            let mut response = answer.into_response();
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        HeadendRoute::Unknown => Ok(plain(StatusCode::NOT_FOUND)),
        HeadendRoute::WrongMethod => Ok(plain(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn preflight(parts: &Parts) -> Response<SimBody> {
    let mut response = Response::new(SimBody::bytes(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static("*")));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("DELETE, GET, HEAD, POST, PUT"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

async fn collect(body: Incoming) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(BODY_DEADLINE, Limited::new(body, MAX_CALL_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(fault)) if fault.is::<http_body_util::LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_elapsed) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
