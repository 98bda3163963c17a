//! The inputs of a session: all that can happen to it.

use std::time::Duration;

use super::end_reason::EndReason;
use super::grant::{AskKind, Ticket};
use super::player_call::CallKind;
use super::player_report::{MediaFetch, PlayerReport, StreamType};
use super::session_kill::SessionKill;
use super::step::SharedFate;
use super::verdict::{AuthorityFault, Reason, Verdict};
use crate::secret::Fingerprint;
use crate::time::MonotonicTime;

#[derive(Clone, Debug)]
pub enum Input {
    /// A waiting call is repeated; its player may have gone meanwhile.
    RetryCall(CallKind),
    /// The last connection of its player has ended.
    Disconnected,
    /// The authority, or the way to it, answered the call with this ticket.
    Answered(Ticket, AskKind, Result<Verdict, AuthorityFault>),
    /// A connection of its player is there again.
    Reconnected,
    /// The player makes a call under this session.
    Call(CallKind),
    /// The playback is over.
    End(EndReason),
    /// Another playback of its device is presumed to play instead.
    GiveWay,
    /// An operator kills it.
    Kill(SessionKill),
    /// The session that its playback shares came to this.
    Followed(SharedFate),
    /// An operator takes a kill back.
    Forgive,
    /// Time at which the last of its licenses expires; `None` if any may be perpetual.
    Licensed(Option<MonotonicTime>),
    /// The player requests media.
    Media(MediaFetch),
    /// The player reports about itself.
    Report(PlayerReport),
    /// The session was restored from its record; `orphan`: as that says.
    Restored { orphan: bool },
    /// The player got its license, with this feedback.
    Served(LicenseFeedback),
    /// The machine slept for this long, while monotonic time stood still.
    Slept(Duration),
    /// The authority reports by itself that it ended the session of this token.
    PushedKill { reason: Reason, token: Fingerprint },
    /// Its turn among the device's playbacks has come.
    Start,
    /// A source other than the player knows its kind of stream.
    Streams(StreamType),
    /// Its player wants it back after it gave way.
    TakeBack,
    /// Its deadline has come.
    Tick,
    /// The requested license or media did not reach its player.
    Unserved,
    /// Its player got something to play by that is no license: media, or an unreadable reply.
    Used,
}

/// A player's farewell.
#[derive(Clone, Copy, Debug)]
pub enum FarewellSignal {
    /// A report of its quit.
    Quit(PlayerReport),
    /// A stop call, or a beacon.
    Stop,
}

/// The renewal behaviour that the license server's reply shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LicenseFeedback {
    /// A license of a DRM system whose renewals no authority takes as beats.
    NeverRenews,
    /// A license that says nothing about renewals.
    Plain,
    /// A license that announces renewals, `every` so often if it says.
    Renews { every: Option<Duration> },
    /// A license that announces none.
    Stays,
}
