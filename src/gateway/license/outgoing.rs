//! Builds the request for the license server, before anything about the call is decided.
//!
//! The same value is recognised, judged, compared and sent; only the header that carries the session is added at
//! the end. So a player cannot make the server see another request than the one that was judged. Anything that
//! would let the server read the same bytes differently is refused: a content encoding, which is not passed on,
//! or a charset that sidebeat cannot read.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::authority::Authority;
use crate::config::BodyWrapping;
use crate::drm::{self, DrmMessage, UnrecognisedBody};
use crate::edge::{ReplyBody, RequestViolation};
use crate::gateway::onward_target::our_names;
use crate::gateway::passed_headers;
use crate::gateway::query;
use crate::gateway::refuse;
use crate::gateway::route::{GatewayRoute, LicenseRoute};

/// Charsets in which recognition reads a body: ASCII reads the same in all of them but the UTF-16 ones.
const CHARSETS: [&str; 10] =
    ["ascii", "iso-8859-1", "latin1", "us-ascii", "utf-16", "utf-16be", "utf-16le", "utf-8", "utf8", "windows-1252"];

#[derive(Debug)]
pub(in crate::gateway) struct OutgoingRequest {
    pub(in crate::gateway) body: Bytes,
    /// Headers without the one that will carry the session or the content token.
    pub(in crate::gateway) headers: HeaderMap,
    pub(in crate::gateway) method: Method,
    /// Path behind the license server's own; the device's segment is taken off once it is known.
    pub(in crate::gateway) path: String,
    /// Query without the parameters that are meant for us alone.
    pub(in crate::gateway) query: Option<String>,
}

/// Reasons why nothing can be sent for a player's request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum UnfitRequest {
    /// A GET with a body. Servers differ in whether they read it.
    Body,
    Charset,
    Encoding,
    Wrapping(drm::configured_wrapping::WrappingMisfit),
}

impl OutgoingRequest {
    /// `rest` is the path behind the route's path.
    pub(in crate::gateway) fn build(
        route: &LicenseRoute,
        authority: Option<&Authority>,
        rest: &str,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Self, UnfitRequest> {
        if parts.method == Method::GET && !body.is_empty() {
            return Err(UnfitRequest::Body);
        }
        check_encoding(&parts.headers)?;
        let config = &route.config;
        let mut headers = passed_headers::for_license(&config.headers, config.strip_cmcd, &parts.headers);
        check_charset(&headers)?;
        let (body, content_type) = rewrap(route, body)?;
        set_content_type(&mut headers, content_type);
        let query = parts.uri.query().and_then(|query| query::without(Some(query), &our_names(route, authority)));
        Ok(Self { body, headers, method: parts.method.clone(), path: rest.to_owned(), query })
    }

    /// Finds the DRM message, wherever in the request it stands.
    pub(in crate::gateway) fn recognise(&self, route: &LicenseRoute) -> Result<DrmMessage, UnrecognisedBody> {
        let wrapping = &route.license.wrapping;
        let translated = wrapping.player_request != wrapping.server_request;
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let bare =
            if translated { drm::configured_wrapping::unwrap(&wrapping.server_request, &self.body).ok() } else { None };
        let beside = self.beside(route);
        match &bare {
            Some(bare) => drm::recognise_request(None, bare, beside).map(|mut message| {
                // The player unwraps its reply too.
                message.wrapped |= wrapping.player_request != BodyWrapping::Raw;
                message
            }),
            None => drm::recognise_request(content_type, &self.body, beside),
        }
    }

    /// Texts beside the body that may hold a message: the query, path segments, and headers that this route passes.
    fn beside<'a>(&'a self, route: &'a GatewayRoute) -> impl Iterator<Item = &'a [u8]> + Clone {
        let query = self.query.iter().map(String::as_bytes);
        let steps = self.path.split('/').map(str::as_bytes);
        let headers = route.config.headers.iter().filter_map(|name| self.headers.get(name)).map(HeaderValue::as_bytes);
        query.chain(steps).chain(headers).filter(|text| !text.is_empty())
    }
}

impl UnfitRequest {
    /// The error reply. `Gateway::refuse_unfit` refuses a wrapping misfit as a failure of the call.
    pub(in crate::gateway) fn reply(self) -> Response<ReplyBody> {
        const WRAPPED: &str = "the request cannot be wrapped as the license server wants it";
        let (status, detail) = match self {
            Self::Body => (StatusCode::BAD_REQUEST, RequestViolation::BodyUnexpected.detail()),
            Self::Charset => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the charset of the body is not read here: send UTF-8, or leave it out",
            ),
            Self::Encoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body's content encoding is not read here: send it as it is, without Content-Encoding",
            ),
            Self::Wrapping(_) => (StatusCode::FORBIDDEN, WRAPPED),
        };
        let mut reply = refuse(status, self.error(), detail);
        if self == Self::Encoding {
            // RFC 9110 section 15.5.16.
            reply.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        reply
    }

