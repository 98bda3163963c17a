//! The names by which a playback's calls and media are known, and which of them were accepted.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::super::player_call::PlayerCall;
use super::super::record::is_default;
use super::super::shared_playback::SharedPlayback;
use super::super::short_list::ShortList;
use crate::secret::Fingerprint;

/// Enough for audio, video, several qualities, and their successors after a seek.
pub(in crate::session) const MAX_KEY_SESSION_NAMES: usize = 16;

/// Content names of a playback: if only key ids identify it, picture and sound have one each.
const MAX_CONTENT_NAMES: usize = 8;

/// Refreshed content tokens of one playback.
pub(in crate::session) const MAX_CONTENT_TOKENS: usize = 8;

/// Media paths of a playback whose license calls do not name them.
const MAX_MEDIA_PATHS: usize = 4;

/// All names of a playback, within fixed bounds.
#[derive(Debug, Default)]
pub(in crate::session) struct PlaybackNames {
    /// True if it began without a content token: a caller with its device's name controls it.
    bare: bool,
    content: Option<Fingerprint>,
    /// Other names of its content.
    contents: ShortList<Fingerprint, MAX_CONTENT_NAMES>,
    key_sessions: ShortList<Fingerprint, MAX_KEY_SESSION_NAMES>,
    /// Later names: other content tokens for the same content.
    later_tokens: ShortList<Fingerprint, MAX_CONTENT_TOKENS>,
    /// The content token of the stop that ended it: its other players may go on.
    left: Option<Fingerprint>,
    /// Paths, which are no names of the playback: a caller with only such a path can do nothing but fetch media.
    media_paths: ShortList<Fingerprint, MAX_MEDIA_PATHS>,
    /// Content tokens of its calls that belong to another playback of the device. They do not identify it, but a kill
    /// holds for them as well.
    shared_tokens: ShortList<Fingerprint, MAX_CONTENT_TOKENS>,
    /// The name it began under: its registration, else its content token.
    token: Option<Fingerprint>,
    /// True once a call with that token got a license.
    token_accepted: bool,
    /// The tokens of its several players. A restart forgets them; the next renewals show them again.
    turns: SharedPlayback,
}

impl PlaybackNames {
    /// The names of a playback that begins with this call.
    pub(super) fn of(call: &PlayerCall) -> Self {
        let mut names = Self {
            bare: call.content_token.is_none(),
            content: call.content,
            token: call.token,
            // A registered playback came with its content token.
            token_accepted: call.content_token.is_some_and(|token| call.token != Some(token)),
            ..Self::default()
        };
        names.learn_names(call);
        names
    }

    /// The names of a device's shared session: no call finds it by a name, and no caller controls it.
    pub(super) fn of_device_session(call: &PlayerCall) -> Self {
        Self { bare: false, ..Self::of(&PlayerCall { content: None, key_session: None, ..*call }) }
    }

    /// This call got a license, so its names are the playback's. Before that nothing is learned, because anybody can
    /// name another's content or device.
    pub(in crate::session) fn learn(&mut self, call: &PlayerCall) {
        self.token_accepted |= call.token.is_some() && self.token == call.token;
        self.learn_names(call);
    }

    fn learn_names(&mut self, call: &PlayerCall) {
        self.learn_content(call);
        self.turns.note(call, call.token.is_some_and(|token| self.has(token)));
        if let Some(key_session) = call.key_session.filter(|known| !self.key_sessions.contains(known)) {
            self.key_sessions.push_last(key_session);
        }
    }

    fn learn_content(&mut self, call: &PlayerCall) {
        let Some(content) = call.content.filter(|_| !self.plays(call.content)) else { return };
        if self.content.is_none() {
            self.content = Some(content);
        } else if self.token.is_none() && call.token.is_none() {
            self.contents.push_last(content);
        }
    }

    pub(super) fn learn_token(&mut self, token: Fingerprint) {
        self.later_tokens.push_last(token);
    }

