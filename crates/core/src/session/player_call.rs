//! A player's call, reduced to what decides where it belongs.

use crate::secret::Fingerprint;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallKind {
    /// The Widevine service certificate, asked for before the first license.
    Certificate,
    License,
    Release,
    Renewal,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenAbility {
    /// It could, had its content token not expired.
    Expired,
    No,
    Yes,
}

#[derive(Clone, Copy, Debug)]
pub struct PlayerCall {
    /// What is played: the content token's content id, else what the DRM message names.
    pub content: Option<Fingerprint>,
    /// Proves that this may be another playback than one that was killed: the content token that the call brings,
    /// or an authorization that was made for it. A call without one is refused while a kill of its device is
    /// remembered.
    pub content_token: Option<Fingerprint>,
    /// Correlates the calls of one key session (Widevine `request_id`).
    pub key_session: Option<Fingerprint>,
    pub kind: CallKind,
    /// Whether a session could be opened with what the call brings.
    pub opens: OpenAbility,
    /// By what the playback is known: its registration, else its content token.
    pub token: Option<Fingerprint>,
}

/// By what a call may be known to belong to a playback that was killed.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallNames {
    /// As [`PlayerCall::content`].
    pub content: Option<Fingerprint>,
    /// As [`PlayerCall::content_token`].
    pub content_token: Option<Fingerprint>,
    /// As [`PlayerCall::token`].
    pub token: Option<Fingerprint>,
}

/// By what a request for media is known to belong to a playback.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaNames {
    /// The content token of its first manifest, where a license call opens the session: one with the same token is of
    /// the same playback.
    pub content_token: Option<Fingerprint>,
    /// The media's own path, which is a registration.
    pub path: Fingerprint,
}

impl From<Fingerprint> for MediaNames {
    fn from(path: Fingerprint) -> Self {
        Self { content_token: None, path }
    }
}

impl CallNames {
    pub fn tokens(&self) -> impl Iterator<Item = Fingerprint> {
        self.token.into_iter().chain(self.content_token)
    }
}

impl PlayerCall {
    pub fn names(&self) -> CallNames {
        CallNames { content: self.content, content_token: self.content_token, token: self.token }
    }
}
