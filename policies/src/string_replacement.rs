//! StringReplacement: a list of texts and what stands in their place.

use serde::Deserialize;
use serde_json::json;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::policy::SharedPolicy;

use crate::content_transform;

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    replacements: Vec<(String, String)>,
    #[serde(default)]
    ignore_case: bool,
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<content_transform::Scope>>"))]
    scope: Option<Vec<String>>,
}

/// Makes the content transform that it is short for.
pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let Config { replacements, ignore_case, scope } = parse(config.with)?;
    let replace: Vec<_> =
        replacements.into_iter().map(|(find, with)| json!({"find": find, "with": with, "ignore_case": ignore_case})).collect();
    let mut with = json!({ "replace": replace });
    if let (Some(fields), Some(scope)) = (with.as_object_mut(), scope) {
        fields.insert("scope".to_owned(), scope.into());
    }
    content_transform::make(PolicyConfig { with: &with.to_string(), ..config })
        .map_err(|error| DocumentError::new(error.path.replace("replace[", "replacements["), error.message))
}
