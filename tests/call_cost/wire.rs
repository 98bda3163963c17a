//! Reads HTTP/1.1 messages from a blocking stream, one after the other.

use std::io::Read;
use std::net::TcpStream;

#[derive(Default)]
pub(crate) struct MessageReader {
    bytes: Vec<u8>,
    /// End of the message that was given out last.
    end: usize,
}

impl MessageReader {
    /// Waits for a whole message, head and body; `None` at the end of the stream.
    pub(crate) fn next(&mut self, stream: &mut TcpStream) -> Option<(&str, &[u8])> {
        self.bytes.drain(..self.end);
        let mut part = [0; 16 * 1024];
        let (head, end) = loop {
            if let Some(head) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let end = head + 4 + content_length(std::str::from_utf8(&self.bytes[..head]).unwrap());
                if self.bytes.len() >= end {
                    break (head, end);
                }
            }
            match stream.read(&mut part) {
                Ok(read @ 1..) => self.bytes.extend_from_slice(&part[..read]),
                Ok(_) | Err(_) => return None,
            }
        };
        self.end = end;
        Some((std::str::from_utf8(&self.bytes[..head]).unwrap(), &self.bytes[head + 4..end]))
    }
}

fn content_length(head: &str) -> usize {
    header(head, "content-length").map_or(0, |length| length.parse().unwrap())
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}
