//! The calls of a session to its authority: their numbers, the one in flight, and those that were given up.
