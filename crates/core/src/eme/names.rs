//! The specification's own words.

use super::{EmeChange, EmeEvent};
use crate::drm::MessageKind;

impl EmeEvent {
    /// As the page's event is called, for a message its type.
    pub fn name(&self) -> &'static str {
        match self.what {
            EmeChange::Closed(_) => "closed",
            EmeChange::Message(kind) => kind.name(),
            EmeChange::Statuses(_) => "keystatuseschange",
        }
    }

    /// For a person.
    pub fn describe(&self) -> String {
        let of = format!("{}, key session {:08x}", self.system, self.key_session.0 >> 32);
        match self.what {
            EmeChange::Closed(why) => format!("{of}: {}", why.name()),
            EmeChange::Message(_) => of,
            EmeChange::Statuses(status) => format!("{of}: {} {}", self.count, status.name()),
        }
    }
}

/// `MediaKeyMessageType`
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MessageType {
    IndividualizationRequest,
    LicenseRelease,
    LicenseRenewal,
    LicenseRequest,
}

impl MessageType {
    pub const ALL: [Self; 4] =
        [Self::IndividualizationRequest, Self::LicenseRelease, Self::LicenseRenewal, Self::LicenseRequest];

    /// As a page would see the message; none for what is no message of a CDM. Browsers hand Widevine's
    /// request for a service certificate to the page as a `license-request`.
    pub fn of(kind: MessageKind) -> Option<Self> {
        match kind {
            MessageKind::CertificateRequest | MessageKind::LicenseRequest => Some(Self::LicenseRequest),
            MessageKind::Provisioning => Some(Self::IndividualizationRequest),
            MessageKind::Release => Some(Self::LicenseRelease),
            MessageKind::Renewal => Some(Self::LicenseRenewal),
            MessageKind::Acknowledge
            | MessageKind::Certificate
            | MessageKind::Error
            | MessageKind::License
            | MessageKind::Other => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::IndividualizationRequest => "individualization-request",
            Self::LicenseRelease => "license-release",
            Self::LicenseRenewal => "license-renewal",
            Self::LicenseRequest => "license-request",
        }
    }
}

/// `MediaKeyStatus`, those that the wire can show. The output states are the CDM's secret.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyStatus {
    Expired,
    InternalError,
    Released,
    StatusPending,
    Usable,
}

impl KeyStatus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::InternalError => "internal-error",
            Self::Released => "released",
            Self::StatusPending => "status-pending",
            Self::Usable => "usable",
        }
    }
}

/// `MediaKeySessionClosedReason`, those that the wire can show.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClosedReason {
    ClosedByApplication,
    ReleaseAcknowledged,
}

impl ClosedReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::ClosedByApplication => "closed-by-application",
            Self::ReleaseAcknowledged => "release-acknowledged",
        }
    }
}
