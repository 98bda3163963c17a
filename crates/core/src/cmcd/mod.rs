//! Reads CMCD: the reports of players about themselves (CTA-5004 and CTA-5004-B).
//!
//! This module owns the list syntax, the typed facts and the bounds of all four transports: the `CMCD` query parameter,
//! the four request headers, event bodies and GET events. It only reads text: no clock, no sockets, no session state. A
//! report proves nothing, because anybody can write one; the sessions decide to which playback it belongs. The gateway
//! calls this module on media and report calls.

mod cursor;
mod item;
mod read;
mod report;
#[cfg(test)]
mod tests;
mod token_values;

pub use self::read::{Batch, HEADERS, PARAMETER, Unreadable, batch, from_body, from_headers, from_query, is_header};
pub use self::report::CmcdReport;
pub use self::token_values::{CmcdEvent, CmcdFormat, CmcdObject, CmcdState};
