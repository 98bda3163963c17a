//! Warnings of what a license route lets pass by the limits of its authority.

use std::time::Duration;

use crate::config::section::Section;
use crate::config::units::show_duration;
use crate::config::{AuthorityKind, SessionControl};

/// Only the id in the path says which authorization a license belongs to.
pub(super) fn warn_of_unregistered(table: &Section<'_>, authority: Option<&AuthorityKind>) {
    if matches!(authority, Some(AuthorityKind::FirstLight(_))) {
        let what = "is \"auto\": a license call without the id of a registered playback (PATH/~ID) passes without a \
            session, so that whoever leaves the id out is limited by nobody; write \"always\" where all players come by \
            an authorize route or the admin API";
        table.warn("session-control", what);
    }
}

/// An embedded authority limits those who have a session, and nobody else.
pub(super) fn warn_of_unlimited(
    table: &Section<'_>,
    session_control: SessionControl,
    authority: Option<&AuthorityKind>,
) {
    let who = match session_control {
        SessionControl::Always => return,
        SessionControl::Auto => "a call without a token that asks for a session",
        SessionControl::Never => "every call",
    };
    if matches!(authority, Some(AuthorityKind::Embedded(_))) {
        let what = format!(
            "lets {who} pass without a session, so that the limits of this authority do not hold for it; write \"always\", or leave it out"
        );
        table.warn("session-control", what);
    }
}

/// A place that is given back before the license is there is one more license than the limit allows.
pub(super) fn warn_of_unused(table: &Section<'_>, unused: Option<Duration>, call: Duration) {
    if let Some(unused) = unused.filter(|unused| *unused < call) {
        let what = format!(
            "unused = \"{}\" gives a place back before a license call must be answered (server.limits.call, {}): two \
             viewers can get a license for it",
            show_duration(unused),
            show_duration(call)
        );
        table.warn("endings", what);
    }
}
