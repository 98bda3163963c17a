//! Remembers facts that the media of each playback has shown, beside its registration and for as long.
//!
//! Bounded per playback and in all. Losing the facts costs a playhead, the smoothness of a slate, or the target
//! of a URI that begins with an imported variable (which is counted), but never a decision.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::fetch::RedirectsUnderWay;
use super::player_report::WantedSegment;
use crate::gateway::identity::account::SessionAccount;
use crate::ids::PlaybackId;
use crate::manifest::{ManifestFacts, ManifestFormat, Playheads, PlaylistTail, SegmentEndings};
use crate::registrations::{GenerationMap, HeapBytes};
use crate::secret::Fingerprint;
use crate::session::{CallNames, StreamType};
use crate::sessions::SessionContext;

/// Playlists per playback.
const MAX_PLAYLISTS: usize = 32;
/// Playheads per playback: picture and sound, each in two qualities.
const MAX_PLAYHEADS: usize = 4;
/// Audio playlists per playback.
const MAX_AUDIO: usize = 64;
/// Hinted parts per playback.
const MAX_HINTED: usize = 32;
/// Length of the kept head of an MPD. Its root element begins early.
const MAX_MPD_HEAD_BYTES: usize = 8 * 1024;
/// Names and values of variables per playback.
const MAX_VARIABLE_BYTES: usize = 16 * 1024;
/// Playheads, variables and MPD heads of all playbacks together. A film's playheads have 40 KiB.
const MAX_LEARNED_BYTES: usize = 256 << 20;

#[derive(Default)]
pub struct MediaMemory {
    learned_bytes: Arc<AtomicUsize>,
    playbacks: Mutex<GenerationMap<PlaybackMedia>>,
}

#[derive(Default)]
pub(super) struct PlaybackMedia {
    /// True once a session was opened for the playback.
    pub(super) bound: AtomicBool,
    /// The account of its session. A later playback that follows it brings no token to name it again.
    pub(super) counted: OnceLock<SessionAccount>,
    /// True once its kill has been measured.
    pub(super) effective: AtomicBool,
    /// Facts of its first request, which name its account.
    pub(super) first_words: Mutex<Option<FirstWords>>,
    learned: Mutex<LearnedMedia>,
    /// True if its player reports about itself. Only then are the starts of segments worth their memory.
    pub(super) tells: AtomicBool,
}

/// Facts learned from one playback's media. Paths are kept as fingerprints.
#[derive(Default)]
pub(super) struct LearnedMedia {
    audio: Vec<Fingerprint>,
    bytes: LearnedBytes,
    /// True if some media of its newest manifest is fetched past us.
    elsewhere: bool,
    /// Endings of the paths that its manifests name.
    pub(super) endings: SegmentEndings,
    /// Formats of manifests whose paths do not tell.
    formats: Vec<(Fingerprint, ManifestFormat)>,
    /// Parts hinted at last, oldest first.
    hinted: Vec<Fingerprint>,
    live: Option<bool>,
    /// Beginning of the newest live MPD.
    pub(super) mpd: Option<String>,
    playheads: Vec<(Fingerprint, Playheads)>,
    pub(super) redirects: RedirectsUnderWay,
    /// Longest time until the newest live manifest is surely asked for again.
    reload: Option<Duration>,
    tails: Vec<(Fingerprint, PlaylistTail)>,
    /// Variables that its playlists may import, with their values.
    pub(super) variables: Vec<(String, String)>,
    /// True if some of its playlists bypass the proxy; `None` if this process has read no list of them.
    variants_elsewhere: Option<bool>,
}

/// Facts that only the first request of a playback tells.
#[derive(Clone, Debug)]
pub(super) struct FirstWords {
    pub(super) content: Option<String>,
    pub(super) counted: SessionAccount,
    pub(super) kill_memory: Option<Duration>,
    pub(super) names: CallNames,
}

impl FirstWords {
    pub(super) fn of(context: &SessionContext) -> Self {
        let groups = context.groups.as_deref().cloned().unwrap_or_default();
        let counted = SessionAccount {
            account: context.account.clone().map(Into::into),
            by_device: false,
            content_group: groups.content.as_deref().map(str::to_owned),
            device_group: groups.device.as_deref().map(str::to_owned),
            is_proven: false,
            network: context.network,
        };
        let (content, kill_memory) = (context.content.as_deref().map(str::to_owned), context.kill_memory);
        Self { content, counted, kill_memory, names: CallNames::default() }
    }
}

