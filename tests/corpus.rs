//! Edits every manifest of a folder of real ones, for `tests/corpus/run.mjs` to compare.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sidebeat::manifest::{
    self, AbsoluteUri, DEFAULT_MAX_MANIFEST_BYTES, EditPlan, ManifestFormat, Purpose, SniffedBody, UriBase,
};

const OWN: &str = "/media/~0123456789abcdef0123456789abcdef/";

fn bind(to: &AbsoluteUri<'_>, _: Purpose) -> Option<String> {
    Some(format!("{OWN}~h/{}/{}{}", if to.tls { "s" } else { "p" }, to.authority, to.path))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_one = |end| path.extension().is_some_and(|extension| extension == end);
        if path.is_dir() {
            files(&path, found);
        } else if is_one("m3u8") || is_one("mpd") {
            found.push(path);
        }
    }
}

/// Writes `FILE.edited` beside each file, except for broken or foreign ones.
#[test]
#[ignore = "the manifests are not ours to keep: node tests/corpus/run.mjs fetches them, and runs this"]
fn every_manifest_of_a_folder_is_edited() {
    let folder = std::env::var_os("CORPUS").unwrap_or_else(|| panic!("CORPUS names the folder"));
    let mut found = Vec::new();
    files(Path::new(&folder), &mut found);
    assert!(!found.is_empty(), "there is no manifest");
    for path in found {
        let bytes = manifest::utf8(std::fs::read(&path).unwrap().into(), None).unwrap().bytes;
        let SniffedBody::Manifest(format) = manifest::sniff(&bytes, true) else { continue };
        let plan = EditPlan {
            all: format == ManifestFormat::Dash,
            base: UriBase { authority: "cdn.example", path: "/vod/show/main", root: "/vod/", tls: true },
            bind: &bind,
            cmcd: None,
            end: None,
            imports: &[],
            license: None,
            own: OWN,
            part: false,
            playheads: true,
            query: None,
            site: Some("https://proxy.test"),
            strict: false,
        };
        let Ok(edits) = manifest::read(format, &bytes, &plan, DEFAULT_MAX_MANIFEST_BYTES) else { continue };
        let edited: Bytes = manifest::apply(&bytes, &edits.edits).unwrap();
        // An edited manifest needs no edit.
        let again = manifest::read(format, &edited, &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap();
        let changed: Vec<_> =
            again.edits.iter().filter(|edit| edited[edit.at.clone()] != *edit.with.as_bytes()).collect();
        assert!(changed.is_empty(), "{}: {changed:?}", path.display());
        let mut name = path.into_os_string();
        name.push(if format == ManifestFormat::Dash { ".edited.mpd.txt" } else { ".edited.m3u8.txt" });
        std::fs::write(name, &edited).unwrap();
    }
}
