//! Reads what players tell about themselves: CMCD reports, CTA-5004 and CTA-5004-B.
//!
//! Owns the list syntax, the typed facts and the bounds of all four ways in: the `CMCD` query
//! parameter, the four request headers, event bodies and GET events. It reads text and nothing
//! else: no clock, no sockets, no session state. A report proves nothing, since anybody can write
//! one; who it belongs to is decided elsewhere. The gateway calls it on media and report calls.

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
