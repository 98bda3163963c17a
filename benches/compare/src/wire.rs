//! Reads HTTP/1.1 messages one after the other, cheaper than the measured programs do.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

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

    /// The path of a request that gets something.
    pub(crate) fn path_of_get(&self) -> Option<&str> {
        let rest = self.bytes.strip_prefix(b"GET ")?;
        std::str::from_utf8(rest.split(|byte| *byte == b' ').next()?).ok()
    }

    /// The status of a response; 0 if this is none.
    pub(crate) fn status(&self) -> u16 {
        let digits = self.bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
        digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
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

/// A kept connection to an interface that is not measured: tokens, counters, kills.
pub(crate) struct Client {
    address: SocketAddr,
    reader: Reader,
    stream: TcpStream,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { address, reader: Reader::default(), stream })
    }

    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> Outcome<String> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        if self.reader.next(&mut self.stream).await? && matches!(self.reader.status(), 200..300) {
            return Ok(String::from_utf8_lossy(self.reader.body()).into_owned());
        }
        Err(format!("{method} {path}: status {}", self.reader.status()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_arrive_together_are_read_one_by_one() {
        let two = b"HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 403 Forbidden\r\n\r\n";
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut stream, mut reader) = (&two[..], Reader::default());
            assert!(reader.next(&mut stream).await.unwrap());
            assert_eq!((reader.status(), reader.header("x-a"), reader.body()), (200, Some("1"), &b"ab"[..]));
            assert!(reader.next(&mut stream).await.unwrap());
            assert_eq!((reader.status(), reader.header("x-a"), reader.body()), (403, None, &b""[..]));
            assert!(!reader.next(&mut stream).await.unwrap());
            assert!(reader.next(&mut &two[..40]).await.is_err(), "a cut message is an error");
            let mut reader = Reader::default();
            assert!(reader.next(&mut &b"GET /a.m3u8 HTTP/1.1\r\n\r\n"[..]).await.unwrap());
            assert_eq!(reader.path_of_get(), Some("/a.m3u8"));
        });
    }
}
