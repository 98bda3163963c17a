//! The ways in: a URL's query, the request headers, the body of an event report.
//!
//! Owns the bounds of each way and takes off its encoding, once. Whatever does not read as a report
//! is none; nothing here refuses a call. Called by the gateway's report endpoint.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::item::{CmcdList, LIST_MAX};
use super::report::CmcdReport;

/// The request headers that carry version 1 and 2. Which key sits in which is not looked at.
pub const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];

/// The query parameter.
pub const PARAMETER: &str = "CMCD";
/// Every byte of a list may be written as three.
const ENCODED_MAX: usize = 3 * LIST_MAX;
const BODY_MAX: usize = 64 * 1024;
const LINES_MAX: usize = 256;

/// Why no report of a body was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("more than {BODY_MAX} bytes")]
    TooLarge,
    #[error("more than {LINES_MAX} lines")]
    TooManyLines,
}

/// What one event body held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In the order of the body, which need not be that of the events; some may come twice.
    pub reports: Vec<CmcdReport>,
    /// Lines that were no list; blank ones do not count.
    pub skipped: usize,
}

/// The report in the query of a media request or of a GET event. Of several, the last.
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

/// The report in the four headers, whichever came. One that is no list is left out.
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

/// As [`from_body`], with the number of lines that were skipped.
pub fn batch(body: &[u8]) -> Result<Batch, Unreadable> {
    if body.len() > BODY_MAX {
        return Err(Unreadable::TooLarge);
    }
    let lines = || body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let count = lines().count();
    if count > LINES_MAX {
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
        // What cannot be read says nothing; the other headers still do.
        let _ = list.read(text);
    }
    if list.items().is_empty() { None } else { Some(CmcdReport::new(&list)) }
}
