//! Filler bytes in place of a real head-end's keys and signatures.

use aws_lc_rs::digest;

/// The first `length` bytes of SHA-256("synthetic:" + seed + counter), the counter running.
pub(super) fn fill(length: usize, seed: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + digest::SHA256_OUTPUT_LEN);
    let mut counter = 0u32;
    while bytes.len() < length {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"synthetic:");
        context.update(seed.as_bytes());
        context.update(&counter.to_be_bytes());
        bytes.extend_from_slice(context.finish().as_ref());
        counter += 1;
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_is_steady_and_of_any_length() {
        assert_eq!(fill(100, "a")[..40], fill(40, "a"));
        assert_ne!(fill(16, "a"), fill(16, "b"));
        assert!(fill(0, "a").is_empty());
    }
}
