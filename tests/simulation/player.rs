//! A player: its content, the key sessions that it remembers (old ones too), and its pending call.

use std::time::Instant;

use sidebeat::ids::SessionId;
use sidebeat::secret::Fingerprint;
use sidebeat::session::{CallKind, OpenAbility, PlayerCall};

use super::rng::Rng;

pub(crate) struct Player {
    content: u64,
    pub(crate) device: usize,
    /// True if its media pass through a media route.
    pub(crate) fetches: bool,
    key_sessions: Vec<u64>,
    left_over: Vec<(u64, u64)>,
    names_content: bool,
    refreshes: u64,
    serial: u64,
    token: u64,
    pub(crate) waits: Option<(PlayerCall, Instant, SessionId)>,
}

impl Player {
    pub(crate) fn new(rng: &mut Rng, number: usize, device: usize) -> Self {
        let serial = (number as u64 + 1) << 32;
        let mut player = Self {
            content: 0,
            device,
            fetches: rng.chance(400),
            key_sessions: Vec::new(),
            left_over: Vec::new(),
            names_content: rng.chance(700),
            refreshes: 0,
            serial,
            token: 0,
            waits: None,
        };
        player.zap();
        player
    }

    /// Something else from now on; the old key sessions stay in the player's mind.
    pub(crate) fn zap(&mut self) {
        let token = self.token;
        self.left_over.extend(self.key_sessions.drain(..).map(|key_session| (key_session, token)));
        let most = self.left_over.len().saturating_sub(8);
        self.left_over.drain(..most);
        self.content = self.fresh();
        self.token = self.fresh();
        self.refreshes = 0;
    }

    /// Takes another content token for the same content; without a name in it that would be other content.
    pub(crate) fn refresh(&mut self) {
        if self.names_content && self.refreshes < 6 {
            self.refreshes += 1;
            self.token = self.fresh();
        }
    }

    pub(crate) fn token(&self) -> Fingerprint {
        Fingerprint::new(self.token)
    }

    pub(crate) fn call(&mut self, rng: &mut Rng, kind: CallKind) -> PlayerCall {
        let key_session = match kind {
            CallKind::Certificate => None,
            CallKind::License => {
                if self.key_sessions.is_empty() || rng.chance(300) {
                    let fresh = self.fresh();
                    self.key_sessions.push(fresh);
                }
                self.key_sessions.last().copied()
            }
            CallKind::Release | CallKind::Renewal if self.key_sessions.is_empty() => None,
            CallKind::Release => Some(self.key_sessions.remove(0)),
            CallKind::Renewal => Some(rng.pick(&self.key_sessions)),
        };
        let token = rng.chance(950).then_some(Fingerprint::new(self.token));
        PlayerCall {
            content_token: token,
            content: (self.names_content || rng.chance(100)).then_some(Fingerprint::new(self.content)),
            key_session: key_session.map(Fingerprint::new),
            kind,
            opens: if rng.chance(980) { OpenAbility::Yes } else { rng.pick(&[OpenAbility::Expired, OpenAbility::No]) },
            token,
        }
    }

    /// A renewal of something that was left for something else.
    pub(crate) fn left_over(&mut self, rng: &mut Rng) -> Option<PlayerCall> {
        if self.left_over.is_empty() {
            return None;
        }
        let (key_session, token) = rng.pick(&self.left_over);
        Some(PlayerCall {
            content: None,
            content_token: Some(Fingerprint::new(token)),
            key_session: Some(Fingerprint::new(key_session)),
            kind: CallKind::Renewal,
            opens: OpenAbility::Yes,
            token: Some(Fingerprint::new(token)),
        })
    }

    fn fresh(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}
