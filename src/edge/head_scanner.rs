//! Reads the raw head of each HTTP/1.1 request, beside hyper.
//!
//! hyper hides two things that other parsers read differently: it drops Content-Length beside Transfer-Encoding, and
//! accepts a bare LF as a line end. The [`HeadScanner`] finds them and tells the number of the request on its
//! connection; the service then answers 400 and closes. It does not read chunks, because the reply to a chunked
//! request closes the connection. `watched_stream` feeds it.

use super::request_rules::RequestViolation;

/// The same as hyper's buffer, which refuses longer heads.
const MAX_SCANNED_HEAD_BYTES: usize = super::connection::MAX_REQUEST_HEAD_BUFFER_BYTES;

#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    state: HeadScanState,
    /// Number of requests with a complete head.
    requests: u32,
    /// The part of a line that has arrived.
    line: Vec<u8>,
    /// Bytes of this head that have arrived.
    size: usize,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum HeadScanState {
    /// No more requests are read on this connection, because the last one was chunked or broken.
    Blind,
    /// Bytes of the body still to come.
    Body(u64),
    Fields,
    #[default]
    Start,
}

impl HeadScanner {
    /// Reads the next bytes; returns the first violation and its request's number from 0.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Option<(u32, RequestViolation)> {
        while !bytes.is_empty() {
            match self.state {
                HeadScanState::Blind => return None,
                HeadScanState::Body(left) => bytes = self.skip(bytes, left),
                HeadScanState::Fields | HeadScanState::Start => match self.head(bytes) {
                    Ok(rest) => bytes = rest,
                    Err(breach) => {
                        self.state = HeadScanState::Blind;
                        self.line = Vec::new();
                        return Some((self.requests, breach));
                    }
                },
            }
        }
        None
    }

    /// Number of requests with a complete head.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// True if a head has begun and not ended.
    pub(super) fn is_mid_head(&self) -> bool {
        match self.state {
            HeadScanState::Blind | HeadScanState::Body(_) => false,
            HeadScanState::Fields | HeadScanState::Start => self.size > 0,
        }
    }

    /// True if bytes of a request may still be arriving.
    pub(super) fn is_mid_message(&self) -> bool {
        self.state != HeadScanState::Start || !self.line.is_empty()
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - here as u64;
        self.state = if left == 0 { HeadScanState::Start } else { HeadScanState::Body(left) };
        bytes.get(here..).unwrap_or_default()
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], RequestViolation> {
        let end = memchr::memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.size += part.len();
        if self.size > MAX_SCANNED_HEAD_BYTES {
            return Err(RequestViolation::Malformed);
        }
        if end.is_none() {
            self.line.extend_from_slice(part);
        } else if self.line.is_empty() {
            self.line(part)?;
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(part);
            self.line(&line)?;
        }
        Ok(rest)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), RequestViolation> {
        let line = line.strip_suffix(b"\r\n").ok_or(RequestViolation::BareLineFeed)?;
        match self.state {
            // Empty lines before a request are skipped (RFC 9112 section 2.2).
            HeadScanState::Start if line.is_empty() => Ok(()),
            HeadScanState::Start => {
                self.state = HeadScanState::Fields;
                Ok(())
            }
            HeadScanState::Blind | HeadScanState::Body(_) | HeadScanState::Fields if line.is_empty() => self.finish(),
            HeadScanState::Blind | HeadScanState::Body(_) | HeadScanState::Fields => self.field(line),
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), RequestViolation> {
        let colon = memchr::memchr(b':', line).ok_or(RequestViolation::Malformed)?;
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = digits(value.strip_prefix(b":").unwrap_or_default()).ok_or(RequestViolation::Malformed)?;
            if self.length.replace(length).is_some_and(|before| before != length) {
                return Err(RequestViolation::Malformed);
            }
        } else if name.first().is_none_or(u8::is_ascii_whitespace) || name.last().is_some_and(u8::is_ascii_whitespace) {
            return Err(RequestViolation::Malformed);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RequestViolation> {
        let length = self.length.take();
        if self.chunked && length.is_some() {
            return Err(RequestViolation::BothLengths);
        }
        self.state = match length {
            _ if self.chunked => HeadScanState::Blind,
            None | Some(0) => HeadScanState::Start,
            Some(length) => HeadScanState::Body(length),
        };
        self.requests += 1;
        self.size = 0;
        Ok(())
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let all = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if all { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    const BARE: &str = "POST /a HTTP/1.1\nHost: h\r\n\r\n";
    const BOTH: &str = "POST /a HTTP/1.1\r\ncontent-length:4 \r\ntransfer-encoding: chunked\r\n\r\n";

    fn scan(text: &str) -> Option<(u32, RequestViolation)> {
        HeadScanner::default().feed(text.as_bytes())
    }

    #[test]
    fn heads() {
        let rows = [
            (PLAIN.to_owned(), None),
            (format!("\r\n\r\n{PLAIN}"), None),
            (format!("\n{PLAIN}"), Some((0, RequestViolation::BareLineFeed))),
            (format!("{PLAIN}{PLAIN}{BARE}"), Some((2, RequestViolation::BareLineFeed))),
            (format!("{PLAIN}{BOTH}"), Some((1, RequestViolation::BothLengths))),
            // What follows a chunked request is never read as one.
            (format!("{CHUNKED}{BARE}"), None),
            (PLAIN.replace("5", "5, 5"), Some((0, RequestViolation::Malformed))),
            (PLAIN.replace("5", "+5"), Some((0, RequestViolation::Malformed))),
            (PLAIN.replace("5", "99999999999999999999"), Some((0, RequestViolation::Malformed))),
            (PLAIN.replace("Host: h", "Content-Length: 5"), None),
            (PLAIN.replace("Host: h", "Content-Length: 6"), Some((0, RequestViolation::Malformed))),
            (PLAIN.replace("Length:", "Length :"), Some((0, RequestViolation::Malformed))),
            (PLAIN.replace("Host: h", "X: a\r\n b: c"), Some((0, RequestViolation::Malformed))),
            ("GET /a HTTP/1.1\r\nHost: h\r\n\n".to_owned(), Some((0, RequestViolation::BareLineFeed))),
            (
                format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_SCANNED_HEAD_BYTES)),
                Some((0, RequestViolation::Malformed)),
            ),
        ];
        for (text, expected) in rows {
            let shown: String = text.chars().take(120).collect();
            assert_eq!(scan(&text), expected, "{shown:?}");
        }
    }

    /// The 32 KiB are for each head, and not for all heads of a kept connection.
    #[test]
    fn heads_of_a_kept_connection_may_add_up_to_more_than_the_longest_head() {
        let filled =
            PLAIN.replace("Host: h", &format!("Host: h\r\nX-Fill: {}", "a".repeat(MAX_SCANNED_HEAD_BYTES / 3)));
        let mut scanner = HeadScanner::default();
        for call in 0..50 {
            assert_eq!(scanner.feed(filled.as_bytes()), None, "call {call}");
        }
        assert_eq!(scanner.requests, 50);
    }

    #[test]
    fn a_body_is_no_head() {
        let smuggled = format!("POST /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BARE}{PLAIN}", BARE.len());
        let mut scanner = HeadScanner::default();
        assert_eq!(scanner.feed(smuggled.as_bytes()), None);
        assert_eq!(scanner.requests, 2);
        assert!(!scanner.is_mid_message());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            parts in prop::collection::vec(prop::sample::select(vec![PLAIN, CHUNKED, BARE, BOTH, "\r\n"]), 0..6),
            cuts in prop::collection::vec(1_usize..40, 1..60),
        ) {
            let text = parts.concat();
            let mut scanner = HeadScanner::default();
            let (mut rest, mut found) = (text.as_bytes(), None);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                found = found.or(scanner.feed(now));
                rest = later;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(found, scan(&text));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut scanner = HeadScanner::default();
            let _found = scanner.feed(&bytes);
            prop_assert!(scanner.line.len() <= MAX_SCANNED_HEAD_BYTES);
        }
    }
}
