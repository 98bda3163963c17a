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
pub enum Opens {
    /// It could, had its content token not expired.
    Expired,
    No,
    Yes,
}

#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The message itself: the same once more is a retry. None where each one of a title is the same.
    pub challenge: Option<Fingerprint>,
    /// What is played: the content token's content id, else what the DRM message names.
    pub content: Option<Fingerprint>,
    /// Correlates the calls of one key session (Widevine `request_id`).
    pub key_session: Option<Fingerprint>,
    pub kind: CallKind,
    /// Whether a session could be opened with what the call brings.
    pub opens: Opens,
    /// The content token.
    pub token: Option<Fingerprint>,
}
