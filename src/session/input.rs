//! Everything that can happen to a session.

use std::time::Duration;

use super::call::CallKind;
use super::end::End;
use super::grant::{AskKind, Ticket};
use super::report::Report;
use super::verdict::{Fault, Reason, Verdict};

#[derive(Clone, Debug)]
pub enum Input {
    /// The authority, or the way to it, answered the call with this ticket.
    Answered(Ticket, AskKind, Result<Verdict, Fault>),
    /// The player asks for something under this session.
    Call(CallKind),
    /// The playback is over.
    End(End),
    /// An operator kills it here.
    Kill(Reason),
    /// The player fetched a part of what it plays; whether that is `live`.
    Media { live: bool },
    /// The player tells about itself.
    Report(Report),
    /// The player got what it asked for.
    Served(Served),
    /// Its turn has come: nothing of the device has to be closed before it any more.
    Start,
    /// Its deadline has come.
    Tick,
}

/// What the license server's reply taught.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Served {
    /// A license that says nothing about renewals.
    Plain,
    /// The license announces renewals, `every` so often if it says.
    Renews { every: Option<Duration> },
    /// The license says that no renewal will come.
    Stays,
}
