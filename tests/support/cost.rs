//! Counts the cost of one parser for one input: bytes requested from the allocator, bytes held at once, and bytes
//! returned. If work grows with the square of the input, four times the input needs sixteen times the work.

#![allow(dead_code, reason = "each binary of tests uses its own part")]

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Bytes requested from the allocator in total.
    pub(crate) allocated: u64,
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// Largest number of bytes held at once.
    pub(crate) peak: u64,
}

/// Allowed cost of an input beside its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Cost that does not depend on the input.
    pub(crate) fixed: u64,
    pub(crate) output: usize,
}

/// For heads, tokens and other short inputs.
pub(crate) const SHORT: Allowance = Allowance { fixed: 32 * 1024, output: 1024 };

pub(crate) fn measure(input: &[u8], parse: impl Fn(&[u8]) -> usize) -> Cost {
    let mut output = 0;
    let info = allocation_counter::measure(|| output = parse(input));
    Cost { allocated: info.bytes_total, input: input.len(), output, peak: info.bytes_max }
}

/// `make` gives an input of at most so many bytes; `parse` gives the bytes that come of it.
pub(crate) fn assert_linear(
    name: &str,
    size: usize,
    allowance: Allowance,
    make: impl Fn(usize) -> Vec<u8>,
    parse: impl Fn(&[u8]) -> usize,
) {
    let (quarter, whole) = (make(size / 4), make(size));
    assert!(whole.len() <= size && whole.len() >= size * 9 / 10, "{name}: {} bytes are no full size", whole.len());
    let (quarter, whole) = (measure(&quarter, &parse), measure(&whole, &parse));
    let input = whole.input as u64;
    let extra = allowance.output as u64;
    assert!(whole.output <= whole.input * 2 + allowance.output, "{name}: {whole:?}");
    assert!(whole.allocated <= input * 64 + extra * 4 + allowance.fixed, "{name}: {whole:?}");
    assert!(whole.peak <= input * 24 + extra * 2 + allowance.fixed, "{name}: {whole:?}");
    // A list that grows by doubling may need a half more.
    assert!(whole.allocated <= quarter.allocated * 6 + allowance.fixed, "{name}: {quarter:?} {whole:?}");
}

/// `head` and `tail` with as much of `part` between them as fits.
pub(crate) fn filled(head: &str, part: impl Fn(usize) -> String, tail: &str, size: usize) -> Vec<u8> {
    let mut text = head.to_owned();
    for index in 0.. {
        let more = part(index);
        if text.len() + more.len() + tail.len() > size {
            break;
        }
        text.push_str(&more);
    }
    (text + tail).into_bytes()
}

/// Lines of at most 4 KiB, as headers are.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(4 * 1024)
}
