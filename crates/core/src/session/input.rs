//! Everything that can happen to a session.

use std::time::{Duration, Instant};

use super::end_reason::EndReason;
use super::grant::{AskKind, Ticket};
use super::player_call::CallKind;
use super::player_report::{MediaFetch, PlayerReport, StreamType};
use super::step::SharedFate;
use super::verdict::{AuthorityFault, Reason, Verdict};
use crate::secret::Fingerprint;

#[derive(Clone, Debug)]
pub enum Input {
    /// A call that was told to wait asks again; its player may have gone meanwhile.
    Again(CallKind),
    /// The last connection of its player is gone.
    Alone,
    /// The authority, or the way to it, answered the call with this ticket.
    Answered(Ticket, AskKind, Result<Verdict, AuthorityFault>),
    /// A connection of its player is there again.
    Back,
    /// The player asks for something under this session.
    Call(CallKind),
    /// The playback is over.
    End(EndReason),
    /// Another playback of its device is presumed to be the one that plays.
    GiveWay,
    /// An operator kills it here.
    Kill(Reason),
    /// The session that its playback shares came to this.
    Followed(SharedFate),
    /// An operator takes a kill back.
    Forgive,
    /// By when all of its licenses have run out; none where one may never.
    Licensed(Option<Instant>),
    /// The player asks for a part of what it plays.
    Media(MediaFetch),
    /// The player tells about itself.
    Report(PlayerReport),
    /// The player got what it asked for.
    Served(LicenseFeedback),
    /// The machine slept, for this long; monotonic time stood still.
    Slept(Duration),
    /// The authority says, without having been asked, that it ended the session of this token.
    PushedKill { reason: Reason, token: Fingerprint },
    /// Its turn among the device's playbacks has come.
    Start,
    /// Somebody other than the player knows what it plays.
    Streams(StreamType),
    /// It gave way, and its player wants it back.
    TakeBack,
    /// Its deadline has come.
    Tick,
    /// What its player asked for has not reached it.
    Unserved,
    /// Its player got something to play by that is no license: media, or what nobody can read.
    Used,
}

/// How a player says that it goes.
#[derive(Clone, Copy, Debug)]
pub enum FarewellSignal {
    /// By a report.
    Quit(PlayerReport),
    /// By the stop call, or a beacon.
    Stop,
}

/// What the license server's reply taught.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LicenseFeedback {
    /// A license of a DRM system whose players send no renewals that an authority takes as beats.
    NeverRenews,
    /// A license that says nothing about renewals.
    Plain,
    /// The license announces renewals, `every` so often if it says.
    Renews { every: Option<Duration> },
    /// The license says that no renewal will come.
    Stays,
}
