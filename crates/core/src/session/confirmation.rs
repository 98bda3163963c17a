//! What the authority confirmed of a session: when, and how long that answer travelled.
