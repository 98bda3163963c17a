//! Reads the PROXY protocol, versions 1 and 2: a load balancer's header before a connection's first byte.
//!
//! Reads one header and not a byte more, because the player's bytes follow. The `ppp` crate parses it; this module
//! bounds it and interprets it. `connection` calls it for listeners that expect a header, and only for trusted peers.

use std::io;
use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line of version 1, including its line end.
const V1_MAX_BYTES: usize = 107;
/// Length of the fixed part of version 2.
const V2_HEAD_BYTES: usize = 16;
/// Longest addresses and extensions of version 2. Real headers have at most some hundred bytes.
const V2_MAX_BODY_BYTES: usize = 4096;
/// Enough bytes to tell the versions apart, and fewer than any header has.
const SIGNATURE_BYTES: usize = 12;
/// Version 2 with the command LOCAL: the balancer's own connection, such as a health check.
const V2_LOCAL: u8 = 0x20;

#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderFault {
    #[error("the connection does not begin with a PROXY protocol header")]
    Absent,
    #[error("the connection ended within the PROXY protocol header: {0}")]
    Cut(#[from] io::Error),
    #[error("the PROXY protocol header is longer than any that is met")]
    Long,
    #[error("the PROXY protocol header cannot be read")]
    Malformed,
}

/// The address that the header names. `None` if the balancer speaks for itself (LOCAL, UNKNOWN) or its client has no
/// internet address.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, HeaderFault> {
    let mut header = vec![0; SIGNATURE_BYTES];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        return read_v2(stream, header).await;
    }
    if header.starts_with(b"PROXY ") {
        return read_v1(stream, header).await;
    }
    Err(HeaderFault::Absent)
}

