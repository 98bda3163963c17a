//! Applies the rules of RFC 9112 for proxies that neither hyper nor the codec applies.
//!
//! hyper or `http1_body` finds the end of a body. This module rewrites a reply's head so that all readers understand it
//! alike, or refuses it. Called once per reply, before anything reads its headers.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::UpstreamFault;

/// Decides whether the connection may carry another call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConnectionReuse {
    /// The framing was doubtful: the next bytes might be another reply, or a part of this one.
    Never,
    Possible,
}

/// # Errors
/// Two readers could understand the reply differently.
pub(super) fn mend(status: StatusCode, headers: &mut HeaderMap) -> Result<ConnectionReuse, UpstreamFault> {
    let length = length(headers)?;
    let is_chunked = is_chunked(headers)?;
    // A reply without a body by its status has neither header (RFC 9110, section 8.6; RFC 9112, section 6.1). No
    // body is read, so bytes that the server sends would be taken for the next reply.
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
        return Ok(if is_chunked || length.is_some_and(|length| length > 0) {
            ConnectionReuse::Never
        } else {
            ConnectionReuse::Possible
        });
    }
    match length {
        // Transfer-Encoding counts, so the length is wrong (RFC 9112, section 6.3).
        Some(_) if is_chunked => {
            headers.remove(CONTENT_LENGTH);
            Ok(ConnectionReuse::Never)
        }
        Some(length) => {
            if !is_plain_length(headers) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Ok(ConnectionReuse::Possible)
        }
        None => Ok(ConnectionReuse::Possible),
    }
}

/// True for a single length that is written as a number is, so that it can stay.
fn is_plain_length(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(only), None) = (values.next(), values.next()) else { return false };
    let digits = only.as_bytes();
    digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"))
}

/// The length; a repeated one must be the same (RFC 9110, section 8.6).
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, UpstreamFault> {
    let mut found = None;
    let values = headers.get_all(CONTENT_LENGTH).iter();
    for digits in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(UpstreamFault::Malformed);
        }
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
        let length = length.ok_or(UpstreamFault::Malformed)?;
        if found.replace(length).is_some_and(|before| before != length) {
            return Err(UpstreamFault::Malformed);
        }
    }
    Ok(found)
}

/// True for `chunked`. No other coding was requested, and none is undone here (RFC 9112, section 7.4).
pub(super) fn is_chunked(headers: &HeaderMap) -> Result<bool, UpstreamFault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(true),
        (Some(_), _) => Err(UpstreamFault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::tests::cost;

    type Row =
        (u16, &'static [(&'static str, &'static str)], Result<(Option<&'static str>, ConnectionReuse), UpstreamFault>);

    #[test]
    fn a_reply_has_one_length_or_is_chunked() {
        use ConnectionReuse::{Never, Possible};
        const CL: &str = "content-length";
        const TE: &str = "transfer-encoding";
        let rows: &[Row] = &[
            (200, &[], Ok((None, Possible))),
            (200, &[(CL, "5")], Ok((Some("5"), Possible))),
            (200, &[(CL, "1, 1")], Ok((Some("1"), Possible))),
            (200, &[(CL, "1,1 ,\t1"), (CL, "1")], Ok((Some("1"), Possible))),
            (200, &[(CL, "007, 7")], Ok((Some("7"), Possible))),
            (304, &[(CL, "5, 5")], Ok((Some("5"), Possible))),
            (200, &[(CL, "1, 2")], Err(UpstreamFault::Malformed)),
            (304, &[(CL, "1"), (CL, "2")], Err(UpstreamFault::Malformed)),
            (200, &[(CL, "1,")], Err(UpstreamFault::Malformed)),
            (200, &[(CL, "")], Err(UpstreamFault::Malformed)),
            (200, &[(CL, "+1")], Err(UpstreamFault::Malformed)),
            (200, &[(CL, "1 1")], Err(UpstreamFault::Malformed)),
            (200, &[(CL, "18446744073709551616")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "chunked")], Ok((None, Possible))),
            (200, &[(TE, " Chunked")], Ok((None, Possible))),
            (200, &[(TE, "chunked"), (CL, "5")], Ok((None, Never))),
            (200, &[(TE, "chunked"), (CL, "5, 6")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "chunked, chunked")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "chunked"), (TE, "chunked")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "gzip, chunked")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "chunked, gzip")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "identity")], Err(UpstreamFault::Malformed)),
            (200, &[(TE, "")], Err(UpstreamFault::Malformed)),
            (204, &[(CL, "0")], Ok((None, Possible))),
            (204, &[(CL, "5")], Ok((None, Never))),
            (204, &[(TE, "chunked")], Ok((None, Never))),
        ];
        for (status, given, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in *given {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let reuse = mend(StatusCode::from_u16(*status).unwrap(), &mut headers);
            let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(|length| length.to_str().unwrap());
            let found = reuse.map(|reuse| (lengths.next(), reuse));
            assert_eq!(found, *expected, "{status} {given:?}");
            assert!(expected.is_err() || lengths.next().is_none(), "{status} {given:?}");
        }
    }

    #[test]
    fn the_largest_head_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        for (name, field, part) in [
            ("lengths", CONTENT_LENGTH, "7,"),
            ("lengths of zeros", CONTENT_LENGTH, "0"),
            ("commas", CONTENT_LENGTH, ","),
            ("codings", TRANSFER_ENCODING, "chunked,"),
        ] {
            let mend = |bytes: &[u8]| {
                let mut headers = HeaderMap::new();
                for line in bytes.chunks(HEAD_BYTES / 250) {
                    headers.append(&field, HeaderValue::from_bytes(line).unwrap());
                }
                usize::from(super::mend(StatusCode::OK, &mut headers).is_ok())
            };
            let make = |size| cost::filled("", |_| part.to_owned(), "", size);
            cost::assert_linear(name, HEAD_BYTES, cost::SHORT, make, mend);
        }
    }
}
