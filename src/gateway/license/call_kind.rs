//! Says which license call carries what: a certificate request, a license request, a renewal, a release.
//!
//! A renewal goes to the authority where the route lets renewals serve as heartbeats: the core decides that
//! (`CallAnswer::Renew`), and `renew_at_authority` carries it out.

use crate::drm::MessageKind;
use crate::session::CallKind;

/// `None`: the message belongs to no session. `unwraps`: the DRM message can be taken out of the body.
pub(super) fn call_kind(message: MessageKind, unwraps: impl FnOnce() -> bool) -> Option<CallKind> {
    match message {
        MessageKind::CertificateRequest => Some(CallKind::Certificate),
        MessageKind::LicenseRequest => Some(CallKind::License),
        MessageKind::Release => Some(CallKind::Release),
        MessageKind::Renewal if unwraps() => Some(CallKind::Renewal),
        // It goes to the license server, not to the authority.
        MessageKind::Renewal => Some(CallKind::License),
        MessageKind::Acknowledge
        | MessageKind::Certificate
        | MessageKind::Error
        | MessageKind::License
        | MessageKind::Other
        | MessageKind::Provisioning => None,
    }
}
