//! What one step of a device goes by, and what it wants done.
