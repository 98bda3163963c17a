//! The reasons for which a playback ends without a kill. Every end is recorded with one.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum EndReason {
    /// Its player gave up before its turn among the device's playbacks came.
    Abandoned,
    /// sidebeat stops.
    Drained,
    /// The authority had let it expire.
    Expired,
    /// Another playback of its device is presumed to play instead; its own player can take it back.
    GaveWay,
    /// All of its licenses have expired.
    LicenseExpired,
    /// The longest time without a sign of life has passed.
    Longest,
    /// Beats failed until the authority must have let it expire.
    Lost,
    /// A live player fetched no more media.
    MediaSilent,
    /// The process died during its open: its possible grant cannot be given back, and the authority lets it expire.
    Orphaned,
    /// Its live programme is over; the app has to ask for the next one.
    Programme,
    /// The player reported that it quits.
    Quit,
    /// The player released its last license.
    Released,
    /// Renewals were due and did not come.
    RenewalsOverdue,
    /// A player that reports about itself fell silent.
    Silent,
    /// A stop call, a beacon, or an operator's teardown ended it.
    Stopped,
    /// Its player received nothing, and asks no more.
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

    /// True if the player's side ended it: a left-over renewal must not open it again.
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
