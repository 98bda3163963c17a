//! One license call: its bytes, none like the one before, and what its answer must be.

use std::io::Write;
use std::sync::Arc;

pub(crate) const CHALLENGE: &[u8] = include_bytes!("../../../tests/vectors/drm/wv_new_privacy.bin");
pub(crate) const LICENSE: &[u8] = include_bytes!("../../../tests/vectors/drm/wv_license.bin");
/// Header of a reply: the caller's own `User-Agent`. It exposes a reply that was meant for another caller.
pub(crate) const CALLER: &str = "x-caller";
/// Header of a reply: what the license server thought of the request.
pub(crate) const SEEN: &str = "x-seen";
/// Length of the turn's number, which is written into each challenge.
const TURN_BYTES: usize = 4;
/// The place of the turn in the challenge: inside the encrypted id of the client, which nobody can read on the way.
const TURN_AT: usize = 1_000;

/// A player: a device with its content token.
#[derive(Clone)]
pub(crate) struct Player {
    pub(crate) device: Arc<str>,
    pub(crate) token: Arc<str>,
}

/// The answer that a case must get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    License,
    Refusal,
}

/// The parts of an answer that are judged.
pub(crate) struct Reply<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) caller: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) seen: Option<&'a str>,
    pub(crate) status: u16,
}

/// Equal calls would be answered together by sidebeat, and flatter it. Each has four bytes of its own.
pub(crate) fn challenge(turn: u32) -> Vec<u8> {
    let mut body = CHALLENGE.to_vec();
    body[TURN_AT..TURN_AT + TURN_BYTES].copy_from_slice(&turn.to_be_bytes());
    body
}

/// True if the body is the challenge of this turn, byte by byte.
pub(crate) fn is_challenge(body: &[u8], turn: u32) -> bool {
    let own = TURN_AT..TURN_AT + TURN_BYTES;
    body.len() == CHALLENGE.len()
        && body[..own.start] == CHALLENGE[..own.start]
        && body[own.clone()] == turn.to_be_bytes()
        && body[own.end..] == CHALLENGE[own.end..]
}

impl Player {
    pub(crate) fn caller(&self, turn: u32) -> String {
        format!("{}-{turn}", self.device)
    }

    /// The whole request in HTTP/1.1.
    pub(crate) fn request(&self, path: &str, turn: u32) -> Vec<u8> {
        let Self { device, token } = self;
        let mut request = Vec::with_capacity(CHALLENGE.len() + token.len() + 512);
        let _infallible = write!(
            request,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {device}-{turn}\r\nAccept: */*\r\n\
             Origin: https://tv.example\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
             X-Device-Id: {device}\r\nnv-authorizations: {token}\r\n\r\n",
            CHALLENGE.len(),
        );
        request.extend_from_slice(&challenge(turn));
        request
    }
}

impl Answer {
    /// Says what is wrong with a reply to this caller.
    pub(crate) fn judge(self, caller: &str, reply: &Reply<'_>) -> Result<(), String> {
        let wrong = match self {
            Self::License if reply.status != 200 => "another status",
            Self::License if reply.caller != Some(caller) => "a reply for another caller",
            Self::License if reply.seen != Some("good") => "a request that arrived changed",
            Self::License if reply.body != LICENSE => "another body",
            Self::Refusal if !is_refusal(reply) => "no refusal",
            Self::License | Self::Refusal => return Ok(()),
        };
        let body = String::from_utf8_lossy(reply.body.get(..120).unwrap_or(reply.body)).into_owned();
        Err(format!("a wrong answer ({wrong}): {}, seen as {:?}, {body:?}", reply.status, reply.seen))
    }
}

/// A refusal is a 403 with its problem, or Widevine's own error response, which names its type in the first field.
fn is_refusal(reply: &Reply<'_>) -> bool {
    match reply.status {
        200 => reply.body.starts_with(&[8, 3]),
        403 => reply.content_type == Some("application/problem+json") && reply.body.starts_with(b"{"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Reply<'static> {
        Reply { body: LICENSE, caller: Some("tv-7"), content_type: None, seen: Some("good"), status: 200 }
    }

    #[test]
    fn a_challenge_differs_in_its_turn_alone() {
        assert!(is_challenge(&challenge(7), 7));
        assert!(!is_challenge(&challenge(7), 8));
        assert!(!is_challenge(&challenge(7)[1..], 7));
        let mut bent = challenge(7);
        bent[2_000] ^= 1;
        assert!(!is_challenge(&bent, 7));
    }

    #[test]
    fn every_wrong_answer_is_noticed() {
        let license = |reply: Reply<'_>| Answer::License.judge("tv-7", &reply);
        assert_eq!(license(reply()), Ok(()));
        assert!(license(Reply { status: 502, ..reply() }).unwrap_err().contains("another status"));
        assert!(license(Reply { caller: Some("tv-8"), ..reply() }).unwrap_err().contains("another caller"));
        assert!(license(Reply { seen: Some("no session"), ..reply() }).unwrap_err().contains("no session"));
        assert!(license(Reply { body: &LICENSE[1..], ..reply() }).unwrap_err().contains("another body"));
        assert!(Answer::Refusal.judge("tv-7", &reply()).unwrap_err().contains("no refusal"));
        let refusal = Reply { body: b"{}", content_type: Some("application/problem+json"), status: 403, ..reply() };
        assert_eq!(Answer::Refusal.judge("tv-7", &refusal), Ok(()));
        assert!(Answer::Refusal.judge("tv-7", &Reply { content_type: None, ..refusal }).is_err());
        assert_eq!(Answer::Refusal.judge("tv-7", &Reply { body: &[8, 3, 18, 0], ..reply() }), Ok(()));
    }
}
