//! How the names of segments end, as manifests name them.
//!
//! A manifest has thousands of segments, of a few kinds: their endings tell which replies are media even where their
//! bytes and media types do not, as those of encrypted segments.

/// Of one manifest, or of one playback; without its dot, and empty if there is none.
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

    /// Whether a segment was named that ends as this path.
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

/// None: it is a folder.
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
    fn a_segment_is_told_by_how_others_end() {
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
