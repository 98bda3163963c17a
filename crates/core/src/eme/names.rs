//! The terms of the specification, as the mirror infers them. Events and the admin side show their names.

use super::{EmeChange, EmeEvent};
use crate::drm::MessageKind;

impl EmeEvent {
    /// Name of the page's event, or type of the message.
    pub fn name(&self) -> &'static str {
        match self.what {
            EmeChange::Closed(_) => "closed",
            EmeChange::Message(kind) => kind.name(),
            EmeChange::Statuses(_) => "keystatuseschange",
        }
    }

    /// Text for a person.
    pub fn describe(&self) -> String {
        let of = format!("{}, key session {:08x}", self.system, self.key_session.get() >> 32);
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

    /// The type under which a page would see the message; `None` for a message that no CDM sends. Browsers hand
    /// Widevine's request for a service certificate to the page as a `license-request`.
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

/// The values of `MediaKeyStatus` that the wire can show. The CDM does not reveal the output states.
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

/// The values of `MediaKeySessionClosedReason` that the wire can show.
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
