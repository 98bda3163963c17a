//! Reasons why a request is refused before its content is looked at.
//!
//! `request_rules` finds them in the parsed head, `head_scanner` in the raw one, `plain_http` and `watched_stream` in
//! the first byte, and hyper itself. `service` tells the client, and the counters use the label.

use std::fmt;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum RequestViolation {
    /// A line of the head ends with a bare LF, which other parsers read differently.
    BareLineFeed,
    /// GET or HEAD with a body.
    BodyUnexpected,
    /// Content-Length and Transfer-Encoding together (RFC 9112 section 6.1).
    BothLengths,
    /// CONNECT: this is no tunnel.
    Connect,
    /// Transfer-Encoding more than once, or anything but `chunked`.
    EncodingUnknown,
    /// Host is not a host with an optional port.
    HostInvalid,
    /// The target and Host name different hosts.
    HostMismatch,
    HostMissing,
    HostTwice,
    /// The head cannot be read with certainty.
    Malformed,
    /// Plain HTTP on a port that speaks TLS.
    PlainHttp,
    /// The target is neither a path nor an absolute URL.
    TargetInvalid,
    /// TLS on a port that speaks plain HTTP.
    TlsUnexpected,
}

impl RequestViolation {
    pub const ALL: [Self; 13] = [
        Self::BareLineFeed,
        Self::BodyUnexpected,
        Self::BothLengths,
        Self::Connect,
        Self::EncodingUnknown,
        Self::HostInvalid,
        Self::HostMismatch,
        Self::HostMissing,
        Self::HostTwice,
        Self::Malformed,
        Self::PlainHttp,
        Self::TargetInvalid,
        Self::TlsUnexpected,
    ];

    /// Stable name: the `error` of the reply and a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::BodyUnexpected => "body_unexpected",
            Self::BothLengths => "both_lengths",
            Self::Connect => "connect",
            Self::EncodingUnknown => "encoding_unknown",
            Self::HostInvalid => "host_invalid",
            Self::HostMismatch => "host_mismatch",
            Self::HostMissing => "host_missing",
            Self::HostTwice => "host_twice",
            Self::Malformed => "malformed",
            Self::PlainHttp => "plain_http",
            Self::TargetInvalid => "target_invalid",
            Self::TlsUnexpected => "tls_unexpected",
        }
    }

    pub const fn detail(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of the request head ends without a carriage return",
            Self::BodyUnexpected => "GET and HEAD carry no body",
            Self::BothLengths => "Content-Length and Transfer-Encoding exclude each other",
            Self::Connect => "CONNECT is not served",
            Self::EncodingUnknown => "the only transfer encoding is chunked, once",
            Self::HostInvalid => "Host must be a host and an optional port",
            Self::HostMismatch => "the request target and Host name different hosts",
            Self::HostMissing => "Host is missing",
            Self::HostTwice => "Host is given twice",
            Self::Malformed => "the request head cannot be read with certainty",
            Self::PlainHttp => "this port speaks HTTPS: use the same URL with https:// in place of http://",
            Self::TargetInvalid => "the request target must be a path",
            Self::TlsUnexpected => "this port speaks plain HTTP: use the same URL with http:// in place of https://",
        }
    }
}

impl fmt::Display for RequestViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
