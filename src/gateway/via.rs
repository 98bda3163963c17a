//! Writes and reads `Via` (RFC 9110, section 7.6.3): it names the proxies of a request to servers, and shows us a
//! request that has come back.

use std::sync::Arc;

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

use crate::ids::random_u64;

/// Length of earlier entries that are kept; honest proxies write less.
const MAX_EARLIER_BYTES: usize = 1024;

/// Name of this process. Another sidebeat or the next process has another name, so only a request that this
/// process sent itself is a loop.
#[derive(Clone, Debug)]
pub struct ViaName(Arc<ViaLines>);

/// Our name, and our entry for each version of HTTP, made once.
#[derive(Debug)]
struct ViaLines {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
    name: String,
}

impl Default for ViaName {
    fn default() -> Self {
        Self::of(random_u64() >> 32)
    }
}

impl ViaName {
    fn of(number: u64) -> Self {
        let name = format!("sidebeat-{number:08x}");
        // Letters, digits and a hyphen can stand in a header.
        let line = |protocol: &str| {
            HeaderValue::try_from(format!("{protocol} {name}")).unwrap_or(HeaderValue::from_static("1.1 sidebeat"))
        };
        let (http10, http11, http2) = (line("1.0"), line("1.1"), line("2.0"));
        Self(Arc::new(ViaLines { http10, http11, http2, name }))
    }

    /// True if a request with these headers went through us before.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok());
        let mut hops = values.flat_map(|value| value.split(','));
        hops.any(|hop| hop.split_ascii_whitespace().nth(1).is_some_and(|name| name.eq_ignore_ascii_case(&self.0.name)))
    }

    /// Adds us behind the proxies that passed the request on before.
    pub(super) fn sign(&self, version: Version, headers: &mut HeaderMap) {
        let own = match version {
            Version::HTTP_10 => &self.0.http10,
            Version::HTTP_2 => &self.0.http2,
            _ => &self.0.http11,
        };
        let whole = if headers.contains_key(VIA) { behind_earlier(headers, own) } else { None };
        headers.insert(VIA, whole.unwrap_or_else(|| own.clone()));
    }
}

/// The entries so far and ours; `None` if they are not to be kept.
fn behind_earlier(headers: &HeaderMap, own: &HeaderValue) -> Option<HeaderValue> {
    let mut entries: Vec<_> = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()).collect();
    entries.push(own.to_str().ok()?);
    let whole = entries.join(", ");
    if whole.len() > MAX_EARLIER_BYTES + own.len() { None } else { HeaderValue::try_from(whole).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(VIA, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_request_that_the_proxy_forwarded_is_recognised_among_all_hops() {
        let name = ViaName::of(0x2a);
        for (values, loops) in [
            (&[][..], false),
            (&["1.1 sidebeat-0000002a"], true),
            (&["1.0 fred, 2.0 SIDEBEAT-0000002A (a comment), 1.1 x"], true),
            (&["1.1 fred", "HTTP/1.1 sidebeat-0000002a"], true),
            (&["1.1 sidebeat-0000002b, 1.1 sidebeat"], false),
            (&["sidebeat-0000002a", "1.1  ,,"], false),
        ] {
            assert_eq!(name.is_in(&headers(values)), loops, "{values:?}");
            let mut signed = headers(values);
            name.sign(Version::HTTP_2, &mut signed);
            assert!(name.is_in(&signed) && signed.get_all(VIA).iter().count() == 1, "{signed:?}");
        }
        let mut signed = headers(&["1.0 fred", "1.1 p.example.net"]);
        name.sign(Version::HTTP_11, &mut signed);
        assert_eq!(signed[VIA], "1.0 fred, 1.1 p.example.net, 1.1 sidebeat-0000002a");
        let mut long = headers(&[&"1.1 x, ".repeat(200)]);
        name.sign(Version::HTTP_11, &mut long);
        assert_eq!(long[VIA], "1.1 sidebeat-0000002a");
    }
}
