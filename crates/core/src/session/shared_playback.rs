//! Detects several players of one playback: two tabs of a device with the same content.
//!
//! Licenses show nothing, because a player may fetch a fresh content token for each. But a player that refreshes its
//! token does not go back to an old one: a renewal with a token after which another one came shows that both are in
//! use. A restart forgets this; the next renewals show it again.

use super::playback::playback_names::MAX_CONTENT_TOKENS;
use super::player_call::{CallKind, PlayerCall};
use super::short_list::ShortList;
use crate::secret::Fingerprint;

#[derive(Debug, Default)]
pub(super) struct SharedPlayback {
    /// The token of the last call.
    last: Option<Fingerprint>,
    /// Tokens in use side by side, and whether their player has stopped. Most playbacks have none.
    players: ShortList<(Fingerprint, bool), MAX_CONTENT_TOKENS>,
}

impl SharedPlayback {
    /// `known`: the playback had this call's token before.
    pub(super) fn note(&mut self, call: &PlayerCall, known: bool) {
        let Some(token) = call.token else { return };
        if call.kind != CallKind::Release {
            self.goes_on(token);
        }
        let before = self.last.replace(token).filter(|before| *before != token);
        if let (CallKind::Renewal, true, Some(before)) = (call.kind, known, before) {
            self.add(before);
            self.add(token);
        }
    }

    /// A player that calls again did not stop, or came back: from a reload, or from its browser's cache.
    fn goes_on(&mut self, token: Fingerprint) {
        self.players.iter_mut().filter(|(of, _)| *of == token).for_each(|(_, stopped)| *stopped = false);
    }

    fn add(&mut self, token: Fingerprint) {
        if self.players.iter().any(|(of, _)| *of == token) {
            return;
        }
        self.players.push_last((token, false));
    }

    /// The player of this token stops. True if other known players have not stopped.
    pub(super) fn stop(&mut self, token: Fingerprint) -> bool {
        let mut one_of_them = false;
        for (_, stopped) in self.players.iter_mut().filter(|(of, _)| *of == token) {
            (*stopped, one_of_them) = (true, true);
        }
        let others = self.players.iter().filter(|(_, stopped)| !stopped).count();
        // A token without alternations is mostly a fresh one of a known player.
        others > usize::from(!one_of_them)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::OpenAbility;

    /// `l1` is a license with token 1, `r1` a renewal, `g1` a release, `s1` a stop; `+` behind a stop: others go on.
    fn plays(story: &str) -> String {
        let (mut turns, mut known, mut told) = (SharedPlayback::default(), Vec::new(), Vec::new());
        for word in story.split(' ').map(|word| word.trim_end_matches('+')) {
            let token = Fingerprint::new(word[1..].parse().unwrap());
            if word.starts_with('s') {
                let more = turns.stop(token);
                told.push(if more { format!("{word}+") } else { word.to_owned() });
                continue;
            }
            let kind = match word.split_at(1).0 {
                "g" => CallKind::Release,
                "l" => CallKind::License,
                _ => CallKind::Renewal,
            };
            let (content, content_token, token) = (None, Some(token), Some(token));
            let call = PlayerCall { content, content_token, key_session: None, kind, opens: OpenAbility::Yes, token };
            turns.note(&call, token.is_some_and(|token| known.contains(&token)));
            known.extend(token);
            told.push(word.to_owned());
        }
        told.join(" ")
    }

    #[test]
    fn only_alternating_tokens_show_several_players() {
        let stories = [
            // One player: a fixed token; one that is refreshed; a fresh one for every call.
            "l1 l1 r1 r1 s1",
            "l1 r1 l2 r2 r2 s1",
            "l1 r1 l2 r2 r2 s2",
            "l1 l2 r3 r4 r5 s1",
            // Picture and sound with a token each, asked for again after a lost reply.
            "l1 l2 l1 r3 s1",
            // Two: nothing shows it before the first renewals.
            "l1 l2 s1",
            "l1 r1 l2 r1 r2 s1+ r2 s2",
            "l1 l2 r1 r2 s2+ r1 s1",
            // The first renewal of the one whose token was known shows both.
            "l1 l2 r1 s1+ r2 s2",
            // The same stop twice, by a call and a beacon.
            "l1 l2 r1 r2 s1+ s1+ s2",
            // One of them refreshes its token, and stops first, or last.
            "l1 l2 r1 r2 r3 r1 s3+",
            "l1 l2 r1 r2 s1+ r3 s3",
            // The first one gives its license up as well.
            "l1 l2 r1 r2 s1+ g1 s2",
            // The first one was only loaded again.
            "l1 l2 r1 r2 s1+ l1 r1 s2+ s1",
            // A third that has not renewed yet.
            "l1 l2 r1 r2 l3 s3+ s1+ s2",
        ];
        for story in stories {
            assert_eq!(plays(story), story);
        }
    }

    #[test]
    fn the_number_of_players_is_bounded() {
        let mut turns = SharedPlayback::default();
        for token in 0..1_000 {
            let token = Some(Fingerprint::new(token));
            turns.note(
                &PlayerCall {
                    content: None,
                    content_token: token,
                    key_session: None,
                    kind: CallKind::Renewal,
                    opens: OpenAbility::Yes,
                    token,
                },
                true,
            );
        }
        assert_eq!(turns.players.len(), MAX_CONTENT_TOKENS);
    }
}