    /// Another playback of the device has this token.
    pub(super) fn share_token(&mut self, token: Fingerprint) {
        self.shared_tokens.push_last(token);
    }

    pub(in crate::session) fn learn_media_path(&mut self, path: Fingerprint) {
        if !self.has_media_path(path) {
            self.media_paths.push_last(path);
        }
    }

    /// For a device's session: sets the content token that opens it.
    pub(in crate::session) fn opened_by(&mut self, token: Option<Fingerprint>) {
        self.token = token;
    }

    /// A stop with this content token ended it.
    pub(in crate::session) fn left_by(&mut self, token: Option<Fingerprint>) {
        self.left = token;
    }

    /// The player of this content token stops. True if another player is known to go on.
    pub(super) fn stop(&mut self, token: Fingerprint) -> bool {
        self.turns.stop(token)
    }

    /// Forgets this key session. True if it was the last one.
    pub(super) fn release(&mut self, key_session: Fingerprint) -> bool {
        let before = self.key_sessions.len();
        self.key_sessions.retain(|known| *known != key_session);
        self.key_sessions.len() < before && self.key_sessions.is_empty()
    }

    /// The name it began under: its registration, else its content token.
    pub(super) fn first(&self) -> Option<Fingerprint> {
        self.token
    }

    /// All registrations and content tokens by which it is known.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Fingerprint> + Clone {
        self.token.into_iter().chain(self.later_tokens.iter().copied())
    }

    /// Content tokens for which its kill holds, beside its own.
    pub(in crate::session) fn shared_tokens(&self) -> &[Fingerprint] {
        &self.shared_tokens
    }

    /// True if this registration or content token is, or was, one of the names.
    pub(super) fn has(&self, token: Fingerprint) -> bool {
        self.token == Some(token) || self.later_tokens.contains(&token)
    }

    /// True if a caller with this token may control the playback.
    pub(super) fn answers_to(&self, token: Fingerprint) -> bool {
        let began_it = self.token == Some(token) && (self.token_accepted || self.later_tokens.is_empty());
        began_it || self.later_tokens.contains(&token)
    }

    /// True if one of its calls with this token got a license.
    pub(in crate::session) fn has_accepted(&self, token: Fingerprint) -> bool {
        (self.token == Some(token) && self.token_accepted) || self.later_tokens.contains(&token)
    }

    /// True if a call with the token that it began under got a license.
    pub(in crate::session) fn is_accepted(&self) -> bool {
        self.token.is_some() && self.token_accepted
    }

    /// True if a caller with its device's name controls it.
    pub(in crate::session) fn began_without_token(&self) -> bool {
        self.bare
    }

    /// True if media of this path are its own, although its license calls do not name the path.
    pub(super) fn has_media_path(&self, path: Fingerprint) -> bool {
        self.media_paths.contains(&path)
    }

    pub(in crate::session) fn plays(&self, content: Option<Fingerprint>) -> bool {
        content.is_some_and(|content| self.content == Some(content) || self.contents.contains(&content))
    }

    /// The first name of its content.
    pub(in crate::session) fn first_content(&self) -> Option<Fingerprint> {
        self.content
    }

    pub(in crate::session) fn has_key_session(&self, key_session: Fingerprint) -> bool {
        self.key_sessions.contains(&key_session)
    }

    /// Number of its key sessions.
    pub(super) fn key_sessions(&self) -> usize {
        self.key_sessions.len()
    }

    /// True if a stop with another content token than this call's ended it.
    pub(super) fn was_left_by_another(&self, call: &PlayerCall) -> bool {
        self.left.zip(call.token).is_some_and(|(left, token)| left != token)
    }

    /// Length and last entry of each growing list.
    pub(in crate::session) fn counts(&self) -> [(usize, Option<Fingerprint>); 4] {
        [&self.key_sessions[..], &self.later_tokens, &self.contents, &self.shared_tokens]
            .map(|names| (names.len(), names.last().copied()))
    }
}

