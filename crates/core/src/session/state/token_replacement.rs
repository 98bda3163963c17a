//! Whether the authority replaces tokens without telling, as far as its answers show.

/// What good answers that told no token have shown. A server that replaces tokens, and whose answer came through as
/// something else, looks as one that keeps them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::session) enum TokenReplacement {
    Never,
    /// Nobody knows yet whether the token is good after it.
    Once,
    /// The token was good again after such an answer: the authority replaces none without telling.
    Kept,
}
