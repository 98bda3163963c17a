//! A segment of a player whose media pass through a media route: it is passed on, and cut when its playback ends.

use std::sync::Arc;
use std::time::Duration;

use sidebeat::secret::Fingerprint;
use sidebeat::session::{MediaFetch, PlayerReport, SessionRefusal};
use sidebeat::sessions::{DeviceKey, Fetched, MediaFlow, Sessions};

use super::far::{Far, Line};

pub(crate) struct Segment {
    pub(crate) device: usize,
    pub(crate) key: DeviceKey,
    pub(crate) line: Arc<Line>,
    pub(crate) report: Option<PlayerReport>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) media: MediaFetch,
    /// How long its bytes take.
    pub(crate) takes: Duration,
    pub(crate) token: Fingerprint,
}

impl Segment {
    /// Dropped at any moment when the player hangs up.
    pub(crate) async fn play(self) {
        let Self { device, key, line, report, sessions, media, takes, token } = self;
        let told = |flow: &MediaFlow| line.far().flows((device, token), flow);
        if !told(&sessions.fetched(key, token, Fetched { media, report })) {
            return;
        }
        sessions.used(key, token);
        let end = line.far().clock_now() + takes;
        while let Some(change) = sessions.change(key, token) {
            // Earlier changes are seen now, and later ones wake the task.
            if !told(&sessions.flow(key, token)) {
                line.far().sums.add("media cut");
                return;
            }
            if tokio::time::timeout_at(end.into(), change).await.is_err() {
                line.far().passed((device, token));
                return;
            }
        }
    }
}

impl Far {
    /// True if the media of this token may flow; never those of a killed playback.
    fn flows(&mut self, of: (usize, Fingerprint), flow: &MediaFlow) -> bool {
        self.sums.add(match flow {
            MediaFlow::Absent => "media of nobody",
            MediaFlow::Goes => "media passed",
            MediaFlow::Over(SessionRefusal::Killed(_), _) => "media refused: killed",
            MediaFlow::Over(_, _) => "media refused",
        });
        let goes = *flow == MediaFlow::Goes;
        assert!(!goes || !self.is_banned(of), "the media of the killed do not flow");
        goes
    }

    /// The whole segment passed, so no kill had to cut it.
    fn passed(&self, of: (usize, Fingerprint)) {
        assert!(!self.is_banned(of), "a kill cuts what is on its way");
    }

    fn is_banned(&self, (device, token): (usize, Fingerprint)) -> bool {
        self.watch.is_banned(self.awake(), device, token)
    }
}
