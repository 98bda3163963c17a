//! Which elements are the MPD's own: an app's may have the same names.

use quick_xml::events::BytesStart;

use super::text::{attributes, plain};

/// Of the versions of MPDs.
const MPD: &str = "urn:mpeg:dash:schema:mpd:";

/// Of one element; what is not looked at is the MPD's.
const MAX_DECLARED: usize = 64;

/// The prefixes that are in force.
#[derive(Default)]
pub(super) struct Namespaces {
    declared: Vec<DeclaredPrefix>,
    /// Of the root, whatever that is.
    own: String,
}

struct DeclaredPrefix {
    /// Elements around the one that declares it.
    depth: usize,
    foreign: bool,
    /// Empty: of names without one.
    prefix: String,
}

impl Namespaces {
    /// `depth`: elements around this one.
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

    /// Names without a namespace, and with a prefix that nobody declared, are the MPD's.
    pub(super) fn is_foreign(&self, start: &BytesStart<'_>) -> bool {
        let prefix = prefix_of(start);
        self.declared.iter().rev().find(|declared| declared.prefix == prefix).is_some_and(|declared| declared.foreign)
    }
}

fn prefix_of<'s>(start: &'s BytesStart<'_>) -> &'s str {
    start.name().0.split_once(':').map_or("", |(prefix, _)| prefix)
}
