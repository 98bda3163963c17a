//! The inputs and effects of one step of a device.

use super::super::policy::Policy;
use super::DeviceEffects;
use crate::time::MonotonicTime;

/// Like [`super::super::step`], for several playbacks: each effect has its playback.
pub(super) struct DeviceStep<'a> {
    pub(super) now: MonotonicTime,
    pub(super) policy: &'a Policy,
    pub(super) out: &'a mut DeviceEffects,
}
