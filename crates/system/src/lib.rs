//! The interface to the machine: the only reader of clocks, source of randomness and spawner of tasks.

pub mod clock;
pub mod random;
pub mod task;
