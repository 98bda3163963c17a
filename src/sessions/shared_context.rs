//! Gives a shared session the context and the caller of the playback whose content token opens it.

use std::sync::Arc;

use super::device_table::SessionEntry;
use super::session_context::SessionContext;
use crate::ids::SessionId;
use crate::session::{Device, Playback, Role};
use crate::task::HeldPlace;

/// Updates the contexts of shared sessions before the effects of a step: an open uses the newest accepted content
/// token.
pub(super) fn share_cards(device: &mut Device<SessionEntry>) {
    let newest = |session: &Playback<SessionEntry>| {
        let Role::DeviceSession { by } = session.role else { return None };
        let playback = device.playbacks().iter().find(|playback| playback.id == by)?;
        let is_news = playback.card.card.token.is_some() && playback.first_token() != session.card.opened_by;
        is_news.then(|| (session.id, playback.first_token(), playback.card.card.clone()))
    };
    let news: Vec<_> = device.playbacks().iter().filter_map(newest).collect();
    for (session, token, of) in news {
        let Some(playback) = device.playback_mut(session) else { continue };
        // The session keeps its position in the list of all sessions.
        let opened = playback.card.card.opened;
        playback.card.card = Arc::new(SessionContext { opened, ..SessionContext::clone(&of) });
        (playback.card.record, playback.card.opened_by) = (None, token);
    }
}

/// Takes the place of the caller that this session is opened for. No player calls a shared session itself, so the
/// playbacks that share it hold the places.
pub(super) fn take_place(device: &mut Device<SessionEntry>, id: SessionId) -> Option<HeldPlace> {
    let opened_by = match device.playback(id)?.role {
        Role::DeviceSession { by } => by,
        Role::Alone | Role::Sharing(_) => id,
    };
    let waits_for_it = |p: &&Playback<SessionEntry>| p.card.place.is_some() && (p.id == id || p.shares() == Some(id));
    let caller = device.playbacks().iter().filter(waits_for_it).max_by_key(|p| p.id == opened_by)?.id;
    device.playback_mut(caller)?.card.place.take()
}
