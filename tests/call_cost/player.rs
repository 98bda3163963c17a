//! A player on a thread of its own, with one kept connection. Its requests differ from each other.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::far_side::{CALLER, LICENSE, TOKENS};
use crate::wire::{MessageReader, header};

const CHALLENGE: &[u8] = include_bytes!("../vectors/drm/wv_new_privacy.bin");

pub(crate) struct Player {
    path: &'static str,
    token: String,
}

/// A player that makes calls when told to.
pub(crate) struct CallingPlayer {
    done: UnboundedReceiver<()>,
    tell: Sender<usize>,
}

impl Player {
    /// Calls that path with a token of about so many bytes.
    pub(crate) fn new(path: &'static str, token_bytes: usize) -> Self {
        Self { path, token: token(token_bytes) }
    }

    pub(crate) fn connect(self, proxy: SocketAddr) -> CallingPlayer {
        let (tell, told) = channel();
        let (finish, done) = unbounded_channel();
        thread::spawn(move || {
            let mut stream = TcpStream::connect(proxy).unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut reader, mut turn) = (MessageReader::default(), 0);
            for calls in told {
                for _ in 0..calls {
                    turn += 1;
                    self.call(turn, &mut stream, &mut reader);
                }
                finish.send(()).unwrap();
            }
        });
        CallingPlayer { done, tell }
    }

    fn call(&self, turn: u32, stream: &mut TcpStream, reader: &mut MessageReader) {
        let (mut challenge, caller) = (CHALLENGE.to_vec(), format!("player/{turn}"));
        // The last bytes are of the signature, which no proxy can check.
        let end = challenge.len() - 4;
        challenge[end..].copy_from_slice(&turn.to_be_bytes());
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {caller}\r\nAccept: */*\r\n\
             Origin: https://tv.example\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
             X-Device-Id: living-room\r\nnv-authorizations: {}\r\n\r\n",
            self.path,
            challenge.len(),
            self.token,
        );
        stream.write_all(&[head.as_bytes(), &challenge].concat()).unwrap();
        let (head, body) = reader.next(stream).expect("the connection was closed");
        let told = String::from_utf8_lossy(body);
        assert!(head.starts_with("HTTP/1.1 200 ") && body == LICENSE, "{head}\n{told}");
        assert_eq!(header(head, CALLER), Some(&*caller));
        let managed = self.path != "/pass";
        assert_eq!(header(head, TOKENS), Some(if managed { "2" } else { "1" }));
    }
}

impl CallingPlayer {
    /// Resolves when so many calls have their replies.
    pub(crate) async fn call(&mut self, calls: usize) {
        self.tell.send(calls).unwrap();
        self.done.recv().await.expect("the player has failed");
    }
}

/// A content token as head-ends issue them, with key ids for filling.
fn token(bytes: usize) -> String {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = encoded(r#"{"alg":"HS256","kid":"100001","typ":"JWT"}"#);
    let signature = encoded(&"s".repeat(32));
    let mut kids = Vec::new();
    loop {
        let claims = json!({
            "typ": "ContentAuthZ", "ver": "1.0", "exp": 4_000_000_000_u64, "jti": "b7e1c5d0-3c41-4f0e-a7f3-1d1c5a6f7b11",
            "device": {"deviceId": "living-room", "accountId": "ann", "capabilities": ["widevine"]},
            "contentRights": [{
                "contentId": "news", "defaultKcIds": kids,
                "sessionControl": {"sessionControlEnabled": true, "maxSessions": 3},
            }],
        });
        let token = format!("{header}.{}.{signature}", encoded(&claims.to_string()));
        if token.len() >= bytes {
            return token;
        }
        kids.push(format!("{:08x}-0000-4000-8000-000000000000", kids.len()));
    }
}
