//! Reads names and values of headers, for several tables.

use http::{HeaderName, HeaderValue};

use super::ViewerHeader;

/// Reads a header that is passed on or, with `: TEMPLATE` behind its name, written by us.
pub(super) fn upstream_header(text: &str) -> Result<(HeaderName, Option<ViewerHeader>), String> {
    let Some((name, template)) = text.split_once(':') else { return Ok((passed_header(text)?, None)) };
    let name = passed_header(name.trim())?;
    let header = ViewerHeader::new(name.clone(), template.trim())?;
    Ok((name, Some(header)))
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "must be the name of a header".to_owned())?;
    // These headers belong to one connection and are written anew for the next (RFC 9110 sections 7.2 and 7.6.1).
    const CONNECTION_HEADERS: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if CONNECTION_HEADERS.contains(&name.as_str()) {
        return Err(format!("must not be {name}, which sidebeat writes itself"));
    }
    Ok(name)
}

/// Reads the name of a request header that is passed on to a license server or an authorization service. Headers that
/// would make that server see another request than the one judged here are refused.
pub(super) fn passed_header(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    const REQUEST_CHANGING_HEADERS: [&str; 11] = [
        "content-encoding",
        "content-transfer-encoding",
        "x-envoy-original-path",
        "x-forwarded-uri",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
    ];
    if REQUEST_CHANGING_HEADERS.contains(&name.as_str()) {
        return Err(format!(
            "must not be {name}: the server would see another request than the one that sidebeat judged"
        ));
    }
    Ok(name)
}

/// Marked as sensitive: an operator may put an API key into any header.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "must be the text of a header, without line breaks")?;
    value.set_sensitive(true);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_change_the_request_are_not_passed() {
        for name in
            ["Content-Encoding", "Expect", "X-HTTP-Method-Override", "x-original-url", "x-forwarded-uri", "host", ""]
        {
            assert!(passed_header(name).is_err(), "{name}");
        }
        assert!(passed_header("x-correlation-id").is_ok());
    }

    #[test]
    fn a_header_is_passed_on_or_written() {
        assert_eq!(upstream_header("X-Trace"), Ok((HeaderName::from_static("x-trace"), None)));
        let (name, written) = upstream_header("x-forwarded-for: {viewer-address}").unwrap();
        assert_eq!(
            (name.as_str(), written.map(|header| header.name().clone())),
            ("x-forwarded-for", Some(name.clone()))
        );
        for text in ["", "a b", "x-trace:", "x-trace: 1", ": {viewer-address}", "host: {viewer-address}"] {
            assert!(upstream_header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn header_values_are_not_shown() {
        assert_eq!(format!("{:?}", header_value("hush").unwrap()), "Sensitive");
        assert!(header_value("a\r\nb").is_err());
        assert!(header_value("").is_err());
    }
}
