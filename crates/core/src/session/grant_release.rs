//! A grant that is being given back: when its close is tried, how often it was, and whether its place is waited for.
