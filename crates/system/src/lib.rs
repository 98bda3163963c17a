//! What sidebeat takes from the machine: the only reader of clocks, the only source of chance, the only spawner.

pub mod clock;
pub mod random;
pub mod task;
