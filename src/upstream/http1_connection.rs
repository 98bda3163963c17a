//! A connection of HTTP/1.1 for whole replies: the call owns it, writes its request at one go and reads the reply.
//!
//! Needs no task and no channel. A reply that streams, and a large request, whose server may answer before it has read
//! all, go through hyper: [`Http1Connection::into_stream`].

use std::fmt::Write;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::unconstrained;

use super::connection::UnansweredCall;
use super::framing::{self, ConnectionReuse};
use super::http1_body::Http1Body;
use super::http1_reply_head::{self, Http1ReplyHead};
use super::request::{RequestTarget, needs_length};
use super::{UpstreamCall, UpstreamFault, UpstreamReply, hop_by_hop};

/// Larger bodies of requests go through hyper.
pub(super) const MAX_REQUEST_BODY_BYTES: usize = 16 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 4 * 1024;
/// A buffer that has grown beyond this size is not kept with its connection.
const MAX_KEPT_BUFFER_BYTES: usize = 16 * 1024;
/// A body's first space, before as many of its bytes are there.
const MAX_BODY_RESERVE_BYTES: usize = 16 * 1024;

pub(super) trait UpstreamStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> UpstreamStream for T {}

pub(super) struct Http1Connection {
    /// The request, then what was read and not yet used.
    buffer: BytesMut,
    stream: Box<dyn UpstreamStream>,
}

/// A reply's head, whose body is still on the connection.
#[derive(Debug)]
pub(super) struct Http1Reply {
    body: Http1Body,
    headers: HeaderMap,
    reuse: ConnectionReuse,
    status: StatusCode,
}

impl Http1Connection {
    pub(super) fn new(stream: impl UpstreamStream + 'static) -> Self {
        Self { buffer: BytesMut::new(), stream: Box::new(stream) }
    }

    /// The bare connection; nothing of a reply may be left on it.
    pub(super) fn into_stream(self) -> Box<dyn UpstreamStream> {
        self.stream
    }

    /// True if the server has neither closed an unused connection nor sent anything on it, as far as known.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        let look = unconstrained(poll_fn(|context| Pin::new(&mut self.stream).poll_read(context, &mut byte)));
        pin!(look).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Sends a request and waits for the head of the reply. Skips informational replies (1xx).
    pub(super) async fn send(
        &mut self,
        call: &UpstreamCall<'_>,
        target: &RequestTarget,
    ) -> Result<Http1Reply, UnansweredCall> {
        write_request(&mut self.buffer, call, target);
        let written = self.write().await;
        self.buffer.clear();
        let answered = match written {
            Ok(()) => self.read_head(call.method == Method::HEAD).await,
            Err(error) => Err(fault_of(&error)),
        };
        answered.map_err(|fault| UnansweredCall { fault, unprocessed: false })
    }

    /// Reads the body. True if the connection may carry another call.
    pub(super) async fn collect(
        &mut self,
        reply: Http1Reply,
        max: usize,
    ) -> Result<(UpstreamReply, bool), UpstreamFault> {
        let Http1Reply { mut body, headers, reuse, status } = reply;
        let length = body.length();
        if length.is_some_and(|length| length > max) {
            return Err(UpstreamFault::TooLarge);
        }
        let mut whole = Vec::with_capacity(length.unwrap_or(0).min(MAX_BODY_RESERVE_BYTES));
        while !body.is_over() {
            let taken = body.take(&self.buffer, &mut whole, max)?;
            self.buffer.advance(taken);
            if !body.is_over() && !self.read().await? {
                body.end()?;
                break;
            }
        }
        // Further bytes belong to no reply.
        let reusable = reuse == ConnectionReuse::Possible && body.is_over() && self.buffer.is_empty();
        self.buffer.clear();
        whole.shrink_to_fit();
        if self.buffer.capacity() > MAX_KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok((UpstreamReply { body: Bytes::from(whole), headers, status }, reusable))
    }

    async fn write(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.buffer).await?;
        self.stream.flush().await
    }

    async fn read_head(&mut self, is_head_request: bool) -> Result<Http1Reply, UpstreamFault> {
        let mut seen = 0;
        loop {
            if self.buffer.len() == seen && !self.read().await? {
                return Err(UpstreamFault::Reset);
            }
            let Some(head) = http1_reply_head::parse(&self.buffer, seen)? else {
                seen = self.buffer.len();
                continue;
            };
            self.buffer.advance(head.length);
            seen = 0;
            // Upgrades are never requested.
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(UpstreamFault::Malformed);
            }
            if !head.status.is_informational() {
                return opened(head, is_head_request);
            }
        }
    }

    /// Reads on; false at the end of the connection.
    async fn read(&mut self) -> Result<bool, UpstreamFault> {
        self.buffer.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.buffer).await.map_err(|error| fault_of(&error))?;
        Ok(count > 0)
    }
}

fn opened(head: Http1ReplyHead, is_head_request: bool) -> Result<Http1Reply, UpstreamFault> {
    let Http1ReplyHead { mut headers, keeps_alive, length: _, status, version } = head;
    let body = Http1Body::of(is_head_request, version, status, &headers)?;
    let reuse = framing::mend(status, &mut headers)?;
    hop_by_hop::strip(&mut headers);
    Ok(Http1Reply { body, headers, reuse: if keeps_alive { reuse } else { ConnectionReuse::Never }, status })
}

/// Head and body of the request, with the headers that `request.rs` would send by hyper.
fn write_request(to: &mut BytesMut, call: &UpstreamCall<'_>, target: &RequestTarget) {
    to.clear();
    for part in [call.method.as_str(), " ", call.path_and_query.path()] {
        to.extend_from_slice(part.as_bytes());
    }
    if let Some(query) = call.path_and_query.query() {
        to.extend_from_slice(b"?");
        to.extend_from_slice(query.as_bytes());
    }
    to.extend_from_slice(b" HTTP/1.1\r\n");
    write_line(to, HOST.as_str(), target.host.as_bytes());
    if needs_length(call) {
        // Writing into a growing buffer cannot fail.
        let _written = write!(to, "{CONTENT_LENGTH}: {}\r\n", call.body.len());
    }
    let named = call.headers.contains_key(CONNECTION).then(|| hop_by_hop::named_by_connection(&call.headers));
    for (name, value) in &call.headers {
        let is_ours = *name == HOST || *name == CONTENT_LENGTH || *name == EXPECT;
        if !is_ours && !hop_by_hop::is_hop_by_hop(name) && !named.as_ref().is_some_and(|named| named.contains(name)) {
            write_line(to, name.as_str(), value.as_bytes());
        }
    }
    to.extend_from_slice(b"\r\n");
    to.extend_from_slice(&call.body);
}

fn write_line(to: &mut BytesMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

fn fault_of(error: &io::Error) -> UpstreamFault {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => UpstreamFault::Malformed,
        _ => UpstreamFault::Reset,
    }
}
