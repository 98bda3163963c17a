//! `[authority.on-unreachable]`: for how long playbacks go on while nobody can say whether they may.

use std::time::Duration;

/// The budgets of one authority. All zero: an outage refuses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OnUnreachable {
    /// Without a grant, from the failed open on.
    pub new: Allowed,
    /// With the last grant, from the moment at which the authority must have let it expire.
    pub running: Allowed,
}

/// How long; zero is not at all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allowed {
    pub live: Duration,
    pub vod: Duration,
}

impl Allowed {
    /// Where nobody says which it is.
    pub fn shorter(&self) -> Duration {
        self.live.min(self.vod)
    }
}
