//! "Did you mean …?": the known word nearest to a mistyped one.

/// The candidate with the fewest edits, if these are few for the word's length.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Nobody mistypes a longer word, and the work must stay bounded.
    const MAX_WORD_BYTES: usize = 100;
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and replacements that turn `from` into `to`.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, have) in from.chars().enumerate() {
        let mut left = done + 1;
        let mut next = vec![left];
        for ((want, diagonal), above) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(have != *want));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("idel", "idle", 2),
            ("listen_plain", "listen-plain", 1),
            ("é", "e", 1),
        ] {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_is_offered_and_the_far_is_not() {
        let known = ["body", "body-max", "idle", "lifetime"];
        for (word, offered) in [
            ("idle-", Some("idle")),
            ("bodymax", Some("body-max")),
            ("life-time", Some("lifetime")),
            ("drain", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), offered, "{word}");
        }
    }
}
