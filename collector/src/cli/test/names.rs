//! The names that can stand in the lists of hits: one that cannot would never be missed among those that must not hit.

use serde_json::Value;

use super::cases::Expectation;

/// The names by which rules and entries of lists hit, in the documents of a file.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: Vec<String>,
    /// Beginnings of the names of tools.
    prefixes: Vec<String>,
}

impl Names {
    /// Collects them from a document, or the documents of all projects.
    pub(super) fn of(document: &Value) -> Self {
        let mut names = Self::default();
        match document.get("projects").and_then(Value::as_object) {
            Some(projects) => projects.values().for_each(|project| names.take(project)),
            None => names.take(document),
        }
        names
    }

    fn take(&mut self, document: &Value) {
        for entry in items(document.get("chain")) {
            let with = entry.get("with").unwrap_or(&Value::Null);
            let key = match entry.get("use").and_then(Value::as_str).unwrap_or_default() {
                "rules" => "id",
                "tool_rules" | "block_requests" => "name",
                "tool_call_judge" => {
                    let lists = items(with.get("allow")).iter().chain(items(with.get("deny")));
                    lists.filter_map(Value::as_str).for_each(|entry| match entry.strip_suffix('*') {
                        Some(prefix) => self.prefixes.push(prefix.to_owned()),
                        None => self.exact.push(entry.to_owned()),
                    });
                    continue;
                }
                _ => continue,
            };
            let rules = items(with.get("rules")).iter().enumerate();
            self.exact.extend(rules.map(|(number, rule)| {
                let name = rule.get(key).and_then(Value::as_str);
                name.map_or_else(|| number.to_string(), ToOwned::to_owned)
            }));
        }
    }

    fn has(&self, name: &str) -> bool {
        self.exact.iter().any(|known| known == name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Finds a name among those that must not hit that never could: its path in the expectation, and what is wrong.
    pub(super) fn fault(&self, expect: &Expectation) -> Option<(String, String)> {
        let (index, name) = expect.no_hits.iter().enumerate().find(|(_, name)| !self.has(name))?;
        let prefixes = self.prefixes.iter().map(|prefix| format!("{prefix}*"));
        let known: Vec<_> = self.exact.iter().cloned().chain(prefixes).collect();
        Some((format!("no_hits[{index}]"), format!("there is no rule {name:?}; there are: {}", known.join(", "))))
    }
}

fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
