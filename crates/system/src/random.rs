//! The only source of randomness: the system, or a simulation that must be repeatable.

use std::sync::Arc;

use aws_lc_rs::rand;

/// Source of random numbers: the system, or a simulation that must be repeatable.
#[derive(Clone, Default)]
pub enum RandomSource {
    Given(Arc<dyn Fn() -> u64 + Send + Sync>),
    #[default]
    System,
}

impl RandomSource {
    pub fn draw(&self) -> u64 {
        match self {
            Self::Given(next) => next(),
            Self::System => random_u64(),
        }
    }
}

/// A random UUID (RFC 9562, version 4).
pub fn uuid() -> String {
    let (high, low) = (random_u64(), random_u64());
    let high = high & !0xf000 | 0x4000;
    let low = low & (u64::MAX >> 2) | 1 << 63;
    let (node, sequence) = (low & 0xffff_ffff_ffff, low >> 48);
    format!("{:08x}-{:04x}-{:04x}-{sequence:04x}-{node:012x}", high >> 32, high >> 16 & 0xffff, high & 0xffff)
}

pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // The only failure is a system without a random source, where TLS could not start either.
    if rand::fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_be_bytes(bytes)
}
