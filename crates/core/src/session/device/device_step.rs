//! The inputs and effects of one step of a device.

use std::time::Instant;

use super::super::policy::Policy;
use super::DeviceEffects;

/// Like [`super::super::step`], for several playbacks: each effect has its playback.
pub(super) struct DeviceStep<'a> {
    pub(super) now: Instant,
    pub(super) policy: &'a Policy,
    pub(super) out: &'a mut DeviceEffects,
}
