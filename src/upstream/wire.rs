//! One open connection, in either version of HTTP, as the sender of requests.
//!
//! Owns the settings of hyper's connections and the task that drives each. Knows nothing of
//! origins or of keeping.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Fault;
use super::request::Outgoing;
use crate::task::Tasks;

/// How much HTTP/1.1 reads ahead of what is consumed.
const BUFFER_MAX: usize = 64 * 1024;
/// Head of a reply; HTTP/1.1 also allows at most hyper's 100 headers in it.
const HEAD_MAX: u32 = 32 * 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// With streams open and nothing heard, a ping after this; idle connections are left in peace.
const PING_AFTER: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(2);

pub(super) enum Wire {
    /// Whoever holds it has the connection alone; dropped in mid-use, the connection closes.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// One of many senders into the same connection.
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A request that brought no reply, and the request itself when no byte of it was written.
pub(super) struct Unanswered {
    pub(super) fault: Fault,
    pub(super) unsent: Option<Box<Outgoing>>,
}

impl Wire {
    pub(super) async fn http1<T>(io: T, tasks: &Tasks) -> Result<Self, Fault>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_MAX).max_header_size(HEAD_MAX as usize);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|e| Fault::of(&e))?;
        // A connection's error reaches whoever waits for a reply on it; an idle one has none.
        tasks.spawn(async move { drop(connection.await) });
        Ok(Self::Http1(sender))
    }

    pub(super) async fn http2<T>(io: T, tasks: &Tasks) -> Result<Self, Fault>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http2::Builder::new(Spawner(tasks.clone()));
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .max_header_list_size(HEAD_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|e| Fault::of(&e))?;
        tasks.spawn(async move { drop(connection.await) });
        Ok(Self::Http2(sender))
    }

    /// Sends, and waits for the head of the reply. Informational replies (1xx) are skipped.
    pub(super) async fn send(&mut self, request: Outgoing) -> Result<Response<Incoming>, Unanswered> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await.map_err(Unanswered::from),
            Self::Http2(sender) => sender.try_send_request(request).await.map_err(Unanswered::from),
        }
    }
}

impl From<TrySendError<Outgoing>> for Unanswered {
    fn from(mut error: TrySendError<Outgoing>) -> Self {
        let unsent = error.take_message().map(Box::new);
        Self { fault: Fault::of(error.error()), unsent }
    }
}

/// Lets hyper's own tasks be counted like all others.
#[derive(Clone)]
struct Spawner(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}
