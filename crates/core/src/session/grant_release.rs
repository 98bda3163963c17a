//! A grant on its way back: when its close is tried, how often it was, and whether anybody waits for its place.
