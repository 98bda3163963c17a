//! Finds the address that a call counts for: the viewer's, if trusted proxies name it, else the peer's.
//!
//! Pure functions over headers. A trusted proxy appends the address that called it, so the list is read from its
//! right end: trusted addresses are further proxies, and the first other one is the viewer. Entries left of it may be
//! the viewer's invention. If the list cannot be read, the peer's address counts.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

use crate::config::{ForwardedHeader, ServerSettings, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The trusted proxies, and the header by which they name viewers.
#[derive(Clone, Debug, Default)]
pub(super) struct ForwardingRules {
    header: ForwardedHeader,
    trusted: TrustedProxies,
}

/// Content of a trusted proxy's headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ForwardedViewer {
    /// The peer is no trusted proxy, or names nobody.
    Nothing,
    /// A viewer is named unreadably, or two headers contradict each other.
    Unreadable,
    Viewer(IpAddr),
}

impl ForwardingRules {
    pub(super) fn of(server: &ServerSettings) -> Self {
        Self::new(server.trusted_proxies.clone(), server.forwarded_header)
    }

    fn new(trusted: TrustedProxies, header: ForwardedHeader) -> Self {
        Self { header, trusted }
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.trusts(address)
    }

    /// The viewer that the peer at `from` calls for.
    pub(super) fn read(&self, from: IpAddr, headers: &HeaderMap) -> ForwardedViewer {
        if !self.trusted.trusts(from) {
            return ForwardedViewer::Nothing;
        }
        let by_forwarded = || self.walk(headers, &FORWARDED, forwarded_hops);
        let by_x_forwarded_for = || self.walk(headers, &X_FORWARDED_FOR, plain_hops);
        match self.header {
            ForwardedHeader::Forwarded => by_forwarded(),
            ForwardedHeader::XForwardedFor => by_x_forwarded_for(),
            ForwardedHeader::Any => match (by_forwarded(), by_x_forwarded_for()) {
                (ForwardedViewer::Nothing, told) | (told, ForwardedViewer::Nothing) => told,
                (one, other) if one == other => one,
                // A proxy that writes only one of them may pass on the viewer's own text in the other.
                (_, _) => ForwardedViewer::Unreadable,
            },
        }
    }

    /// Walks from the last line to the first, and within each from right to left. Lines beyond the viewer are not
    /// read.
    fn walk(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        hops: impl Fn(&str) -> Option<Vec<Option<IpAddr>>>,
    ) -> ForwardedViewer {
        let mut farthest = None;
        for line in headers.get_all(name).iter().rev() {
            // Text of the viewer in another encoding must not hide the address that the proxy saw.
            let Some(hops) = hops(&String::from_utf8_lossy(line.as_bytes())) else {
                return ForwardedViewer::Unreadable;
            };
            for hop in hops.into_iter().rev() {
                match hop {
                    Some(proxy) if self.trusted.trusts(proxy) => farthest = Some(proxy),
                    Some(viewer) => return ForwardedViewer::Viewer(viewer),
                    None => return ForwardedViewer::Unreadable,
                }
            }
        }
        // All hops are trusted, so the farthest is the viewer itself.
        farthest.map_or(ForwardedViewer::Nothing, ForwardedViewer::Viewer)
    }
}

/// The hops of an `X-Forwarded-For` line; an entry that is no address is `None`.
fn plain_hops(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let hops = line.split(',').map(str::trim).filter(|hop| !hop.is_empty());
    Some(hops.map(address).collect())
}

/// The hops of a `Forwarded` line (RFC 7239 section 4); a hop whose `for` is no address is `None`. Returns `None` if
/// the line breaks the grammar, because then its commas cannot be trusted either.
fn forwarded_hops(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let (mut hops, mut hop, mut rest) = (Vec::new(), ForwardedHop::default(), line.trim());
    while !rest.is_empty() {
        match rest.strip_prefix([';', ',']) {
            Some(after) if rest.starts_with(',') => {
                hops.extend(std::mem::take(&mut hop).end());
                rest = after.trim_start();
            }
            Some(after) => rest = after.trim_start(),
            None => {
                let (name, value) = rest.split_once('=')?;
                let (value, after) = token_or_quoted(value)?;
                rest = after.trim_start();
                if !rest.is_empty() && !rest.starts_with([';', ',']) {
                    return None;
                }
                hop.take(name.trim_end(), &value)?;
            }
        }
    }
    hops.extend(hop.end());
    Some(hops)
}

