//! What the player shows of itself, and by which of it the session may end.
