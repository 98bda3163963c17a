//! What one step of a session goes by, and what it wants done.