impl PlaybackMedia {
    pub(super) fn first_words(&self) -> Option<FirstWords> {
        self.first_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep_first_words(&self, words: FirstWords) {
        *self.first_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }
}

impl MediaMemory {
    pub(super) fn playback(&self, now: Instant, id: PlaybackId) -> Arc<PlaybackMedia> {
        let mut playbacks = self.playbacks.lock().unwrap_or_else(PoisonError::into_inner);
        drop(playbacks.turn(now));
        if let Some((playback, _)) = playbacks.find(id) {
            return playback;
        }
        let playback = Arc::<PlaybackMedia>::default();
        playback.learned().bytes.all = self.learned_bytes.clone();
        playbacks.insert(id, playback.clone());
        playback
    }
}

impl MediaMemory {
    /// Forgets a playback when its registration is forgotten.
    pub(super) fn forget(&self, id: PlaybackId) {
        self.playbacks.lock().unwrap_or_else(PoisonError::into_inner).forget(id);
    }
}

/// [`LearnedBytes`] counts them.
impl HeapBytes for PlaybackMedia {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A playback's share of [`MAX_LEARNED_BYTES`].
#[derive(Default)]
struct LearnedBytes {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl LearnedBytes {
    /// Sets this share. Returns false and sets it to zero if all shares together would be too large.
    fn become_so_many(&mut self, own: usize) -> bool {
        let before = std::mem::take(&mut self.own);
        let others = self.all.fetch_sub(before, Ordering::Relaxed).saturating_sub(before);
        let fits = others.saturating_add(own) <= MAX_LEARNED_BYTES;
        if fits {
            self.own = own;
            self.all.fetch_add(own, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for LearnedBytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

impl PlaybackMedia {
    pub(super) fn learned(&self) -> MutexGuard<'_, LearnedMedia> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LearnedMedia {
    /// Notes the facts of a manifest of this playback; `path` is its path at its server.
    pub(super) fn note(&mut self, path: &str, format: ManifestFormat, text: &[u8], facts: ManifestFacts) {
        if self.format(path) != Some(format) {
            put(&mut self.formats, path, format, MAX_PLAYLISTS);
        }
        self.endings.merge(&facts.endings);
        self.live = facts.live.or(self.live);
        match facts.live {
            Some(_) => (self.elsewhere, self.reload) = (facts.elsewhere, facts.reload),
            None => self.variants_elsewhere = Some(facts.elsewhere),
        }
        if !facts.audio.is_empty() {
            self.audio = facts.audio.iter().take(MAX_AUDIO).map(|path| name(path)).collect();
        }
        for hinted in facts.hinted.iter().map(|path| name(path)) {
            self.hinted.retain(|known| *known != hinted);
            self.hinted.push(hinted);
        }
        self.hinted.drain(..self.hinted.len().saturating_sub(MAX_HINTED));
        if let Some(tail) = facts.tail {
            put(&mut self.tails, path, tail, MAX_PLAYLISTS);
        }
        if !facts.variables.is_empty() {
            self.note_variables(facts.variables);
        }
        if format == ManifestFormat::Dash && facts.live == Some(true) {
            let head = text.get(..text.len().min(MAX_MPD_HEAD_BYTES)).unwrap_or_default();
            self.mpd = Some(String::from_utf8_lossy(head).into_owned());
            self.keep_within_bounds();
        }
    }

    /// The newest value of a variable is the one that is imported next.
    fn note_variables(&mut self, newest: Vec<(String, String)>) {
        self.variables.retain(|(known, _)| newest.iter().all(|(name, _)| name != known));
        self.variables.extend(newest);
        let mut bytes = 0;
        let fitting = self.variables.iter().rev().take_while(|(name, value)| {
            bytes += name.len() + value.len();
            bytes <= MAX_VARIABLE_BYTES
        });
        let fitting = fitting.count();
        self.variables.drain(..self.variables.len() - fitting);
        self.keep_within_bounds();
    }

    pub(super) fn note_playheads(&mut self, path: &str, playheads: Playheads) {
        if !playheads.is_empty() {
            put(&mut self.playheads, path, playheads, MAX_PLAYHEADS);
            self.keep_within_bounds();
        }
    }

    /// Forgets this playback's large facts if all playbacks together have too many.
    fn keep_within_bounds(&mut self) {
        let playheads = self.playheads.iter().map(|(_, playheads)| playheads.heap_bytes());
        let variables = self.variables.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let bytes = playheads.sum::<usize>() + self.mpd.as_ref().map_or(0, String::len) + variables;
        if !self.bytes.become_so_many(bytes) {
            (self.mpd, self.playheads, self.variables) = (None, Vec::new(), Vec::new());
        }
    }

    /// Longest time until the player surely asks for more through us: see [`crate::session::MediaFetch::again`].
    /// With `direct`, segments do not pass through us.
    pub(super) fn again(&self, direct: bool) -> Option<Duration> {
        if self.elsewhere || direct { self.reload } else { Some(Duration::ZERO) }
    }

    /// See [`crate::session::MediaFetch::leads_past`].
    pub(super) fn leads_past(&self) -> Option<bool> {
        self.variants_elsewhere
    }

    pub(super) fn is_live(&self) -> bool {
        self.live == Some(true)
    }

    /// Live or on demand, if a manifest said so.
    pub(super) fn stream(&self) -> Option<StreamType> {
        self.live.map(|live| if live { StreamType::Live } else { StreamType::Vod })
    }

    /// Format of the manifest at this path, learned from it or told by the path.
    pub(super) fn format(&self, path: &str) -> Option<ManifestFormat> {
        let known = self.formats.iter().find(|(known, _)| *known == name(path)).map(|(_, format)| *format);
        known.or_else(|| ManifestFormat::of_path(path))
    }

    /// True if a playlist hinted at this path before it existed.
    pub(super) fn is_hinted(&self, path: &str) -> bool {
        self.hinted.contains(&name(path))
    }

    pub(super) fn is_audio(&self, path: &str) -> bool {
        self.audio.contains(&name(path))
    }

    /// Target duration of the playlist of this path, else of any other of this playback.
    pub(super) fn target_duration(&self, path: &str) -> Option<Duration> {
        let longest = || self.tails.iter().map(|(_, tail)| tail.target_s).max();
        let own = self.tail(path).map(|tail| tail.target_s).filter(|seconds| *seconds > 0);
        own.or_else(longest).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// End of the player's playlist of this path.
    pub(super) fn tail(&self, path: &str) -> Option<PlaylistTail> {
        self.tails.iter().find(|(known, _)| *known == name(path)).map(|(_, tail)| *tail)
    }

    /// The segment of a title at this path and byte.
    pub(super) fn wanted(&self, path: &str, first_byte: u64) -> Option<WantedSegment> {
        self.playheads.iter().find_map(|(_, playheads)| {
            Some(WantedSegment { start: playheads.start(path, first_byte)?, title_end: playheads.end() })
        })
    }
}

fn name(path: &str) -> Fingerprint {
    Fingerprint::of(path.as_bytes())
}

fn put<T>(list: &mut Vec<(Fingerprint, T)>, path: &str, value: T, most: usize) {
    let path = name(path);
    if let Some((_, known)) = list.iter_mut().find(|(known, _)| *known == path) {
        *known = value;
        return;
    }
    if list.len() >= most {
        list.remove(0);
    }
    list.push((path, value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn facts_of_all_playbacks_are_bounded_in_bytes_and_given_back() {
        let (memory, now) = (MediaMemory::default(), Clock.now());
        let mpd = vec![b'x'; 2 * MAX_MPD_HEAD_BYTES];
        let facts = || ManifestFacts { live: Some(true), ..ManifestFacts::default() };
        let playbacks: Vec<_> = (0..3).map(|_| memory.playback(now, PlaybackId::random())).collect();
        for playback in &playbacks {
            playback.learned().note("/live.mpd", ManifestFormat::Dash, &mpd, facts());
        }
        assert_eq!(memory.learned_bytes.load(Ordering::Relaxed), 3 * MAX_MPD_HEAD_BYTES);
        memory.learned_bytes.fetch_add(MAX_LEARNED_BYTES - 3 * MAX_MPD_HEAD_BYTES, Ordering::Relaxed);
        let late = memory.playback(now, PlaybackId::random());
        late.learned().note("/live.mpd", ManifestFormat::Dash, &mpd, facts());
        assert!(late.learned().mpd.is_none() && late.learned().is_live(), "only what is large is forgotten");
        playbacks[0].learned().note("/live.mpd", ManifestFormat::Dash, &mpd, facts());
        assert!(playbacks[0].learned().mpd.is_some(), "what is there already has its place");
        drop((
            memory
                .playbacks
                .lock()
                .unwrap()
                .turn(now + crate::registrations::Registrations::MAX_UNUSED_REGISTRATION_TIME),
            playbacks,
        ));
        assert_eq!(
            memory.learned_bytes.load(Ordering::Relaxed),
            MAX_LEARNED_BYTES - 3 * MAX_MPD_HEAD_BYTES,
            "given back"
        );
    }

    /// The player may continue past us, whatever it did last.
    #[test]
    fn a_player_with_playlists_elsewhere_is_not_sure_to_ask_again() {
        let reload = Some(Duration::from_secs(4));
        let facts = |live, elsewhere, reload| ManifestFacts { elsewhere, live, reload, ..ManifestFacts::default() };
        let main = |elsewhere| facts(None, elsewhere, None);
        let media = |elsewhere| facts(Some(true), elsewhere, reload);
        for (said, direct, again) in [
            (vec![], false, Some(Duration::ZERO)),
            (vec![main(false)], false, Some(Duration::ZERO)),
            (vec![main(false)], true, None),
            (vec![main(true)], false, None),
            (vec![main(true), media(false)], false, None),
            (vec![main(true), media(true)], true, None),
            (vec![main(true), media(false), main(false)], false, Some(Duration::ZERO)),
            (vec![media(true), main(true), main(false)], false, reload),
            (vec![main(false), media(false)], false, Some(Duration::ZERO)),
            (vec![main(false), media(false)], true, reload),
            (vec![main(false), media(true)], false, reload),
            (vec![main(false), media(true), media(false)], false, Some(Duration::ZERO)),
        ] {
            let mut learned = LearnedMedia::default();
            for facts in said.clone() {
                learned.note("/main", ManifestFormat::Hls, b"", facts);
            }
            let told = learned.again(direct).filter(|_| learned.leads_past() != Some(true));
            assert_eq!(told, again, "{said:?} {direct}");
        }
    }
}
