//! Finds out which elements are the MPD's own: an app's may have the same names. The DASH parser calls it.

use quick_xml::events::BytesStart;

use super::text::{attributes, plain};

/// Common start of the namespaces of MPD versions.
const MPD: &str = "urn:mpeg:dash:schema:mpd:";

/// Limit for an element; further declarations are ignored, so their names count as the MPD's.
const MAX_DECLARED: usize = 64;

/// The prefixes in force.
#[derive(Default)]
pub(super) struct Namespaces {
    declared: Vec<DeclaredPrefix>,
    /// Namespace of the root, whatever it is.
    own: String,
}

struct DeclaredPrefix {
    /// Number of elements around the one that declares it.
    depth: usize,
    foreign: bool,
    /// The prefix; empty for names without one.
    prefix: String,
}

impl Namespaces {
    /// Reads the declarations of an element. `depth`: number of elements around it.
    pub(super) fn start(&mut self, start: &BytesStart<'_>, depth: usize) {
        if !start.attributes_raw().contains("xmlns") {
            return;
        }
        let declared = attributes(start).filter_map(|(key, raw)| {
            let prefix = key.strip_prefix("xmlns")?;
            let prefix = prefix.strip_prefix(':').or(prefix.is_empty().then_some(prefix))?;
            Some((prefix, plain(raw).trim().to_ascii_lowercase()))
        });
        let declared: Vec<_> = declared.take(MAX_DECLARED).collect();
        if depth == 0
            && let Some((_, own)) = declared.iter().find(|(prefix, _)| *prefix == prefix_of(start))
        {
            self.own.clone_from(own);
        }
        for (prefix, namespace) in declared {
            let foreign = !namespace.is_empty() && !namespace.starts_with(MPD) && namespace != self.own;
            self.declared.push(DeclaredPrefix { depth, foreign, prefix: prefix.to_owned() });
        }
    }

    /// The element at this depth has ended.
    pub(super) fn end(&mut self, depth: usize) {
        self.declared.truncate(self.declared.partition_point(|declared| declared.depth < depth));
    }

    /// True for a name of another namespace. Names without a namespace, and with an undeclared prefix, are the MPD's.
    pub(super) fn is_foreign(&self, start: &BytesStart<'_>) -> bool {
        let prefix = prefix_of(start);
        self.declared.iter().rev().find(|declared| declared.prefix == prefix).is_some_and(|declared| declared.foreign)
    }
}

fn prefix_of<'s>(start: &'s BytesStart<'_>) -> &'s str {
    start.name().0.split_once(':').map_or("", |(prefix, _)| prefix)
}
