//! Finds path segments that step upward, however they are written.
//!
//! A request path is appended to the path of an upstream, whose server may resolve `..` and so leave the prefix
//! that the route was given. Servers and the gateways before them decode and split paths in different ways, so
//! every spelling that any of them undoes counts: percent-encoding (also encoded again), backslashes, overlong
//! UTF-8, `;parameters` behind the dots, spaces and control characters around them. Called once for each request,
//! before a route is looked for, so that all kinds of routes share the rule.

/// One character of a path as the most lenient server reads it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum PathByte {
    Dot,
    /// Ends what counts of a segment: some servers take off what follows.
    Parameter,
    Plain,
    /// Ends a segment.
    Slash,
    /// Some servers drop it.
    Space,
}

/// Whether a segment of `path` is `.` or `..` to any server. Linear in the length of the path.
pub(super) fn has_dot_segment(path: &str) -> bool {
    let mut rest = path.as_bytes();
    let mut segment = DotSegment::default();
    while let Some((byte, after)) = next(rest) {
        if byte == PathByte::Slash {
            if segment.is_complete() {
                return true;
            }
            segment = DotSegment::default();
        } else {
            segment.add(byte);
        }
        rest = after;
    }
    segment.is_complete()
}

#[derive(Default)]
struct DotSegment {
    dots: usize,
    has_other: bool,
    has_parameter: bool,
}

impl DotSegment {
    fn add(&mut self, byte: PathByte) {
        match byte {
            PathByte::Dot if !self.has_parameter => self.dots += 1,
            PathByte::Parameter => self.has_parameter = true,
            PathByte::Plain if !self.has_parameter => self.has_other = true,
            PathByte::Dot | PathByte::Plain | PathByte::Slash | PathByte::Space => {}
        }
    }

    fn is_complete(&self) -> bool {
        !self.has_other && matches!(self.dots, 1 | 2)
    }
}

fn next(path: &[u8]) -> Option<(PathByte, &[u8])> {
    let (&first, rest) = path.split_first()?;
    if first != b'%' {
        return Some((meaning(first), rest));
    }
    // `%25` stands for the next decoder's `%`, as often as it is written.
    let mut code = rest;
    while let Some(again) = code.strip_prefix(b"25") {
        code = again;
    }
    Some(escaped(code).unwrap_or((PathByte::Plain, rest)))
}

/// What an escape without its `%` means, and what follows it.
fn escaped(code: &[u8]) -> Option<(PathByte, &[u8])> {
    if let Some(digits) = code.strip_prefix(b"u").or_else(|| code.strip_prefix(b"U")) {
        let (high, after) = hex_byte(digits)?;
        let (low, after) = hex_byte(after)?;
        return Some((if high == 0 { meaning(low) } else { PathByte::Plain }, after));
    }
    let (byte, after) = hex_byte(code)?;
    let overlong = || {
        let (low, after) = hex_byte(after.strip_prefix(b"%")?)?;
        Some((meaning((byte & 1) << 6 | (low & 0x3f)), after))
    };
    match byte {
        // Two bytes for what one can say: old decoders let it pass.
        0xc0 | 0xc1 => overlong().or(Some((PathByte::Plain, after))),
        _ => Some((meaning(byte), after)),
    }
}

fn hex_byte(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (two, after) = digits.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = *two;
    let value = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    Some((value, after))
}

fn meaning(byte: u8) -> PathByte {
    match byte {
        b'.' => PathByte::Dot,
        b'/' | b'\\' => PathByte::Slash,
        b';' => PathByte::Parameter,
        0..=b' ' | 0x7f => PathByte::Space,
        _ => PathByte::Plain,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_step_upward_is_found() {
        for path in [
            "/license/..",
            "/license/../../internal/admin",
            "/license/./x",
            "/..",
            "/license/%2e%2e/x",
            "/license/%2E./x",
            "/license/.%2e",
            "/license/%2e",
            "/license/%252e%252e/x",
            "/license/%25252e%2e/x",
            "/license/..%2fadmin",
            "/license/..%2Fadmin",
            "/license%2f..%2fadmin",
            "/license/..%252fadmin",
            "/license/..%5cadmin",
            "/license/..\\admin",
            "/license\\..\\admin",
            "/license/a%5c..%5cadmin",
            "/license/..;/admin",
            "/license/..;a=b/admin",
            "/license/..%3bx/admin",
            "/license/%2e%2e%3b/admin",
            "/license/..%00/admin",
            "/license/..%20/admin",
            "/license/%09../admin",
            "/license/.%0a./admin",
            "/license/%c0%ae%c0%ae/admin",
            "/license/..%c0%afadmin",
            "/license/..%c1%9cadmin",
            "/license/%u002e%u002e/admin",
            "/license/..%u2215/../x",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn names_with_dots_and_escapes_are_no_steps() {
        for path in [
            "/",
            "",
            "/license",
            "/license/.well-known/x",
            "/license/...",
            "/license/....//x",
            "/license/a..b/c.",
            "/license/..a",
            "/license/%2e%2ea",
            "/license/a%2fb%5cc",
            "/license/a;..;b",
            "/license/%",
            "/license/%2",
            "/license/%25",
            "/license/%zz..",
            "/license/%c3%a9t%c3%a9.m4s",
            "/license/%e2%80%a6",
            "/license//x",
            "/license/~stop",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_climbs_after_any_number_of_decodings_is_found(
            path in "/[a.]{0,3}(/|%2f|%5C|\\\\)?(\\.|%2e|%252E){1,3}(/[ab]{0,2})?",
            rounds in 0_usize..4,
        ) {
            let mut decoded = path.clone();
            for _ in 0..rounds {
                decoded = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
            }
            let climbs = decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."));
            prop_assert!(!climbs || has_dot_segment(&path), "{path} is {decoded}");
        }

        #[test]
        fn no_path_is_too_odd(path in ".{0,40}") {
            let _ = has_dot_segment(&path);
        }
    }
}