/// The names as plain data.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NamesRecord {
    /// True if it began without a content token, although it has a name.
    #[serde(rename = "b", default, skip_serializing_if = "is_default")]
    pub bare: bool,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Fingerprint>,
    #[serde(rename = "cs", default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Fingerprint>,
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    pub key_sessions: Vec<Fingerprint>,
    #[serde(rename = "ts", default, skip_serializing_if = "Vec::is_empty")]
    pub later_tokens: Vec<Fingerprint>,
    /// The content token of the stop that ended it.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Fingerprint>,
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub media_paths: Vec<Fingerprint>,
    /// Content tokens for which a kill of it holds, beside its own.
    #[serde(rename = "sh", default, skip_serializing_if = "Vec::is_empty")]
    pub shared_tokens: Vec<Fingerprint>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Fingerprint>,
}

impl PlaybackNames {
    pub(in crate::session) fn record(&self) -> NamesRecord {
        NamesRecord {
            bare: self.bare && self.token.is_some(),
            content: self.content,
            contents: self.contents.to_vec(),
            key_sessions: self.key_sessions.to_vec(),
            later_tokens: self.later_tokens.to_vec(),
            left: self.left,
            media_paths: self.media_paths.to_vec(),
            shared_tokens: self.shared_tokens.to_vec(),
            token: self.token,
        }
    }

    /// `accepted`: its player received something by the first token. All other accepted names are recorded.
    pub(in crate::session) fn restore(record: &NamesRecord, accepted: bool) -> Self {
        Self {
            bare: record.bare || record.token.is_none(),
            content: record.content,
            contents: record.contents.iter().copied().collect(),
            key_sessions: record.key_sessions.iter().copied().collect(),
            later_tokens: record.later_tokens.iter().copied().collect(),
            left: record.left,
            media_paths: record.media_paths.iter().copied().collect(),
            shared_tokens: record.shared_tokens.iter().copied().collect(),
            token: record.token,
            token_accepted: accepted,
            turns: SharedPlayback::default(),
        }
    }

