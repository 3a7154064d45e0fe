//! Lists of tools by name.

use serde::{Deserialize, Serialize};
use weir::document::DocumentError;

/// Most entries of a list.
const MAX_ENTRIES: usize = 1000;

/// Tool names; an entry that ends in `*` stands for all names that begin so. Case matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub(crate) struct ToolList(Vec<String>);

impl ToolList {
    /// The entry that `tool` is on the list by.
    pub(crate) fn find(&self, tool: &str) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|entry| match entry.strip_suffix('*') {
            Some(prefix) => tool.starts_with(prefix),
            None => tool == *entry,
        })
    }

    /// Says whether it has no entries.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses entries that can never do what their author meant; `path` is that of the list.
    pub(crate) fn check(&self, path: &str) -> Result<(), DocumentError> {
        if self.0.len() > MAX_ENTRIES {
            return Err(DocumentError::new(path, format!("must have at most {MAX_ENTRIES} entries")));
        }
        for (index, entry) in self.0.iter().enumerate() {
            let at = || format!("{path}[{index}]");
            if entry.is_empty() {
                return Err(DocumentError::new(at(), "must not be empty; \"*\" stands for every tool"));
            }
            if entry.strip_suffix('*').unwrap_or(entry).contains('*') {
                return Err(DocumentError::new(at(), format!("{entry:?}: a * can stand only at the end")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> ToolList {
        ToolList(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    #[test]
    fn an_entry_is_a_name_or_the_beginning_of_names() {
        let tools = list(&["get_weather", "read_*"]);
        assert_eq!(tools.find("get_weather"), Some("get_weather"));
        assert_eq!(tools.find("read_file"), Some("read_*"));
        assert_eq!(tools.find("read_"), Some("read_*"));
        for other in ["get_weather2", "Get_weather", "spread_file", "read", ""] {
            assert_eq!(tools.find(other), None, "{other}");
        }
        assert_eq!(list(&["*"]).find("anything"), Some("*"));
        assert_eq!(list(&[]).find(""), None);
    }

    #[test]
    fn entries_without_a_meaning_are_refused_with_their_path() {
        assert_eq!(list(&["a", ""]).check("allow").unwrap_err().path, "allow[1]");
        assert_eq!(list(&["a*b"]).check("deny").unwrap_err().path, "deny[0]");
        assert_eq!(list(&["a**"]).check("deny").unwrap_err().path, "deny[0]");
        assert_eq!(list(&["a"; 1001]).check("deny").unwrap_err().path, "deny");
        assert_eq!(list(&["*", "a*", "a"]).check("deny"), Ok(()));
    }
}
