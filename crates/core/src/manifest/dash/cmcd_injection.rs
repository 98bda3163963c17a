//! Inserts `CMCDParameters` into an MPD: players that read them report about themselves from then on.
//!
//! dash.js 5.0 and later do (`docs/players.md`). An existing service description is filled, because a second one would
//! not be read; one that already has parameters stays as it is. The DASH parser calls it.

use std::ops::Range;

use quick_xml::escape::escape;
use quick_xml::events::BytesStart;

use super::super::{CmcdRequest, TextEdit};

#[derive(Default)]
pub(super) struct CmcdInjection {
    /// True once nothing is to be inserted any more.
    done: bool,
    /// The service description that is open, if it has no parameters.
    filling: bool,
    /// The prefix with its colon.
    prefix: String,
    root: bool,
}

impl CmcdInjection {
    pub(super) fn is_mpd(&self) -> bool {
        self.root
    }

    /// `depth`: number of elements around it.
    pub(super) fn start(&mut self, start: &BytesStart<'_>, depth: usize) {
        match (depth, start.local_name().as_ref()) {
            (0, "MPD") => {
                self.root = true;
                let name = start.name().0.to_owned();
                self.prefix = name.strip_suffix("MPD").unwrap_or_default().to_owned();
            }
            (1, "ServiceDescription") if !self.done => self.filling = true,
            (_, "ClientDataReporting" | "CMCDParameters") if self.filling => {
                self.filling = false;
                self.done = true;
            }
            _ => {}
        }
    }

    pub(super) fn empty(
        &mut self,
        start: &BytesStart<'_>,
        depth: usize,
        at: Range<usize>,
        wanted: Option<&CmcdRequest<'_>>,
    ) -> Option<TextEdit> {
        match (depth, start.local_name().as_ref()) {
            (1, "ServiceDescription") if !self.done => {
                let element = element(&self.prefix, wanted?);
                self.done = true;
                let name = start.name().0;
                // Its attributes may have edits of their own.
                Some(TextEdit { at: at.end.saturating_sub(2)..at.end, with: format!(">{element}</{name}>").into() })
            }
            (_, "ClientDataReporting" | "CMCDParameters") if self.filling => {
                self.filling = false;
                self.done = true;
                None
            }
            _ => None,
        }
    }

    /// `depth`: number of open elements, including the one that ends.
    pub(super) fn end(&mut self, depth: usize, before: usize, wanted: Option<&CmcdRequest<'_>>) -> Option<TextEdit> {
        if depth != 2 || !std::mem::take(&mut self.filling) {
            return None;
        }
        self.done = true;
        Some(TextEdit::insert(before, &element(&self.prefix, wanted?)))
    }

    /// Inserts a service description before the first period, if there was none to fill.
    pub(super) fn period(&mut self, before: usize, wanted: Option<&CmcdRequest<'_>>) -> Option<TextEdit> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let (p, element) = (&self.prefix, element(&self.prefix, wanted?));
        Some(TextEdit::insert(before, &format!("<{p}ServiceDescription id=\"0\">{element}</{p}ServiceDescription>")))
    }
}

/// Writes version 1, which every dash.js that reads the parameters accepts.
fn element(p: &str, cmcd: &CmcdRequest<'_>) -> String {
    let (session, content) = (escape(cmcd.session), escape(cmcd.content));
    format!(
        "<{p}ClientDataReporting><{p}CMCDParameters schemeIdUri=\"urn:mpeg:dash:cta-5004:2023\" version=\"1\" \
         mode=\"query\" sessionID=\"{session}\" contentID=\"{content}\" \
         keys=\"sid cid br d ot bl pr sf st nor su bs mtp\" includeInRequests=\"segment mpd\"/>\
         </{p}ClientDataReporting>"
    )
}
