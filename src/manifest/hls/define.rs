//! `#EXT-X-DEFINE`: variables of a playlist, and what those that others import lead to.

use std::borrow::Cow;

use super::Reader;
use super::attributes::{attributes, quoted};
use super::variables::query_value;
use crate::manifest::{Edit, Purpose, Unfit};

/// Variables that one playlist may define. One that was not followed could lead past the route unseen.
const MAX_VARIABLES: usize = 64;

impl<'a> Reader<'a> {
    pub(super) fn define(&mut self, value: &'a str) -> Result<(), Unfit> {
        let find = |name| attributes(value).find(|(key, _)| *key == name).map(|(_, value)| value);
        let (name, value) = match (find("NAME"), find("VALUE"), find("QUERYPARAM")) {
            (Some(name), Some(value), _) => {
                self.lead(value);
                (name, Cow::Borrowed(value))
            }
            (_, _, Some(name)) => match query_value(self.plan.query, name) {
                Some(value) => (name, value),
                None => return Ok(()),
            },
            // An imported one was bound where it was defined.
            _ => return Ok(()),
        };
        if self.variables.len() == MAX_VARIABLES {
            return Err(Unfit::Many);
        }
        self.variables.push((name, value));
        self.places.forget();
        Ok(())
    }

    /// Other playlists import it. What a URI of theirs can only begin with leads them through us.
    fn lead(&mut self, value: &'a str) {
        let absolute = value.split_once("//").is_some_and(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':'));
        let absolute = absolute && !self.plan.is_own(value);
        let Some(to) = self.plan.base.absolute(value).filter(|_| absolute) else { return };
        let Some(bound) = (self.plan.bind)(&to, Purpose::Segment) else {
            self.found.left += 1;
            self.found.facts.elsewhere = true;
            return;
        };
        let bare = to.path == "/" && !value.ends_with('/');
        // It may come to stand where its format wants an absolute one.
        let bound = self.plan.with_host(if bare { bound.trim_end_matches('/').to_owned() } else { bound });
        if bound != value {
            let at = self.offset(value);
            self.found.edit(Edit { at: at..at + value.len(), with: quoted(&bound).into() });
        }
    }
}
