//! JSON Schemas of the built-in policies: of what stands under `with`.

use serde_json::Value;
use weir::document::schema::of;

/// Gives the schema of each policy of [`registry`](crate::registry), under the name that documents use.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let tool_rules = of::<crate::tool_rules::Config>();
    vec![
        ("no_op", of::<crate::no_op::Config>()),
        ("content_only", of::<crate::content_only::Config>()),
        ("content_transform", of::<crate::content_transform::Config>()),
        ("rules", of::<crate::rules::config::Config>()),
        ("tool_call_judge", of::<crate::tool_call_judge::Config>()),
        ("block_requests", of::<crate::block_requests::Config>()),
        ("stop_after_tools", of::<crate::stop_after_tools::Config>()),
        ("rate_limit", of::<crate::rate_limit::Config>()),
        ("budget", of::<crate::budget::Config>()),
        ("cache_response", of::<crate::cache_response::Config>()),
        ("string_replacement", of::<crate::string_replacement::Config>()),
        ("summarise", of::<crate::summarise::Config>()),
        ("text_judge", of::<crate::text_judge::Config>()),
        ("parallel", parallel(tool_rules.clone())),
        ("tool_rules", tool_rules),
    ]
}

/// Takes away what `parallel` sets itself.
fn parallel(mut tool_rules: Value) -> Value {
    if let Some(properties) = tool_rules.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("rules");
        properties.remove("default");
    }
    if let Some(required) = tool_rules.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != "rules" && field != "default");
        required.push("panel".into());
    }
    tool_rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_schema() {
        let mut names: Vec<_> = schemas().into_iter().map(|(name, _)| name).collect();
        let mut known = crate::registry().names();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
