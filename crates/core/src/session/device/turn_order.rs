//! When a playback's turn comes among those of its device.
