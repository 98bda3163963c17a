//! A player's call, reduced to the facts that decide where it belongs. The gateway makes one for each call.

use crate::secret::Fingerprint;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallKind {
    /// A request for the Widevine service certificate, before the first license.
    Certificate,
    License,
    Release,
    Renewal,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenAbility {
    /// The call could open a session, but its content token has expired.
    Expired,
    No,
    Yes,
}

#[derive(Clone, Copy, Debug)]
pub struct PlayerCall {
    /// The content: the content token's content id, else that of the DRM message.
    pub content: Option<Fingerprint>,
    /// Proof that this may be another playback than a killed one: the content token of the call, or an authorization
    /// made for it. A call without one is refused while a kill of its device is remembered.
    pub content_token: Option<Fingerprint>,
    /// Correlates the calls of one key session (Widevine `request_id`).
    pub key_session: Option<Fingerprint>,
    pub kind: CallKind,
    /// Ability of the call to open a session.
    pub opens: OpenAbility,
    /// Name of the playback: its registration, else its content token.
    pub token: Option<Fingerprint>,
}

/// The names by which a call may belong to a killed playback.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallNames {
    /// Like [`PlayerCall::content`].
    pub content: Option<Fingerprint>,
    /// Like [`PlayerCall::content_token`].
    pub content_token: Option<Fingerprint>,
    /// Like [`PlayerCall::token`].
    pub token: Option<Fingerprint>,
}

/// The names by which a request for media belongs to a playback.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaNames {
    /// The content token of its first manifest, if a license call opens the session: the same token means the same
    /// playback.
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
