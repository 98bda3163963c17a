//! An open connection, in either version of HTTP, to which requests are sent.
//!
//! Owns the settings of hyper's connections and the task that drives each. Knows nothing of origins or of the pool.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::http1_connection::{Http1Connection, Http1Reply};
use super::request::{self, RequestTarget, UpstreamRequest};
use super::{UpstreamCall, UpstreamFault};
use crate::task::Tasks;

/// Bytes that HTTP/1.1 reads ahead.
const MAX_READ_BUFFER_BYTES: usize = 64 * 1024;
/// Largest head of a reply.
pub(super) const MAX_REPLY_HEAD_BYTES: u32 = 32 * 1024;
/// CDNs with debug headers send more than the 100 that hyper allows by default.
pub(super) const MAX_REPLY_HEADERS: usize = 256;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Streams before the server has announced its limit. More of them could be refused.
const MAX_STREAMS_BEFORE_SETTINGS: usize = 8;
/// With open streams and no traffic, a ping is sent after this time. Idle connections get none.
const PING_AFTER: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(2);

pub(super) enum Wire {
    /// Its holder has the connection alone. If it is dropped while in use, the connection closes.
    Http1(Http1Connection),
    /// The same with hyper, for replies that stream.
    Http1Streaming(http1::SendRequest<Full<Bytes>>),
    /// A sender of a shared connection, which the number identifies.
    Http2(http2::SendRequest<Full<Bytes>>, u64),
}

/// A reply whose body is still to be read.
pub(super) enum WireReply {
    Incoming(Response<Incoming>),
    Whole(Http1Reply),
}

impl Wire {
    /// This connection, driven by hyper.
    pub(super) async fn into_streaming(self, tasks: &Tasks) -> Result<Self, UpstreamFault> {
        match self {
            Self::Http1(connection) => Self::http1_streaming(connection.into_stream(), tasks).await,
            Self::Http1Streaming(_) | Self::Http2(..) => Ok(self),
        }
    }

    pub(super) async fn http1_streaming<T>(io: T, tasks: &Tasks) -> Result<Self, UpstreamFault>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        builder
            .max_buf_size(MAX_READ_BUFFER_BYTES)
            .max_header_size(MAX_REPLY_HEAD_BYTES as usize)
            .max_headers(MAX_REPLY_HEADERS)
            // A proxy removes the space before a colon and unfolds lines (RFC 9112, sections 5.1 and 5.2).
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|e| UpstreamFault::of(&e))?;
        // A connection's error reaches the call that waits for a reply; an idle connection has none.
        tasks.spawn(async move { drop(connection.await) });
        Ok(Self::Http1Streaming(sender))
    }

    pub(super) async fn http2<T>(io: T, tasks: &Tasks) -> Result<Self, UpstreamFault>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http2::Builder::new(HyperExecutor(tasks.clone()));
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .initial_max_send_streams(MAX_STREAMS_BEFORE_SETTINGS)
            .max_header_list_size(MAX_REPLY_HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|e| UpstreamFault::of(&e))?;
        tasks.spawn(async move { drop(connection.await) });
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        Ok(Self::Http2(sender, CONNECTIONS.fetch_add(1, Ordering::Relaxed)))
    }

    /// Sends a request and waits for the head of the reply. Skips informational replies (1xx).
    pub(super) async fn send(
        &mut self,
        call: &UpstreamCall<'_>,
        target: &RequestTarget,
    ) -> Result<WireReply, UnansweredCall> {
        match self {
            Self::Http1(connection) => connection.send(call, target).await.map(WireReply::Whole),
            Self::Http1Streaming(sender) => {
                let reply = sender.try_send_request(request::for_http1(call, target)).await;
                reply.map(WireReply::Incoming).map_err(UnansweredCall::of_http1)
            }
            Self::Http2(sender, _) => {
                let reply = sender.try_send_request(request::for_http2(call, target)).await;
                let has_body = !call.body.is_empty();
                reply.map(WireReply::Incoming).map_err(|error| UnansweredCall::of_http2(error, has_body))
            }
        }
    }
}

/// A request that brought no reply.
pub(super) struct UnansweredCall {
    /// The fault; if the request was certainly not processed, it says so: [`UpstreamFault::Refused`] if the server
    /// has declared it.
    pub(super) fault: UpstreamFault,
    /// True if the request may be sent elsewhere; false if it may have been processed.
    pub(super) unprocessed: bool,
}

impl UnansweredCall {
    /// The connection was gone before the request was written.
    const UNWRITTEN: Self = Self { fault: UpstreamFault::UNWRITTEN, unprocessed: true };

    /// hyper returns a request that it has not begun to write.
    fn of_http1(mut error: TrySendError<UpstreamRequest>) -> Self {
        match error.take_message() {
            Some(_) => Self::UNWRITTEN,
            None => Self { fault: UpstreamFault::of(error.error()), unprocessed: false },
        }
    }

    fn of_http2(mut error: TrySendError<UpstreamRequest>, has_body: bool) -> Self {
        // When a connection goes away, hyper drops the one request that waits for a free stream, with a `user` error
        // and before any of its body is written.
        let waited = error.error().is_user() && has_body;
        match error.take_message() {
            Some(_) => Self::UNWRITTEN,
            None if is_turned_away(error.error()) => Self { fault: UpstreamFault::Refused, unprocessed: true },
            None if waited => Self::UNWRITTEN,
            None => Self { fault: UpstreamFault::of(error.error()), unprocessed: false },
        }
    }
}

/// True if the server declared this stream unprocessed: REFUSED_STREAM, or a GOAWAY whose last stream is below it
/// (RFC 9113, 8.7 and 6.8). h2 reports a GOAWAY only to such streams; those that it covers wait for their replies.
fn is_turned_away(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<h2::Error>() {
            let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
            return cause.is_remote() && (refused || cause.is_go_away());
        }
        source = cause.source();
    }
    false
}

/// Counts hyper's own tasks like all others.
#[derive(Clone)]
struct HyperExecutor(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for HyperExecutor {
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}
