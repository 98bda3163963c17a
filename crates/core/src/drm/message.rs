//! The facts that a license message of any system says in clear.
//!
//! Plain values for the layers above. Identifiers appear only as fingerprints, so that a message can be kept, compared
//! and shown without any part of its body.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::key_ids::KeyIds;
use crate::secret::{Fingerprint, Secret};

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DrmSystem {
    ClearKey,
    FairPlay,
    PlayReady,
    Widevine,
}

impl DrmSystem {
    /// Lower-case, for logs and metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClearKey => "clearkey",
            Self::FairPlay => "fairplay",
            Self::PlayReady => "playready",
            Self::Widevine => "widevine",
        }
    }
}

impl fmt::Display for DrmSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The direction of a body: a request goes from the player to the license server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    Reply,
    Request,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MessageKind {
    /// As a request: a license was stored. As a reply: the server took note, without a license.
    Acknowledge,
    Certificate,
    CertificateRequest,
    Error,
    License,
    /// The first license of a key session; of PlayReady, FairPlay and ClearKey also every renewal,
    /// because these show no difference.
    LicenseRequest,
    /// An operation of the system that concerns no license: domains, metering, packaging.
    Other,
    Provisioning,
    /// A license is given back. PlayReady's secure stop shows no identifier, and may come only when
    /// the player starts the next time.
    Release,
    Renewal,
}

impl MessageKind {
    /// Lower-case, for logs and metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Certificate => "certificate",
            Self::CertificateRequest => "certificate-request",
            Self::Error => "error",
            Self::License => "license",
            Self::LicenseRequest => "license-request",
            Self::Other => "other",
            Self::Provisioning => "provisioning",
            Self::Release => "release",
            Self::Renewal => "renewal",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Any client can copy these identifiers, so state keyed by one must be scoped to a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DrmMessage {
    /// Widevine: the content id of the pssh. FairPlay: `uri`, `assetId` or `keyID`, if the wrapping shows one.
    /// Otherwise, for any system: the set of key ids.
    pub content_id: Option<Fingerprint>,
    /// PlayReady challenge: its CustomData, references resolved, outer white space removed.
    pub custom_data: Option<Secret>,
    /// In-band error: the Widevine code (1 to 4) or the PlayReady StatusCode.
    pub error_code: Option<u32>,
    pub key_ids: KeyIds,
    pub kind: MessageKind,
    /// Widevine license: the renewal rules of its policy.
    pub lease: Option<LicenseLease>,
    /// Widevine license type 2. Such a license outlives the playback.
    pub offline: bool,
    /// Widevine `request_id`, the same in the license request, the license and every renewal; or
    /// PlayReady `LicenseNonce`, which pairs one request with its reply.
    pub request_id: Option<Fingerprint>,
    /// Widevine `session_id`, from the first license on. Some servers repeat the request id here:
    /// key on the pair.
    pub session_id: Option<Fingerprint>,
    pub system: DrmSystem,
    /// PlayReady: pairs a reply with its AcknowledgeLicense.
    pub transaction_id: Option<Fingerprint>,
    /// PlayReady license: its dates.
    pub validity: Option<Validity>,
    /// PlayReady: the dates of the license that ends last, of several in one reply.
    pub validity_last: Option<Validity>,
    /// Widevine license version: 0 at first, raised by every renewal.
    pub version: Option<u64>,
    /// True if found inside JSON, a form or base64: an app unwraps the reply before the DRM sees it.
    pub wrapped: bool,
}

impl DrmMessage {
    /// A message that shows nothing but its kind.
    pub fn new(system: DrmSystem, kind: MessageKind) -> Self {
        Self {
            content_id: None,
            custom_data: None,
            error_code: None,
            key_ids: KeyIds::default(),
            kind,
            lease: None,
            offline: false,
            request_id: None,
            session_id: None,
            system,
            transaction_id: None,
            validity: None,
            validity_last: None,
            version: None,
            wrapped: false,
        }
    }

    /// True for a request whose good answer is a license.
    pub fn asks_for_a_license(&self) -> bool {
        matches!(self.kind, MessageKind::LicenseRequest | MessageKind::Renewal)
    }

