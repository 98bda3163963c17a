//! Remembers how the names of segments end.
//!
//! A manifest has thousands of segments of a few kinds. Their endings identify media replies even if bytes and media
//! types do not, as for encrypted segments. The parsers add endings; the media route asks for them.

/// Limit for a manifest, and for a playback. An ending has no dot, and is empty if the name has none.
const MAX_ENDINGS: usize = 16;
const MAX_ENDING_BYTES: usize = 8;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SegmentEndings(Vec<String>);

impl SegmentEndings {
    /// `path`: of a segment, without its query.
    pub(super) fn note(&mut self, path: &str) {
        if let Some(ending) = ending(path) {
            self.add(ending);
        }
    }

    pub fn merge(&mut self, others: &Self) {
        others.0.iter().for_each(|ending| self.add(ending));
    }

    /// True if a named segment has the ending of this path.
    pub fn has(&self, path: &str) -> bool {
        ending(path).is_some_and(|ending| self.knows(ending))
    }

    fn add(&mut self, ending: &str) {
        if self.0.len() < MAX_ENDINGS && !self.knows(ending) {
            self.0.push(ending.to_owned());
        }
    }

    fn knows(&self, ending: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(ending))
    }
}

/// `None` for a folder.
fn ending(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let plain = ending.len() <= MAX_ENDING_BYTES && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some(if plain { ending } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_recognised_by_the_ending_of_others() {
        let mut endings = SegmentEndings::default();
        ["/a/1.m4s", "/b/seg", "v/"].iter().for_each(|path| endings.note(path));
        for (path, has) in
            [("/x/2.M4S", true), ("/x/y", true), ("/x/y.html", false), ("/x.ts/y.Number(1)", true), ("/x/", false)]
        {
            assert_eq!(endings.has(path), has, "{path}");
        }
        let mut all = SegmentEndings::default();
        (0..100).for_each(|number| all.note(&format!("1.e{number}")));
        endings.merge(&all);
        assert_eq!((all.0.len(), endings.0.len()), (MAX_ENDINGS, MAX_ENDINGS));
        assert!(!SegmentEndings::default().has("/x/y"), "of nothing that is known");
    }
}
