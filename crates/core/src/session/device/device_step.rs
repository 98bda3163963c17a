//! What one step of a device goes by, and what it wants done.

use std::time::Instant;

use super::super::policy::Policy;
use super::DeviceEffects;

/// As [`super::super::step`], of several playbacks: each effect stands with the playback that it belongs to.
pub(super) struct DeviceStep<'a> {
    pub(super) now: Instant,
    pub(super) policy: &'a Policy,
    pub(super) out: &'a mut DeviceEffects,
}