/// An element of `Forwarded`.
#[derive(Default)]
struct ForwardedHop {
    address: Option<Option<IpAddr>>,
    has_pairs: bool,
}

impl ForwardedHop {
    /// Reads a pair; `None` if it cannot stand here.
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        self.has_pairs = true;
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return None;
        }
        let twice = name.eq_ignore_ascii_case("for") && self.address.replace(address(value)).is_some();
        (!twice).then_some(())
    }

    /// Ends an element: `None` if it is empty. An element without `for` is a hop without an address.
    fn end(self) -> Option<Option<IpAddr>> {
        self.has_pairs.then(|| self.address.flatten())
    }
}

/// Splits off a value.
fn token_or_quoted(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token_byte(byte) && !b":[]".contains(&byte)).unwrap_or(text.len());
        let (token, after) = text.split_at_checked(end)?;
        return (!token.is_empty()).then(|| (token.to_owned(), after));
    };
    let (mut value, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// Token characters of RFC 9110 section 5.6.2. Addresses that lack their quotes are read all the same.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An address with or without a port, IPv6 with or without brackets; IPv4-mapped is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        let is_whole = port.is_empty() || is_port(port.strip_prefix(':')?);
        address.parse().ok().map(IpAddr::V6).filter(|_| is_whole)
    };
    let with_port = || {
        let (address, port) = text.split_once(':')?;
        address.parse().ok().map(IpAddr::V4).filter(|_| is_port(port))
    };
    bare().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

