//! Answers plain HTTP on a TLS port in plain HTTP.
//!
//! [`HandshakeStream`] stands between the socket and TLS. It looks at the first byte of what TLS reads anyway, so it
//! costs no extra call. `connection` uses it when a handshake has failed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_LENGTH};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::RequestViolation;
use super::own_replies::{EdgeRefusal, RefusalTrace};
use super::parking::ReadableStream;

/// Time for writing the reply and for reading what the caller still sends. Closing with unread bytes would reset the
/// connection before the reply arrives.
const PLAIN_HTTP_LINGER_TIME: Duration = Duration::from_secs(1);
const MAX_PLAIN_HTTP_LINGER_BYTES: u64 = 64 * 1024;

/// Advice in the log.
const ADVICE: &str = "a connection to an HTTPS address begins as plain HTTP does: its URL must begin with https://, or \
                      lead to an address of server.listen-plain";

/// The byte stream below TLS.
pub(super) struct HandshakeStream<S> {
    inner: S,
    speaks: PlainProtocol,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PlainProtocol {
    Http,
    /// TLS, or something that cannot be answered.
    Other,
    Unknown,
}

impl<S> HandshakeStream<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, speaks: PlainProtocol::Unknown }
    }

    /// The stream, if it begins like a request.
    pub(super) fn into_http(self) -> Option<S> {
        (self.speaks == PlainProtocol::Http).then_some(self.inner)
    }
}

/// Answers in plain HTTP that this port speaks TLS, and closes. `public_url` is the configured URL for players;
/// nothing of the request is repeated.
pub(super) async fn refuse<S>(mut stream: S, public_url: Option<&str>) -> RefusalTrace
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reply, trace) = reply(public_url).await;
    let farewell = async {
        stream.write_all(&reply).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_PLAIN_HTTP_LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // A caller that does not listen needs no care.
    let _deaf = timeout(PLAIN_HTTP_LINGER_TIME, farewell).await;
    trace
}

async fn reply(public_url: Option<&str>) -> (Vec<u8>, RefusalTrace) {
    let refusal = EdgeRefusal {
        status: StatusCode::BAD_REQUEST,
        error: RequestViolation::PlainHttp.label(),
        detail: RequestViolation::PlainHttp.detail(),
        close: true,
    };
    let (mut reply, mut trace) = refusal.traced(public_url.filter(|url| url.starts_with("https://")));
    trace.note = Some(ADVICE.to_owned());
    // A page with a wrong URL may read the reason.
    reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let (parts, body) = reply.into_parts();
    let body = body.collect().await.unwrap_or_default().to_bytes();
    let mut text = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("{CONTENT_LENGTH}: {}\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(&body);
    (text, trace)
}

impl<S: AsyncRead + Unpin> AsyncRead for HandshakeStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.speaks == PlainProtocol::Unknown
            && let Some(first) = buf.filled().get(before)
        {
            // A TLS record begins with 20 to 24 (RFC 8446, section 5.1), and a method of HTTP with a capital letter.
            self.speaks = if first.is_ascii_uppercase() { PlainProtocol::Http } else { PlainProtocol::Other };
        }
        read
    }
}

impl<S: ReadableStream> ReadableStream for HandshakeStream<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_readable(cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HandshakeStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // A TLS alert would come before our reply.
        if self.speaks == PlainProtocol::Http {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.speaks == PlainProtocol::Http {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
