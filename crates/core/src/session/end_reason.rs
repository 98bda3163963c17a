//! Why a playback ended without a kill. Recorded with every ending.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum EndReason {
    /// It never got its turn among the device's playbacks before its player gave up.
    Abandoned,
    /// sidebeat stops.
    Drained,
    /// The authority had let it expire.
    Expired,
    /// Another playback of its device is presumed to be the one that plays; its own player can take it back.
    GaveWay,
    /// Every license that it was given has run out.
    LicenseExpired,
    /// The longest time without a sign of life was reached.
    Longest,
    /// Beats failed until the authority must have let it expire.
    Lost,
    /// A player of something live fetched nothing more of it.
    MediaSilent,
    /// Its open was under way when the process died: nobody can give back what it may have brought,
    /// and the authority lets it expire.
    Orphaned,
    /// Its live programme is over; the app has to ask for the next one.
    Programme,
    /// The player said that it quits.
    Quit,
    /// The player released its last license.
    Released,
    /// Renewals were due and did not come.
    RenewalsOverdue,
    /// A player that reports about itself fell silent.
    Silent,
    /// The stop call, a beacon, or an operator's teardown.
    Stopped,
    /// Nothing that its player asked for reached it, and it asks no more.
    Unused,
    /// The same device plays something else.
    Zapped,
}

impl EndReason {
    pub const ALL: [Self; 17] = [
        Self::Abandoned,
        Self::Drained,
        Self::Expired,
        Self::GaveWay,
        Self::LicenseExpired,
        Self::Longest,
        Self::Lost,
        Self::MediaSilent,
        Self::Orphaned,
        Self::Programme,
        Self::Quit,
        Self::Released,
        Self::RenewalsOverdue,
        Self::Silent,
        Self::Stopped,
        Self::Unused,
        Self::Zapped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Drained => "drained",
            Self::Expired => "expired",
            Self::GaveWay => "gave-way",
            Self::LicenseExpired => "license-expired",
            Self::Longest => "longest",
            Self::Lost => "lost",
            Self::MediaSilent => "media-silent",
            Self::Orphaned => "orphaned",
            Self::Programme => "programme-over",
            Self::Quit => "quit",
            Self::Released => "released",
            Self::RenewalsOverdue => "renewals-overdue",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Unused => "unused",
            Self::Zapped => "zapped",
        }
    }

    /// Ended by the player's side: a left-over renewal of it must not open it again.
    pub fn is_wanted(self) -> bool {
        match self {
            Self::Abandoned
            | Self::Drained
            | Self::Programme
            | Self::Quit
            | Self::Released
            | Self::Stopped
            | Self::Zapped => true,
            Self::Expired
            | Self::GaveWay
            | Self::LicenseExpired
            | Self::Longest
            | Self::Lost
            | Self::MediaSilent
            | Self::Orphaned
            | Self::RenewalsOverdue
            | Self::Silent
            | Self::Unused => false,
        }
    }
}
