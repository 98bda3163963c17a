//! Reasons why a call brought no reply. A server's own error statuses are replies, not faults.
//!
//! The texts hold no header, body, path or query. The names are for metrics and refusals.

use std::error::Error;
use std::{fmt, io};

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpstreamFault {
    #[error("too many calls to this server are under way")]
    Busy,
    #[error("the connection could not be opened: {0}")]
    Connect(io::ErrorKind),
    #[error("the reply is not valid HTTP")]
    Malformed,
    /// The server certainly did not process the request.
    #[error("the server turned the request away unprocessed")]
    Refused,
    #[error("the connection ended before the whole reply had come")]
    Reset,
    #[error("the name of the server could not be resolved")]
    Resolve,
    #[error("{phase} took longer than allowed")]
    Slow { phase: CallPhase },
    /// The handshake failed; the text is scrubbed.
    #[error("TLS could not be agreed on: {0}")]
    Tls(String),
    #[error("the reply is larger than allowed")]
    TooLarge,
}

/// Phases of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallPhase {
    /// The head of the reply is there.
    Body,
    /// Waiting for a connection; nothing of the request is sent.
    Connect,
    /// Sending the request and waiting for the head of the reply.
    Head,
}

impl UpstreamFault {
    /// Name for metric labels and JSON bodies.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Connect(_) => "connect",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Resolve => "resolve",
            Self::Slow { .. } => "timeout",
            Self::Tls(_) => "tls",
            Self::TooLarge => "too_large",
        }
    }

    /// True if the server certainly has not processed the request, because nothing of it was sent or the server said
    /// so. False if that is unknown.
    pub fn was_not_processed(&self) -> bool {
        match self {
            Self::Busy | Self::Connect(_) | Self::Refused | Self::Resolve | Self::Tls(_) => true,
            Self::Slow { phase: CallPhase::Connect } => true,
            Self::Slow { phase: CallPhase::Body | CallPhase::Head } => false,
            Self::Malformed | Self::Reset | Self::TooLarge => false,
        }
    }

    /// The connection was gone before any of the request was written.
    pub(super) const UNWRITTEN: Self = Self::Connect(io::ErrorKind::NotConnected);

    /// True if there was a connection, and the server gave it up before it took the call.
    pub(super) fn is_not_taken(&self) -> bool {
        *self == Self::Refused || *self == Self::UNWRITTEN
    }

    /// The fault of an open connection.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::TooLarge;
        }
        if error.is_parse() || breaks_protocol(error) { Self::Malformed } else { Self::Reset }
    }
}

/// Finds a protocol violation. Bodies and HTTP/2 frames report it as the source of a general error.
fn breaks_protocol(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<h2::Error>() {
            return cause.is_library();
        }
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
        }
        source = cause.source();
    }
    false
}

impl fmt::Display for CallPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "the body of the reply",
            Self::Connect => "opening a connection",
            Self::Head => "the head of the reply",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_and_a_sentence() {
        let rows = [
            (UpstreamFault::Busy, "busy", "too many calls to this server are under way"),
            (
                UpstreamFault::Connect(io::ErrorKind::ConnectionRefused),
                "connect",
                "the connection could not be opened: connection refused",
            ),
            (UpstreamFault::Malformed, "malformed", "the reply is not valid HTTP"),
            (UpstreamFault::Refused, "refused", "the server turned the request away unprocessed"),
            (UpstreamFault::Reset, "reset", "the connection ended before the whole reply had come"),
            (UpstreamFault::Resolve, "resolve", "the name of the server could not be resolved"),
            (
                UpstreamFault::Slow { phase: CallPhase::Body },
                "timeout",
                "the body of the reply took longer than allowed",
            ),
            (
                UpstreamFault::Slow { phase: CallPhase::Connect },
                "timeout",
                "opening a connection took longer than allowed",
            ),
            (
                UpstreamFault::Slow { phase: CallPhase::Head },
                "timeout",
                "the head of the reply took longer than allowed",
            ),
            (UpstreamFault::Tls("unknown issuer".into()), "tls", "TLS could not be agreed on: unknown issuer"),
            (UpstreamFault::TooLarge, "too_large", "the reply is larger than allowed"),
        ];
        for (fault, name, sentence) in rows {
            assert_eq!(fault.name(), name);
            assert_eq!(fault.to_string(), sentence);
        }
    }

    #[test]
    fn a_fault_says_that_a_request_was_not_processed_only_where_that_is_certain() {
        let slow = |phase| UpstreamFault::Slow { phase };
        let certain = [
            UpstreamFault::Busy,
            UpstreamFault::Connect(io::ErrorKind::ConnectionReset),
            UpstreamFault::Refused,
            UpstreamFault::Resolve,
            UpstreamFault::Tls(String::new()),
            slow(CallPhase::Connect),
        ];
        assert!(certain.iter().all(UpstreamFault::was_not_processed));
        let unknown = [
            UpstreamFault::Malformed,
            UpstreamFault::Reset,
            UpstreamFault::TooLarge,
            slow(CallPhase::Body),
            slow(CallPhase::Head),
        ];
        assert!(!unknown.iter().any(UpstreamFault::was_not_processed));
    }
}
