//! Reads the head of an HTTP/1.1 reply, as strictly as hyper does.
//!
//! Pure: bytes in, a head out. Spaces before a colon are removed and folded lines unfolded, as RFC 9112, sections 5.1
//! and 5.2, asks of proxies.

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::{ParserConfig, Response as ParsedReply, Status};
use memchr::memchr_iter;

use super::UpstreamFault;
use super::connection::{MAX_REPLY_HEAD_BYTES, MAX_REPLY_HEADERS};

#[derive(Debug)]
pub(super) struct Http1ReplyHead {
    pub(super) headers: HeaderMap,
    /// True for HTTP/1.1 without `Connection: close`.
    pub(super) keeps_alive: bool,
    /// Bytes of the head.
    pub(super) length: usize,
    pub(super) status: StatusCode,
    pub(super) version: Http1Version,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Http1Version {
    Http10,
    Http11,
}

/// The head at the start of `bytes`; `None` if it has not ended yet. The first `seen` bytes were looked at before.
///
/// # Errors
/// The bytes are no head, or one that is too large.
pub(super) fn parse(bytes: &[u8], seen: usize) -> Result<Option<Http1ReplyHead>, UpstreamFault> {
    if seen > 0 && !has_end(bytes, seen) {
        return check_size(bytes.len() + 1).map(|()| None);
    }
    // Most replies have few headers, and the larger list costs time to clear.
    match parse_with::<32>(bytes) {
        Err(httparse::Error::TooManyHeaders) => parse_with::<MAX_REPLY_HEADERS>(bytes),
        head => head,
    }
    .unwrap_or_else(|error| {
        let too_many = matches!(error, httparse::Error::TooManyHeaders);
        Err(if too_many { UpstreamFault::TooLarge } else { UpstreamFault::Malformed })
    })
}

type ParsedHead = Result<Option<Http1ReplyHead>, UpstreamFault>;

fn parse_with<const HEADERS: usize>(bytes: &[u8]) -> Result<ParsedHead, httparse::Error> {
    let mut config = ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    let mut lines = [httparse::EMPTY_HEADER; HEADERS];
    let mut reply = ParsedReply::new(&mut lines);
    Ok(match config.parse_response(&mut reply, bytes)? {
        Status::Complete(length) => check_size(length).and_then(|()| head(&reply, bytes, length).map(Some)),
        Status::Partial => check_size(bytes.len() + 1).map(|()| None),
    })
}

fn head(reply: &ParsedReply<'_, '_>, bytes: &[u8], length: usize) -> Result<Http1ReplyHead, UpstreamFault> {
    let status = reply.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(UpstreamFault::Malformed)?;
    let version = if reply.version == Some(1) { Http1Version::Http11 } else { Http1Version::Http10 };
    // All values share one copy of the head, so that none is allocated by itself.
    let whole = Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default());
    let mut headers = HeaderMap::with_capacity(reply.headers.len());
    let mut keeps_alive = version == Http1Version::Http11;
    for line in &*reply.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| UpstreamFault::Malformed)?;
        let value = value(&whole, bytes, line.value)?;
        keeps_alive &= name != CONNECTION || !says_close(&value);
        headers.append(name, value);
    }
    Ok(Http1ReplyHead { headers, keeps_alive, length, status, version })
}

/// A value of the head as a part of its copy, or unfolded.
fn value(whole: &Bytes, bytes: &[u8], value: &[u8]) -> Result<HeaderValue, UpstreamFault> {
    let unfolded = if value.contains(&b'\n') { Some(unfolded(value)) } else { None };
    let shared = unfolded.unwrap_or_else(|| {
        let start = (value.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        let is_within = start.checked_add(value.len()).is_some_and(|end| end <= whole.len());
        if is_within { whole.slice(start..start + value.len()) } else { Bytes::copy_from_slice(value) }
    });
    HeaderValue::from_maybe_shared(shared).map_err(|_| UpstreamFault::Malformed)
}

/// Each fold becomes one space.
fn unfolded(value: &[u8]) -> Bytes {
    let mut lines = value.split(|byte| *byte == b'\n');
    let mut whole = lines.next().unwrap_or_default().trim_ascii_end().to_vec();
    for line in lines {
        whole.push(b' ');
        whole.extend_from_slice(line.trim_ascii());
    }
    whole.into()
}

fn says_close(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// True if an empty line ends behind the bytes that were seen before. Keeps a head that comes byte by byte from being
/// parsed as often.
fn has_end(bytes: &[u8], seen: usize) -> bool {
    let start = seen.saturating_sub(3);
    let new = bytes.get(start..).unwrap_or_default();
    memchr_iter(b'\n', new).any(|at| matches!(new.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

fn check_size(bytes: usize) -> Result<(), UpstreamFault> {
    if bytes > MAX_REPLY_HEAD_BYTES as usize { Err(UpstreamFault::TooLarge) } else { Ok(()) }
}