    fn error(self) -> &'static str {
        match self {
            Self::Body => "body_unexpected",
            Self::Charset => "charset",
            Self::Encoding => "content_encoding",
            Self::Wrapping(_) => "license_server_request_wrapping",
        }
    }
}

/// Refuses encoded bodies. Content-Encoding is not passed on, so the server would misread such a body.
pub(in crate::gateway) fn check_encoding(headers: &HeaderMap) -> Result<(), UnfitRequest> {
    let is_none = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    let mut codings =
        headers.get_all(CONTENT_ENCODING).into_iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    if codings.all(|coding| is_none(coding.trim_ascii())) { Ok(()) } else { Err(UnfitRequest::Encoding) }
}

/// Refuses charsets that cannot be read here, because the server may read the body by them.
fn check_charset(headers: &HeaderMap) -> Result<(), UnfitRequest> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let charset = |parameter: &[u8]| {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (parameter.get(..equals)?, parameter.get(equals + 1..)?);
        let quoted = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
        let value: Vec<u8> = value.iter().copied().filter(|byte| !quoted(byte)).collect();
        name.trim_ascii().eq_ignore_ascii_case(b"charset").then_some(value)
    };
    let is_read =
        |name: &[u8]| name.is_empty() || CHARSETS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let parameters = content_type.as_bytes().split(|byte| matches!(byte, b';' | b','));
    let mut charsets = parameters.filter_map(charset);
    if charsets.all(|name| is_read(&name)) { Ok(()) } else { Err(UnfitRequest::Charset) }
}

/// Rewraps the body for the server; returns the content type where it differs from the player's.
fn rewrap(route: &LicenseRoute, body: Bytes) -> Result<(Bytes, Option<&'static str>), UnfitRequest> {
    let (from, to) = (&route.license.wrapping.player_request, &route.license.wrapping.server_request);
    if from == to || body.is_empty() {
        return Ok((body, None));
    }
    let bare = drm::configured_wrapping::unwrap(from, &body).map_err(UnfitRequest::Wrapping)?;
    let (content_type, wrapped) = drm::configured_wrapping::wrap(to, &bare);
    Ok((wrapped.into(), content_type))
}

pub(in crate::gateway) fn set_content_type(headers: &mut HeaderMap, content_type: Option<&'static str>) {
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(name: HeaderName, lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line).unwrap())).collect()
    }

    #[test]
    fn only_bodies_without_an_encoding_pass() {
        let rows: [(&[&[u8]], bool); 14] = [
            (&[], true),
            (&[b""], true),
            (&[b"identity"], true),
            (&[b" Identity , "], true),
            (&[b"identity", b"IDENTITY"], true),
            (&[b"gzip"], false),
            (&[b"GZip"], false),
            (&[b"x-gzip"], false),
            (&[b"identity, gzip"], false),
            (&[b"identity", b"br"], false),
            (&[b"", b"deflate"], false),
            (&[b"identity;q=1"], false),
            (&[b"gzip\xff"], false),
            (&[b"aes128gcm"], false),
        ];
        for (lines, passes) in rows {
            assert_eq!(check_encoding(&headers(CONTENT_ENCODING, lines)).is_ok(), passes, "{lines:?}");
        }
    }

    #[test]
    fn only_charsets_that_are_read_here_pass() {
        for (content_type, passes) in [
            ("application/octet-stream", true),
            ("text/xml; charset=utf-8", true),
            ("text/xml;charset=\"UTF-8\"", true),
            ("application/json; CHARSET = utf8 ; x=y", true),
            ("text/xml; charset=utf-16", true),
            ("text/plain;charset=", true),
            ("multipart/form-data; boundary=charset", true),
            ("text/xml; charset=utf-7", false),
            ("text/xml; x=1; charset='ibm037'", false),
            ("text/xml; charset=utf-8; charset=utf-7", false),
            ("text/xml; charset=utf-32", false),
            ("text/xml, text/json; charset=cp500", false),
        ] {
            let headers = headers(CONTENT_TYPE, &[content_type.as_bytes()]);
            assert_eq!(check_charset(&headers).is_ok(), passes, "{content_type}");
        }
    }
}
