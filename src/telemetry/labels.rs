//! Labels of the metrics. Bounded: names from our tables and from the configuration, never of a device, an account or
//! a session.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AuthorityCall {
    pub(super) authority: Arc<str>,
    pub(super) call: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AuthorityResult {
    pub(super) authority: Arc<str>,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AuthorityCalls {
    pub(super) authority: Arc<str>,
    pub(super) calls: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct UnconfirmedLabel {
    pub(super) authority: Arc<str>,
    pub(super) playback: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AuthorityTime {
    pub(super) authority: Arc<str>,
    pub(super) call: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct EndedLabels {
    pub(super) authority: Arc<str>,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct EventLabels {
    pub(super) authority: Arc<str>,
    pub(super) event: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AuthorizedLabels {
    pub(super) outcome: &'static str,
    pub(super) route: String,
}

/// Labels of a player's call.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CallLabels {
    pub drm: &'static str,
    pub kind: &'static str,
    pub outcome: &'static str,
    pub route: Arc<str>,
}

/// Labels of a request on a media route.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct MediaLabels {
    /// `manifest`, `segment` or `other`.
    pub kind: &'static str,
    /// `passed`, `failed`, `refused` or `slate`.
    pub outcome: &'static str,
    pub route: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RouteLabel {
    pub(super) route: Arc<str>,
}

/// Outcome of a player's call; the names stand in metrics and logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlayerCallOutcome {
    /// The license server refused in its own words.
    Declined,
    /// The license server could not be used.
    Failed,
    /// No session applied; the license server's reply was passed on.
    Passed,
    Refused,
    Served,
}

impl PlayerCallOutcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Served => "served",
        }
    }
}

/// Reasons why a session of an embedded authority ended against its will.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotEnd {
    /// The account or device is denied now.
    Denied,
    /// An operator ended it.
    Ended,
    /// An operator moved it to another device.
    Moved,
    /// The oldest session gave way at a limit with `on-limit = "end-oldest"`.
    Replaced,
    /// A viewer of the account ended it for another device.
    Viewer,
}

impl SlotEnd {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Ended => "ended",
            Self::Moved => "moved",
            Self::Replaced => "replaced",
            Self::Viewer => "viewer",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct CauseLabels {
    pub(super) cause: String,
    pub(super) profile: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RestoredLabel {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RouteFault {
    pub(super) fault: &'static str,
    pub(super) route: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RouteResult {
    pub(super) result: &'static str,
    pub(super) route: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AuthorityLabel {
    pub(super) authority: Arc<str>,
}

/// The reason why a call to an upstream was not necessary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SavedCall {
    /// An equal call was under way, and its reply was given to this one too.
    SameChallenge,
    /// The content token had expired.
    TokenExpired,
}

impl SavedCall {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SameChallenge => "same_challenge",
            Self::TokenExpired => "token_expired",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct SavingLabels {
    pub(super) reason: &'static str,
    pub(super) route: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct StateLabel {
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ReloadLabel {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct BuildLabel {
    pub(super) version: &'static str,
}

/// Result of delivering an event to a webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WebhookDelivery {
    Delivered,
    /// Several tries failed.
    GivenUp,
    /// Dropped before a try, because the service is too slow.
    Missed,
    /// The service rejects it.
    Rejected,
}

impl WebhookDelivery {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::GivenUp => "given-up",
            Self::Missed => "missed",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct DeliveredLabels {
    pub(super) result: &'static str,
    pub(super) webhook: String,
}