    /// Hashes the names that seldom change; [`Self::counts`] covers the lists.
    pub(in crate::session) fn hash_lasting(&self, into: &mut impl Hasher) {
        (self.bare, self.content, self.left, self.media_paths.as_slice(), self.token).hash(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{CallKind, OpenAbility};

    fn call(content: u64, token: Option<u64>, key_session: u64) -> PlayerCall {
        let token = token.map(Fingerprint::new);
        PlayerCall {
            content: Some(Fingerprint::new(content)),
            content_token: token,
            key_session: Some(Fingerprint::new(key_session)),
            kind: CallKind::License,
            opens: OpenAbility::Yes,
            token,
        }
    }

    #[test]
    fn a_token_controls_a_playback_that_it_began_or_in_which_it_was_accepted() {
        let mut names = PlaybackNames::of(&call(1, Some(7), 1));
        assert!(names.has(Fingerprint::new(7)) && names.answers_to(Fingerprint::new(7)) && !names.is_accepted());
        names.learn_token(Fingerprint::new(8));
        assert!(!names.answers_to(Fingerprint::new(7)), "another one was accepted, and this one never was");
        assert!(names.answers_to(Fingerprint::new(8)) && names.has_accepted(Fingerprint::new(8)));
        names.learn(&call(1, Some(7), 1));
        assert!(
            names.answers_to(Fingerprint::new(7)) && names.has_accepted(Fingerprint::new(7)) && names.is_accepted()
        );
        assert_eq!(names.tokens().collect::<Vec<_>>(), [Fingerprint::new(7), Fingerprint::new(8)]);
    }

    #[test]
    fn a_registered_playback_has_its_content_token_accepted_and_one_without_a_token_answers_for_its_device() {
        let registered = PlayerCall { content_token: Some(Fingerprint::new(9)), ..call(1, Some(7), 1) };
        assert!(PlaybackNames::of(&registered).is_accepted());
        let bare = PlaybackNames::of(&call(1, None, 1));
        assert!(bare.began_without_token() && !bare.is_accepted() && bare.first().is_none());
        let shared = PlaybackNames::of_device_session(&call(1, None, 1));
        assert!(!shared.began_without_token() && !shared.plays(Some(Fingerprint::new(1))));
        assert!(!shared.has_key_session(Fingerprint::new(1)), "no call finds it");
    }

    #[test]
    fn a_content_has_further_names_only_without_tokens() {
        let mut named = PlaybackNames::of(&call(1, Some(7), 1));
        named.learn(&call(2, Some(7), 1));
        assert!(named.plays(Some(Fingerprint::new(1))) && !named.plays(Some(Fingerprint::new(2))));
        let mut bare = PlaybackNames::of(&call(1, None, 1));
        bare.learn(&call(2, None, 1));
        assert!(bare.plays(Some(Fingerprint::new(1))) && bare.plays(Some(Fingerprint::new(2))) && !bare.plays(None));
    }

    #[test]
    fn every_list_of_names_is_bounded_and_keeps_the_newest() {
        let mut names = PlaybackNames::of(&call(0, None, 0));
        for at in 1..100 {
            names.learn(&call(at, None, at));
            names.learn_token(Fingerprint::new(at));
            names.share_token(Fingerprint::new(at));
            names.learn_media_path(Fingerprint::new(at));
            names.learn_media_path(Fingerprint::new(at));
        }
        let newest = Some(Fingerprint::new(99));
        let [key_sessions, tokens, contents, shared] = names.counts();
        assert_eq!((key_sessions, tokens), ((MAX_KEY_SESSION_NAMES, newest), (MAX_CONTENT_TOKENS, newest)));
        assert_eq!((contents, shared), ((MAX_CONTENT_NAMES, newest), (MAX_CONTENT_TOKENS, newest)));
        assert_eq!(names.media_paths.as_slice(), [96, 97, 98, 99].map(Fingerprint::new));
    }

    #[test]
    fn a_media_path_that_is_learned_makes_the_playback_worth_writing_again() {
        let lasting = |names: &PlaybackNames| {
            let mut hasher = std::hash::DefaultHasher::new();
            names.hash_lasting(&mut hasher);
            hasher.finish()
        };
        let mut names = PlaybackNames::of(&call(1, Some(7), 1));
        let before = lasting(&names);
        names.learn_media_path(Fingerprint::new(9));
        assert_ne!(lasting(&names), before);
    }

    #[test]
    fn the_release_of_the_last_key_session_is_recognised() {
        let mut names = PlaybackNames::of(&call(1, Some(7), 1));
        names.learn(&call(1, Some(7), 2));
        let released = [1, 1, 2, 2].map(|key_session| names.release(Fingerprint::new(key_session)));
        assert_eq!(released, [false, false, true, false]);
    }
    #[test]
    fn a_record_keeps_all_names_and_takes_no_more_than_are_kept() {
        let mut names = PlaybackNames::of(&call(1, Some(7), 2));
        names.learn_token(Fingerprint::new(8));
        names.share_token(Fingerprint::new(9));
        names.learn_media_path(Fingerprint::new(10));
        names.left_by(Some(Fingerprint::new(8)));
        let record = names.record();
        assert_eq!(PlaybackNames::restore(&record, false).record(), record);
        assert!(PlaybackNames::restore(&record, true).is_accepted());
        let many: Vec<_> = (0..100).map(Fingerprint::new).collect();
        let [contents, key_sessions, later_tokens] = [(); 3].map(|()| many.clone());
        let full = NamesRecord { contents, key_sessions, later_tokens, shared_tokens: many, ..record };
        let counts = PlaybackNames::restore(&full, false).counts().map(|(count, _)| count);
        assert_eq!(counts, [MAX_KEY_SESSION_NAMES, MAX_CONTENT_TOKENS, MAX_CONTENT_NAMES, MAX_CONTENT_TOKENS]);
        assert_eq!(serde_json::to_string(&PlaybackNames::default().record()).unwrap(), "{}");
    }
}
