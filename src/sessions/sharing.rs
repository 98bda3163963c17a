//! The card of a session that several playbacks of a device share: that of the playback by whose content token it is
//! opened.

use std::sync::Arc;

use super::card::Card;
use super::table::Kept;
use crate::session::{Device, Playback, Role};

/// Before the effects of a step are carried out: an open goes by the newest content token that was accepted.
pub(super) fn share_cards(device: &mut Device<Kept>) {
    let newest = |session: &Playback<Kept>| {
        let Role::DeviceSession { by } = session.role else { return None };
        let playback = device.playbacks().iter().find(|playback| playback.id == by)?;
        let is_news = playback.card.card.token.is_some() && playback.token != session.card.opened_by;
        is_news.then(|| (session.id, playback.token, playback.card.card.clone()))
    };
    let news: Vec<_> = device.playbacks().iter().filter_map(newest).collect();
    for (session, token, of) in news {
        let Some(playback) = device.playback_mut(session) else { continue };
        // It stays where it is in the list of all sessions.
        let opened = playback.card.card.opened;
        playback.card.card = Arc::new(Card { opened, ..Card::clone(&of) });
        (playback.card.record, playback.card.opened_by) = (None, token);
    }
}
