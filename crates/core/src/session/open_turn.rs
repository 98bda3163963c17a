//! Whether a playback that waits for its first open has been passed over, and whether anybody waits for it still.

/// Of one that waits for its first open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OpenTurn {
    /// It was passed over, and somebody waits for it all the same.
    Asked,
    Coming,
    /// Something that was called for later has reached its player. Who waits for this one is asked.
    Passed,
}
