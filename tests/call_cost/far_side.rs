//! The license server and the session service, on threads of their own.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::wire::{MessageReader, header};

pub(crate) const LICENSE: &[u8] = include_bytes!("../vectors/drm/wv_license.bin");
/// The player's `User-Agent` comes back in it.
pub(crate) const CALLER: &str = "x-caller";
/// Tokens of the request in the header of the session service: the player's own alone, or with the session's.
pub(crate) const TOKENS: &str = "x-tokens";
const SESSION: &str =
    r#"{"sessionToken":"eyJhbGciOiJIUzI1NiJ9.eyJzaWQiOiJzZXNzaW9uLW9uZSJ9.c2lnbmF0dXJl","heartBeat":600}"#;

/// Serves for as long as the process lives.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut reader = MessageReader::default();
    while let Some((head, _body)) = reader.next(&mut stream) {
        let reply = if head.starts_with("POST /license ") { license(head) } else { session() };
        // The proxy may have ended with its test.
        let _gone = stream.write_all(&reply);
    }
}

fn license(head: &str) -> Vec<u8> {
    let tokens = header(head, "nv-authorizations").unwrap_or_default().split(',').count();
    let caller = header(head, "user-agent").unwrap();
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
         {CALLER}: {caller}\r\n{TOKENS}: {tokens}\r\n\r\n",
        LICENSE.len()
    );
    [reply.as_bytes(), LICENSE].concat()
}

fn session() -> Vec<u8> {
    let length = SESSION.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{SESSION}").into()
}