/// Reads byte by byte, because the header ends with its line.
async fn read_v1<S: AsyncRead + Unpin>(stream: &mut S, mut line: Vec<u8>) -> Result<Option<IpAddr>, HeaderFault> {
    while line.last() != Some(&b'\n') {
        if line.len() == V1_MAX_BYTES {
            return Err(HeaderFault::Long);
        }
        line.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(line.as_slice()).map_err(|_| HeaderFault::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(four) => Some(IpAddr::V4(four.source_address)),
        v1::Addresses::Tcp6(six) => Some(IpAddr::V6(six.source_address).to_canonical()),
        v1::Addresses::Unknown => None,
    })
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S, mut header: Vec<u8>) -> Result<Option<IpAddr>, HeaderFault> {
    header.resize(V2_HEAD_BYTES, 0);
    let (_, rest) = header.split_at_mut(SIGNATURE_BYTES);
    stream.read_exact(rest).await?;
    let &mut [command, _, high, low] = rest else { return Err(HeaderFault::Malformed) };
    let body = usize::from(u16::from_be_bytes([high, low]));
    if body > V2_MAX_BODY_BYTES {
        return Err(HeaderFault::Long);
    }
    header.resize(V2_HEAD_BYTES + body, 0);
    let (_, rest) = header.split_at_mut(V2_HEAD_BYTES);
    stream.read_exact(rest).await?;
    // Addresses beside LOCAL mean nothing.
    if command == V2_LOCAL {
        return Ok(None);
    }
    let header = v2::Header::try_from(header.as_slice()).map_err(|_| HeaderFault::Malformed)?;
    Ok(match header.addresses {
        v2::Addresses::IPv4(four) => Some(IpAddr::V4(four.source_address)),
        v2::Addresses::IPv6(six) => Some(IpAddr::V6(six.source_address).to_canonical()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::cost;

    /// The address, and what of the stream is left for the player's own bytes.
    fn understand(bytes: &[u8]) -> (Result<Option<IpAddr>, String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut left = bytes;
        let read = runtime.block_on(read(&mut left)).map_err(|fault| fault.to_string());
        (read, left.to_vec())
    }

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, body].concat()
    }

    fn v2_four(extra: usize) -> Vec<u8> {
        let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 0x1F, 0x90, 0, 80];
        [&addresses[..], &vec![4; extra]].concat()
    }

    #[test]
    fn a_header_names_the_viewer_and_leaves_what_follows() {
        let mapped = "::ffff:203.0.113.9".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let six = [&mapped[..], &[0; 16], &[0, 80, 0, 80]].concat();
        let rows: Vec<(Vec<u8>, Option<&str>)> = vec![
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec(), Some("203.0.113.9")),
            (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n".to_vec(), Some("2001:db8::9")),
            (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 80\r\n".to_vec(), Some("203.0.113.9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2_header(0x21, 0x11, &v2_four(0)), Some("203.0.113.9")),
            (v2_header(0x21, 0x11, &v2_four(1000)), Some("203.0.113.9")),
            (v2_header(0x21, 0x21, &six), Some("203.0.113.9")),
            (v2_header(0x21, 0x00, &[]), None),
            (v2_header(0x21, 0x31, &[0; 216]), None),
            // LOCAL: a health check, whatever stands in it.
            (v2_header(0x20, 0x00, &[]), None),
            (v2_header(0x20, 0x11, &v2_four(0)), None),
            (v2_header(0x20, 0xFF, &[1, 2, 3]), None),
        ];
        for (header, address) in rows {
            let shown = String::from_utf8_lossy(&header).into_owned();
            let (read, left) = understand(&[&header[..], b"GET / HTTP/1.1"].concat());
            assert_eq!(read, Ok(address.map(|address| address.parse().unwrap())), "{shown}");
            assert_eq!(left, b"GET / HTTP/1.1", "{shown}");
        }
    }

    #[test]
    fn bytes_that_are_no_header_are_refused() {
        let rows: Vec<(Vec<u8>, &str)> = vec![
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), "does not begin"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00".to_vec(), "does not begin"),
            (b"PROXY".to_vec(), "ended within"),
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80".to_vec(), "ended within"),
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\n".to_vec(), "cannot be read"),
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\rX\n".to_vec(), "cannot be read"),
            (b"PROXY TCP4 203.0.113.999 10.0.0.1 4711 80\r\n".to_vec(), "cannot be read"),
            (b"PROXY TCP4 2001:db8::9 ::1 4711 80\r\n".to_vec(), "cannot be read"),
            (b"PROXY UDP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec(), "cannot be read"),
            (format!("PROXY UNKNOWN {}\r\n", "a".repeat(100)).into_bytes(), "longer than any"),
            (v2_header(0x21, 0x11, &v2_four(0)[..11]), "cannot be read"),
            (v2_header(0x22, 0x11, &v2_four(0)), "cannot be read"),
            (v2_header(0x31, 0x11, &v2_four(0)), "cannot be read"),
            (v2_header(0x21, 0x11, &v2_four(4096)), "longer than any"),
            (v2_header(0x21, 0x11, &v2_four(0))[..20].to_vec(), "ended within"),
        ];
        for (header, said) in rows {
            let shown = String::from_utf8_lossy(&header).into_owned();
            let (read, _) = understand(&header);
            assert!(read.as_ref().is_err_and(|fault| fault.contains(said)), "{shown}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            start in prop::sample::select(vec![&b"PROXY "[..], b"PROXY TCP4 ", b"PROXY UNKNOWN", v2::PROTOCOL_PREFIX, b""]),
            command in prop::sample::select(vec![vec![], vec![0x21, 0x11], vec![0x21, 0x21], vec![0x20], vec![0x21, 0x31, 0, 216]]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _read = understand(&[start, &command, &rest].concat());
        }
    }

    #[test]
    fn a_header_costs_no_more_than_its_size() {
        let extensions = |part: &[u8]| part.repeat((V2_MAX_BODY_BYTES - 12) / part.len());
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("extensions of nothing", v2_header(0x21, 0x11, &[v2_four(0), extensions(&[4, 0, 0])].concat())),
            ("one extension", v2_header(0x21, 0x11, &v2_four(V2_MAX_BODY_BYTES - 12))),
            ("a health check", v2_header(0x20, 0, &vec![0xff; V2_MAX_BODY_BYTES])),
            ("an address of a file", v2_header(0x21, 0x31, &vec![b'/'; V2_MAX_BODY_BYTES])),
            ("one byte too many", v2_header(0x21, 0x11, &vec![0; V2_MAX_BODY_BYTES + 1])),
            ("a line", format!("PROXY UNKNOWN {}\r\n", "a".repeat(V1_MAX_BYTES - 16)).into_bytes()),
            ("a line without an end", vec![b'P'; 64 * 1024]),
            ("a line of version 1 without an end", [&b"PROXY "[..], &[b' '; 64 * 1024]].concat()),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (name, header) in cases {
            let cost = cost::measure(&header, |mut bytes| {
                let _read = runtime.block_on(read(&mut bytes));
                0
            });
            assert!(cost.allocated <= 4 * V2_MAX_BODY_BYTES as u64, "{name}: {cost:?}");
        }
    }
}
