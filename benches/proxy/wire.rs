//! Reads HTTP/1.1 messages one after the other; cheaper than the measured programs.

use std::io;
use std::ops::Range;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Reads messages that have a `Content-Length` or no body.
#[derive(Default)]
pub(crate) struct Reader {
    body: Range<usize>,
    bytes: Vec<u8>,
}

impl Reader {
    /// Waits for a whole message; false at the end of the stream between two.
    pub(crate) async fn next(&mut self, stream: &mut (impl AsyncRead + ?Sized + Unpin)) -> io::Result<bool> {
        self.bytes.drain(..self.body.end);
        self.body = 0..0;
        loop {
            if let Some(end) = memmem::find(&self.bytes, b"\r\n\r\n") {
                let length = self.header_within(end + 2, "content-length").and_then(|text| text.parse().ok());
                let body = end + 4..end + 4 + length.unwrap_or(0);
                if self.bytes.len() >= body.end {
                    self.body = body;
                    return Ok(true);
                }
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return if self.bytes.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(self.body.clone()).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_within(self.body.start.saturating_sub(2), name)
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bytes.starts_with(b"HTTP/1.1 200 ")
    }

    pub(crate) fn status_line(&self) -> String {
        String::from_utf8_lossy(self.bytes.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned()
    }

    fn header_within(&self, end: usize, name: &str) -> Option<&str> {
        let head = self.bytes.get(..end)?;
        let value = head.split(|byte| *byte == b'\n').find_map(|line| {
            let (key, value) = line.split_at_checked(name.len())?;
            key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)?.strip_prefix(b":")
        })?;
        std::str::from_utf8(value.trim_ascii()).ok()
    }
}
