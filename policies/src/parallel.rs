//! Parallel: several judges about each tool call at once.

use serde_json::Value;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::policy::SharedPolicy;

use crate::tool_rules;

/// Makes the rules of tools that put every call to a panel: what `parallel` is short for.
pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let mut with: Value = parse(config.with)?;
    if let Some(fields) = with.as_object_mut() {
        for (field, value) in [("rules", Value::Array(Vec::new())), ("default", "judge".into())] {
            if fields.contains_key(field) {
                return Err(DocumentError::new(field, "is not a field of parallel; use tool_rules"));
            }
            fields.insert(field.to_owned(), value);
        }
    }
    tool_rules::make(PolicyConfig { with: &with.to_string(), ..config })
}
