//! Rules of a route and of an authority that a session lives by; `config` reads them.

use std::time::Duration;

/// The budgets of one authority. All zero: an outage refuses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OnUnreachable {
    /// Without a grant, from the failed open on.
    pub new: OutageBudget,
    /// With the last grant, from the moment at which the authority must have let it expire.
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

/// The rungs of evidence, each of which can be switched off. Kills and zaps are none of them: what the
/// authority says holds, and `sessions-per-device` says how much a device may play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndingRules {
    /// Time for which a player's last connection must be gone before other evidence counts sooner; it never
    /// ends a playback by itself. None: connections tell nothing.
    pub connections_gone: Option<Duration>,
    /// When every license that it was given has run out.
    pub license_expiry: bool,
    /// Without any sign of life for this long it is over, whatever the beats say.
    pub longest: Duration,
    /// Longest time in which a player of something live may fetch nothing through a media route; `None` is for ever.
    pub media_silence: Option<Duration>,
    /// The player's own report that it quits.
    pub quit: bool,
    /// The release of its last license.
    pub release: bool,
    /// Rounds of renewals that may stay away where renewals are the beats. None: all of them.
    pub renewals_overdue: Option<f64>,
    /// Reports that stay away.
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
    /// By the Widevine license policy; every other DRM is beaten by us.
    Auto,
    Heartbeat,
    Renewal,
}
