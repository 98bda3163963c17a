//! The channel's two titles, embedded in the program.

use bytes::Bytes;

pub(super) struct TitleFiles {
    pub(super) audio: TitleTrack,
    pub(super) video: TitleTrack,
}

/// A file, and the playlist that tells where its parts are.
pub(super) struct TitleTrack {
    file: &'static [u8],
    playlist: &'static str,
}

macro_rules! track {
    ($name:literal) => {
        TitleTrack {
            file: include_bytes!(concat!("asset/", $name, ".mp4")),
            playlist: include_str!(concat!("asset/", $name, ".m3u8")),
        }
    };
}

pub(super) static PROGRAMME: TitleFiles = TitleFiles { audio: track!("programme-a"), video: track!("programme-v") };
pub(super) static SLATE: TitleFiles = TitleFiles { audio: track!("slate-a"), video: track!("slate-v") };

impl TitleTrack {
    pub(super) fn init(&self) -> Option<Bytes> {
        let range = self.playlist.split_once("BYTERANGE=\"")?.1.split('"').next()?;
        self.part(range)
    }

    /// A segment, counted from 0.
    pub(super) fn segment(&self, index: u64) -> Option<Bytes> {
        self.part(self.values("#EXT-X-BYTERANGE:").nth(usize::try_from(index).ok()?)?)
    }

    /// Duration of a segment in seconds, as the playlist writes it.
    pub(super) fn length(&self, index: u64) -> Option<&'static str> {
        self.values("#EXTINF:").nth(usize::try_from(index).ok()?)?.strip_suffix(',')
    }

    /// The tag of its key; `None` if it is in clear.
    pub(super) fn key(&self) -> Option<&'static str> {
        self.playlist.lines().find(|line| line.starts_with("#EXT-X-KEY:"))
    }

    fn values(&self, tag: &'static str) -> impl Iterator<Item = &'static str> {
        self.playlist.lines().filter_map(move |line| line.strip_prefix(tag))
    }

    fn part(&self, range: &str) -> Option<Bytes> {
        let (length, first) = range.split_once('@')?;
        let (length, first): (usize, usize) = (length.parse().ok()?, first.parse().ok()?);
        self.file.get(first..first.checked_add(length)?).map(Bytes::from_static)
    }
}