    /// True for a request that is answered without a session, because its reply is no license.
    pub fn needs_no_session(&self) -> bool {
        match self.kind {
            MessageKind::License | MessageKind::LicenseRequest | MessageKind::Release | MessageKind::Renewal => false,
            MessageKind::Acknowledge
            | MessageKind::Certificate
            | MessageKind::CertificateRequest
            | MessageKind::Error
            | MessageKind::Other
            | MessageKind::Provisioning => true,
        }
    }

    /// Longest life of the license from when it was given, as far as it says so in clear; `None` if unknown or endless.
    pub fn lasts(&self) -> Option<Duration> {
        let lease = self.lease.filter(|_| self.kind == MessageKind::License);
        lease.and_then(|lease| lease.lasts()).or_else(|| self.validity_last?.lasts())
    }
}

/// Widevine `License.policy`. Seconds, each at most `u32::MAX`; 0 means that the policy is silent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LicenseLease {
    /// When false, no renewal will come.
    pub can_renew: bool,
    /// The hard end, counted from the start of the license.
    pub duration_s: u64,
    /// The policy names its own renewal server, so renewals may bypass the proxy.
    pub own_renewal_url: bool,
    /// From the first moment that was played to the last.
    pub playback_s: u64,
    /// Added to `duration_s` while a renewal is under way.
    pub recovery_s: u64,
    /// From the start of the license to its first renewal.
    pub renewal_delay_s: u64,
    /// From the start of the license until playing must have begun.
    pub rental_s: u64,
    /// Between two attempts of one renewal.
    pub retry_s: u64,
}

impl LicenseLease {
    /// Longest life of the license; `None` if it names no end.
    fn lasts(&self) -> Option<Duration> {
        let whole = (self.duration_s > 0).then_some(self.duration_s.saturating_add(self.recovery_s));
        // The start of playing is not visible, but it must lie within the rental time.
        let played =
            (self.rental_s > 0 && self.playback_s > 0).then_some(self.rental_s.saturating_add(self.playback_s));
        whole.into_iter().chain(played).min().map(Duration::from_secs)
    }
}

/// PlayReady XMR dates in unix seconds; `None` means unlimited or absent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validity {
    pub begin: Option<u64>,
    pub end: Option<u64>,
    pub issued: Option<u64>,
}

impl Validity {
    /// Counts by the license's own dates alone, because no clock is trusted.
    fn lasts(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.end?.saturating_sub(self.issued?)))
    }
}

/// The reason why a body has no [`DrmMessage`].
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
pub enum UnrecognisedBody {
    #[error("the body is compressed, and nothing is inflated")]
    Compressed,
    #[error("the body is wrapped more often than any that is known")]
    Tangled,
    #[error("the body is no license message that is known")]
    Unknown,
}

impl UnrecognisedBody {
    /// Lower-case, for metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Compressed => "compressed",
            Self::Tangled => "tangled",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_lasts_as_long_as_it_says_at_most() {
        for (duration_s, recovery_s, rental_s, playback_s, lasts) in [
            (0, 0, 0, 0, None),
            (60, 0, 0, 0, Some(60)),
            (60, 20, 0, 0, Some(80)),
            // The policy does not bound when playing begins.
            (0, 0, 0, 100, None),
            (0, 0, 100, 0, None),
            (0, 0, 100, 50, Some(150)),
            (200, 0, 100, 50, Some(150)),
            (100, 0, 100, 50, Some(100)),
            (u64::MAX, u64::MAX, 0, 0, Some(u64::MAX)),
            (0, 0, u64::MAX, 1, Some(u64::MAX)),
        ] {
            let lease = LicenseLease { duration_s, playback_s, recovery_s, rental_s, ..LicenseLease::default() };
            let mut message =
                DrmMessage { lease: Some(lease), ..DrmMessage::new(DrmSystem::Widevine, MessageKind::License) };
            assert_eq!(message.lasts(), lasts.map(Duration::from_secs), "{lease:?}");
            message.kind = MessageKind::Renewal;
            assert_eq!(message.lasts(), None);
        }
        for (issued, end, lasts) in [
            (Some(1_000), Some(1_060), Some(60)),
            (None, Some(1_060), None),
            (Some(1_000), None, None),
            (Some(9), Some(3), Some(0)),
        ] {
            let validity_last = Some(Validity { begin: None, end, issued });
            let message = DrmMessage { validity_last, ..DrmMessage::new(DrmSystem::PlayReady, MessageKind::License) };
            assert_eq!(message.lasts(), lasts.map(Duration::from_secs));
        }
    }
}
