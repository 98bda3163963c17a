//! Computes when the segments of an MPD begin, from its periods, templates and timelines. The DASH parser calls it.

use std::time::Duration;

use quick_xml::events::BytesStart;

use super::super::playhead::{NumberedSegments, Playheads, StartCollector};
use super::super::uri::UriBase;
use super::date_time;
use super::text::{attributes, value};

#[derive(Default)]
pub(super) struct SegmentTiming {
    collect: StartCollector,
    end_ms: Option<u64>,
    live: bool,
    /// Time between two loads of the MPD. Zero means whenever the media announce it, which may be never.
    update_ms: Option<u64>,
    /// Start of the next period, if it names none.
    period_end_ms: u64,
    period_ms: u64,
    /// The open template, and the number of elements around it.
    template: Option<(usize, NumberedSegments)>,
}

impl SegmentTiming {
    /// Reads an element. `depth`: number of elements around it. `base`: base of its relative URIs.
    pub(super) fn element<'a>(&mut self, start: &BytesStart<'_>, depth: usize, base: impl FnOnce() -> UriBase<'a>) {
        match start.local_name().as_ref() {
            "MPD" => {
                self.live = value(start, "type").as_deref() == Some("dynamic");
                self.end_ms = milliseconds(start, "mediaPresentationDuration");
                self.update_ms = milliseconds(start, "minimumUpdatePeriod");
            }
            "Period" => {
                self.period_ms = milliseconds(start, "start").unwrap_or(self.period_end_ms);
                let lasts = milliseconds(start, "duration").unwrap_or_default();
                self.period_end_ms = self.period_ms.saturating_add(lasts);
            }
            "S" => self.run(start),
            "SegmentTemplate" => self.template(start, depth, base),
            _ => {}
        }
    }

    fn template<'a>(&mut self, start: &BytesStart<'_>, depth: usize, base: impl FnOnce() -> UriBase<'a>) {
        let Some(media) = value(start, "media").filter(|_| !self.live && !self.collect.is_full_of_templates()) else {
            return;
        };
        let number = |name, default| value(start, name).map_or(Some(default), |text| text.parse().ok());
        if let (Some(duration), Some(first), Some(origin), Some(timescale @ 1..)) = (
            number("duration", 0),
            number("startNumber", 1),
            number("presentationTimeOffset", 0),
            number("timescale", 1),
        ) {
            let path = base().resolve_any(&media).path;
            let path = path.split('?').next().unwrap_or_default().to_owned();
            let (offset, runs) = (self.period_ms, Vec::new());
            self.template = Some((depth, NumberedSegments { duration, first, offset, origin, path, runs, timescale }));
        }
    }

    /// Reads an `S`. There are thousands, and numbers need no references, so each is read once, as written.
    fn run(&mut self, start: &BytesStart<'_>) {
        let Some((_, template)) = &mut self.template else { return };
        let (mut at, mut duration, mut repeat) = (None, None, 0);
        for (name, raw) in attributes(start) {
            match name {
                "d" => duration = raw.parse().ok(),
                "r" => repeat = raw.parse().unwrap_or_default(),
                "t" => at = raw.parse().ok(),
                _ => {}
            }
        }
        if let Some(duration) = duration {
            template.run(at, duration, repeat);
        }
    }

    /// An element at this depth has ended; a template that began there is complete.
    pub(super) fn end(&mut self, depth: usize) {
        if let Some((_, template)) = self.template.take_if(|(from, _)| *from == depth) {
            self.collect.template(template);
        }
    }

    pub(super) fn reload(&self) -> Option<Duration> {
        self.update_ms.filter(|update| self.live && *update > 0).map(Duration::from_millis)
    }

    /// True for a live MPD, and the starts of segments of one that is not live.
    pub(super) fn finish(self) -> (Option<bool>, Playheads) {
        (Some(self.live), self.collect.finish(self.end_ms.filter(|_| !self.live)))
    }
}

fn milliseconds(start: &BytesStart<'_>, name: &str) -> Option<u64> {
    let time = value(start, name).and_then(|text| date_time::duration(&text))?;
    u64::try_from(time.as_millis()).ok()
}
