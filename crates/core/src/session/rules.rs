//! Rules of a route and of an authority that a session lives by; `config` reads them.

use std::time::Duration;

/// The budgets of an authority. All zero: an outage refuses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OnUnreachable {
    /// For a playback without a grant, from the failed open on.
    pub new: OutageBudget,
    /// For a playback with a grant, from the time at which the authority must have let it expire.
    pub running: OutageBudget,
}

/// Time for which playbacks go on; zero refuses them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OutageBudget {
    pub live: Duration,
    pub vod: Duration,
}

impl OutageBudget {
    /// The budget of a playback that does not say whether it is live.
    pub fn shorter(&self) -> Duration {
        self.live.min(self.vod)
    }
}

/// The kinds of evidence that end a playback; each can be switched off. Kills and zaps are not among them: the
/// authority's word holds, and `sessions-per-device` limits the playbacks of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndingRules {
    /// Time without any connection of a player after which other evidence counts sooner; this never ends a playback by
    /// itself. `None`: connections do not count.
    pub connections_gone: Option<Duration>,
    /// The expiry of all its licenses.
    pub license_expiry: bool,
    /// Longest time without a sign of life, even if beats succeed.
    pub longest: Duration,
    /// Longest time in which a player of something live may fetch nothing through a media route; `None` is for ever.
    pub media_silence: Option<Duration>,
    /// The player's own report that it quits.
    pub quit: bool,
    /// The release of its last license.
    pub release: bool,
    /// Missing rounds of renewals, if renewals are the beats; `None` never ends it.
    pub renewals_overdue: Option<f64>,
    /// Missing reports.
    pub report_silence: bool,
    /// The stop call or beacon.
    pub stop: bool,
    /// Time from the player's last call to the end of a playback whose player received nothing; `None` never ends it.
    pub unused: Option<Duration>,
}

impl Default for EndingRules {
    fn default() -> Self {
        Self {
            connections_gone: Some(Duration::from_secs(30)),
            license_expiry: true,
            longest: Duration::from_hours(12),
            media_silence: Some(Duration::from_secs(90)),
            quit: true,
            release: true,
            renewals_overdue: Some(2.0),
            report_silence: true,
            stop: true,
            unused: Some(Duration::from_secs(30)),
        }
    }
}

/// The party that keeps the session alive at the authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// The Widevine license policy decides; sidebeat beats for every other DRM.
    Auto,
    Heartbeat,
    Renewal,
}
