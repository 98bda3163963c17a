//! Reads the reports of a URL's query, of the request headers, or of an event body.
//!
//! Each function bounds its input and decodes it once. Unreadable text yields no report; nothing here refuses a call.
//! The gateway calls these functions on media and report calls.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::item::{CmcdList, LIST_MAX};
use super::report::CmcdReport;

/// The request headers of versions 1 and 2. Any key is accepted in any of them.
pub const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];

/// The query parameter.
pub const PARAMETER: &str = "CMCD";
/// An encoded list may take three bytes for each of its own.
const ENCODED_MAX: usize = 3 * LIST_MAX;
const MAX_REPORT_BYTES: usize = 64 * 1024;
const MAX_REPORT_LINES: usize = 256;

/// The reason why a body has no report.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("more than {MAX_REPORT_BYTES} bytes")]
    TooLarge,
    #[error("more than {MAX_REPORT_LINES} lines")]
    TooManyLines,
}

/// The reports of an event body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Reports in the order of the body, which may differ from that of the events; some may come twice.
    pub reports: Vec<CmcdReport>,
    /// Number of lines that were no list; blank ones do not count.
    pub skipped: usize,
}

/// The report in the query of a media request or of a GET event. The last of several counts.
pub fn from_query(query: &str) -> Option<CmcdReport> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.rfind(|(name, _)| is_parameter(name))?;
    if value.len() > ENCODED_MAX {
        return None;
    }
    // Form encoders write a space as a plus, and every encoder in use writes a plus as `%2B`.
    let value = if value.contains('+') { Cow::Owned(value.replace('+', " ")) } else { Cow::Borrowed(value) };
    let text = percent_decode_str(&value).decode_utf8().ok()?;
    report([text.as_ref()])
}

pub fn is_header(name: &HeaderName) -> bool {
    HEADERS.contains(&name.as_str())
}

/// The report in the four headers, of which any may be missing. A header that is no list is ignored.
pub fn from_headers(headers: &HeaderMap) -> Option<CmcdReport> {
    let values = || HEADERS.into_iter().flat_map(|name| headers.get_all(name));
    if values().map(|value| value.len()).sum::<usize>() > LIST_MAX {
        return None;
    }
    report(values().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()))
}

/// The reports of an event body (`application/cmcd`): 64 KiB and 256 lines at most.
pub fn from_body(body: &[u8]) -> Result<Vec<CmcdReport>, Unreadable> {
    batch(body).map(|batch| batch.reports)
}

/// Like [`from_body`], with the number of skipped lines.
pub fn batch(body: &[u8]) -> Result<Batch, Unreadable> {
    if body.len() > MAX_REPORT_BYTES {
        return Err(Unreadable::TooLarge);
    }
    let lines = || body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let count = lines().count();
    if count > MAX_REPORT_LINES {
        return Err(Unreadable::TooManyLines);
    }
    let texts = lines().filter_map(|line| std::str::from_utf8(line).ok());
    let reports: Vec<_> = texts.filter_map(|text| report([text])).collect();
    let skipped = count - reports.len();
    Ok(Batch { reports, skipped })
}

fn is_parameter(name: &str) -> bool {
    percent_decode_str(name).eq(PARAMETER.bytes())
}

fn report<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<CmcdReport> {
    let mut list = CmcdList::default();
    for text in texts {
        // An unreadable header says nothing; the others still count.
        let _ = list.read(text);
    }
    if list.items().is_empty() { None } else { Some(CmcdReport::new(&list)) }
}
