//! By what a playback's calls and media are known, and what was accepted of it.