/// A number, or a name in its place (RFC 7239 section 6.3).
fn is_port(text: &str) -> bool {
    let is_number = matches!(text.len(), 1..=5) && text.bytes().all(|byte| byte.is_ascii_digit());
    let named = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    is_number || text.strip_prefix('_').is_some_and(named)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::cost;

    fn rules(header: ForwardedHeader) -> ForwardingRules {
        let trusted = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
        ForwardingRules::new(TrustedProxies::new(trusted.into()), header)
    }

    fn told(header: ForwardedHeader, from: &str, lines: &[(&'static str, &str)]) -> ForwardedViewer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        rules(header).read(from.parse().unwrap(), &headers)
    }

    fn viewer(address: &str) -> ForwardedViewer {
        ForwardedViewer::Viewer(address.parse().unwrap())
    }

    #[test]
    fn the_viewer_is_the_rightmost_address_that_is_no_trusted_proxy() {
        const XFF: &str = "x-forwarded-for";
        const FWD: &str = "forwarded";
        let rows: &[(&[(&'static str, &str)], ForwardedViewer)] = &[
            (&[], ForwardedViewer::Nothing),
            (&[(XFF, "203.0.113.9")], viewer("203.0.113.9")),
            (&[(XFF, "6.6.6.6, 203.0.113.9")], viewer("203.0.113.9")),
            (&[(XFF, "6.6.6.6, 203.0.113.9, 10.1.1.1,10.0.0.3")], viewer("203.0.113.9")),
            (&[(XFF, "10.1.1.1, 10.0.0.3")], viewer("10.1.1.1")),
            (&[(XFF, "6.6.6.6"), (XFF, "203.0.113.9"), (XFF, "10.0.0.3")], viewer("203.0.113.9")),
            (&[(XFF, "203.0.113.9:4711")], viewer("203.0.113.9")),
            (&[(XFF, "[2001:db8::9]:4711")], viewer("2001:db8::9")),
            (&[(XFF, "2001:db8::9")], viewer("2001:db8::9")),
            (&[(XFF, "::ffff:203.0.113.9, ::ffff:10.0.0.3")], viewer("203.0.113.9")),
            (&[(XFF, ", ,203.0.113.9, ")], viewer("203.0.113.9")),
            (&[(XFF, "")], ForwardedViewer::Nothing),
            // What the viewer invents stands left of what the proxy saw.
            (&[(XFF, "<script>, 203.0.113.9")], viewer("203.0.113.9")),
            (&[(XFF, "unknown")], ForwardedViewer::Unreadable),
            (&[(XFF, "203.0.113.9, unknown, 10.0.0.3")], ForwardedViewer::Unreadable),
            (&[(XFF, "203.0.113.999")], ForwardedViewer::Unreadable),
            (&[(XFF, "fe80::1%eth0")], ForwardedViewer::Unreadable),
            (&[(FWD, "for=203.0.113.9")], viewer("203.0.113.9")),
            (&[(FWD, "for=6.6.6.6;proto=http, For=\"203.0.113.9:4711\"; by=10.0.0.3 ;host=h")], viewer("203.0.113.9")),
            (&[(FWD, "proto=https;for=\"[2001:db8::9]:4711\"")], viewer("2001:db8::9")),
            (&[(FWD, "for=\"[2001:db8::9]\"")], viewer("2001:db8::9")),
            (&[(FWD, "for=[2001:db8::9]")], viewer("2001:db8::9")),
            (&[(FWD, "for=\"203\\.0.113.9\"")], viewer("203.0.113.9")),
            (&[(FWD, "for=6.6.6.6"), (FWD, "for=203.0.113.9,for=10.0.0.3")], viewer("203.0.113.9")),
            (&[(FWD, "for=\"a, for=6.6.6.6"), (FWD, "for=203.0.113.9")], viewer("203.0.113.9")),
            (&[(FWD, "for=unknown")], ForwardedViewer::Unreadable),
            (&[(FWD, "for=_hidden")], ForwardedViewer::Unreadable),
            (&[(FWD, "proto=https")], ForwardedViewer::Unreadable),
            (&[(FWD, "for=203.0.113.9;for=6.6.6.6")], ForwardedViewer::Unreadable),
            (&[(FWD, "203.0.113.9")], ForwardedViewer::Unreadable),
            (&[(FWD, "for=")], ForwardedViewer::Unreadable),
            // A quote that the viewer opens must not swallow what the proxy appends.
            (&[(FWD, "for=6.6.6.6;by=\", for=\"[2001:db8::9]\"")], ForwardedViewer::Unreadable),
            (&[(FWD, "for=6.6.6.6;by=\", for=203.0.113.9")], ForwardedViewer::Unreadable),
            (&[(XFF, "203.0.113.9"), (FWD, "for=203.0.113.9")], viewer("203.0.113.9")),
            (&[(XFF, "203.0.113.9"), (FWD, "for=6.6.6.6")], ForwardedViewer::Unreadable),
        ];
        for (lines, expected) in rows {
            for from in ["10.0.0.2", "::1"] {
                assert_eq!(told(ForwardedHeader::Any, from, lines), *expected, "{lines:?}");
            }
            assert_eq!(
                told(ForwardedHeader::Any, "203.0.113.1", lines),
                ForwardedViewer::Nothing,
                "not trusted: {lines:?}"
            );
        }
    }

    #[test]
    fn every_form_of_a_node_is_read_and_an_unknown_one_is_not() {
        for (node, address) in [
            ("203.0.113.9", Some("203.0.113.9")),
            ("203.0.113.9:0", Some("203.0.113.9")),
            ("203.0.113.9:80", Some("203.0.113.9")),
            ("203.0.113.9:_gaz", Some("203.0.113.9")),
            ("203.0.113.9:_", None),
            ("203.0.113.9:gaz", None),
            ("203.0.113.9:", None),
            ("203.0.113.9:123456", None),
            ("203.0.113.9:_a:b", None),
            ("203.0.113.9:+80", None),
            ("[203.0.113.9]:80", None),
            ("2001:db8::9", Some("2001:db8::9")),
            ("[2001:db8::9]", Some("2001:db8::9")),
            ("[2001:db8::9]:4711", Some("2001:db8::9")),
            ("[2001:db8::9]:_a.b-c_1", Some("2001:db8::9")),
            ("[2001:db8::9]4711", None),
            ("[2001:db8::9]:", None),
            ("[2001:db8::9", None),
            ("2001:db8::9:_gaz", None),
            ("[::ffff:203.0.113.9]:_gaz", Some("203.0.113.9")),
            ("unknown", None),
            ("unknown:4711", None),
            ("unknown:_gaz", None),
            ("_hidden", None),
            ("_hidden:_gaz", None),
            ("_203.0.113.9", None),
        ] {
            let expected = address.map_or(ForwardedViewer::Unreadable, viewer);
            let lines = [
                format!("for=\"{node}\""),
                format!("for=6.6.6.6, for=\"{node}\";proto=https"),
                format!("for=_hidden, for=unknown;by=x, For=\"{node}\" , for=\"[::1]:_p\", for=\"10.0.0.3:_gaz\""),
            ];
            for line in lines {
                assert_eq!(told(ForwardedHeader::Any, "10.0.0.2", &[("forwarded", &line)]), expected, "{line}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_no_viewer() {
        let rows: [(&'static str, &[u8], ForwardedViewer); 6] = [
            ("x-forwarded-for", b"\xff\xfe, 203.0.113.9", viewer("203.0.113.9")),
            ("x-forwarded-for", b"6.6.6.6\xa0, 203.0.113.9, 10.0.0.3", viewer("203.0.113.9")),
            ("x-forwarded-for", b"203.0.113.9, \xff", ForwardedViewer::Unreadable),
            ("forwarded", b"for=\"\xff\", for=203.0.113.9", viewer("203.0.113.9")),
            ("forwarded", b"for=\xff, for=203.0.113.9", ForwardedViewer::Unreadable),
            ("forwarded", b"for=203.0.113.9;by=\"\xff\"", viewer("203.0.113.9")),
        ];
        for (name, line, expected) in rows {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_bytes(line).unwrap())]);
            let told = rules(ForwardedHeader::Any).read(IpAddr::from([10, 0, 0, 2]), &headers);
            assert_eq!(told, expected, "{name}: {line:?}");
        }
    }

    #[test]
    fn only_the_header_that_is_configured_is_believed() {
        let both = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(told(ForwardedHeader::XForwardedFor, "10.0.0.2", &both), viewer("203.0.113.9"));
        assert_eq!(told(ForwardedHeader::Forwarded, "10.0.0.2", &both), viewer("6.6.6.6"));
        assert_eq!(told(ForwardedHeader::Forwarded, "10.0.0.2", &both[..1]), ForwardedViewer::Nothing);
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd(line in "((for|by)?[=;,\"\\\\ ]|[0-9.:\\[\\]]{0,9}|[ -~])*", name in "(x-forwarded-for|forwarded)") {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(line).unwrap());
            let _told = rules(ForwardedHeader::Any).read(IpAddr::from([10, 0, 0, 2]), &headers);
        }

        /// Whatever a viewer sends, a proxy that appends the address it saw decides.
        #[test]
        fn a_viewer_cannot_choose_its_address(invented in "[ -~]{0,40}") {
            let line = format!("{invented}, 203.0.113.9");
            let found = told(ForwardedHeader::XForwardedFor, "10.0.0.2", &[("x-forwarded-for", &line)]);
            prop_assert_eq!(found, viewer("203.0.113.9"));
            let line = format!("{invented}, for=203.0.113.9");
            let found = told(ForwardedHeader::Forwarded, "10.0.0.2", &[("forwarded", &line)]);
            prop_assert!(found == viewer("203.0.113.9") || found == ForwardedViewer::Unreadable, "{:?}", found);
        }
    }

    #[test]
    fn addresses_that_proxies_tell_cost_no_more_than_their_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        let from = "10.0.0.1".parse().unwrap();
        let cases: [(&str, HeaderName, &str, &str); 9] = [
            ("hops", X_FORWARDED_FOR, "", "10.1.1.1,"),
            ("hops of nobody", X_FORWARDED_FOR, "", ","),
            ("hops that are no address", X_FORWARDED_FOR, "", "[::"),
            ("elements", FORWARDED, "", "for=10.1.1.1,"),
            ("elements of one letter", FORWARDED, "", "a=b,"),
            ("pairs", FORWARDED, "", "a=b;"),
            ("one name", FORWARDED, "", "a"),
            ("a quoted text", FORWARDED, "for=\"", "\\\""),
            ("spaces", FORWARDED, "", " "),
        ];
        for (case, name, head, part) in cases {
            for header in [ForwardedHeader::Any, ForwardedHeader::Forwarded, ForwardedHeader::XForwardedFor] {
                let read = |bytes: &[u8]| {
                    let mut headers = HeaderMap::new();
                    for line in cost::lines(bytes) {
                        headers.append(&name, HeaderValue::from_bytes(line).unwrap());
                    }
                    let _told = rules(header).read(from, &headers);
                    0
                };
                let make = |size| cost::filled(head, |_| part.to_owned(), "", size);
                cost::assert_linear(case, HEAD_BYTES, cost::SHORT, make, read);
            }
        }
    }
}
