//! What a document may say that was not meant.

use serde_json::Value;

use super::finding::{Findings, Kind};

/// Looks at a document whose fields have `prefix` before them.
pub(super) fn look(prefix: &str, document: &Value, findings: &mut Findings<'_>) {
    for part in ["chain", "limits"] {
        warn_of_open_failures(&format!("{prefix}{part}"), document.get(part).unwrap_or(&Value::Null), findings);
    }
    for (route, verdict) in document.get("routes").and_then(Value::as_object).into_iter().flatten() {
        if verdict == "allow" && route != "models" && route != "preflight" {
            findings.add(Kind::Ungoverned, format!("{prefix}routes.{route}"), "passes ungoverned");
        }
    }
    warn_of_judges(prefix, document, findings);
    let chain = items(document.get("chain"));
    if chain.is_empty() {
        findings.add(Kind::EmptyChain, format!("{prefix}chain"), "is empty: everything passes unread");
    }
    let targets = Targets::of(document);
    let mut calls_end = false;
    for (index, entry) in chain.iter().enumerate() {
        let path = format!("{prefix}chain[{index}]");
        let name = entry.get("use").and_then(Value::as_str).unwrap_or_default();
        if calls_end && matches!(name, "tool_call_judge" | "tool_rules" | "parallel" | "stop_after_tools") {
            findings.add(Kind::Unreachable, &path, "is never reached: content_only before it drops every call");
        }
        calls_end |= name == "content_only";
        let with = entry.get("with").unwrap_or(&Value::Null);
        look_at_policy(&format!("{path}.with"), name, with, targets, findings);
    }
}

fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn words(list: Option<&Value>) -> Vec<&str> {
    items(list).iter().filter_map(Value::as_str).collect()
}

fn look_at_policy(path: &str, name: &str, with: &Value, targets: Targets, findings: &mut Findings<'_>) {
    let rules = items(with.get("rules"));
    match name {
        "tool_rules" => {
            warn_of_covered(&format!("{path}.rules"), rules, "tools", &["when", "command", "after"], findings);
            for (index, rule) in rules.iter().enumerate() {
                if targets.is_mcp_alone() && rule.get("after").is_some() {
                    findings.add(Kind::NotInDialect, format!("{path}.rules[{index}].after"), "requests of MCP have no history");
                }
            }
        }
        "block_requests" => {
            let conditions = ["except_models", "tools", "when", "above_bytes", "terms"];
            warn_of_covered(&format!("{path}.rules"), rules, "models", &conditions, findings);
        }
        "stop_after_tools" if targets.is_mcp_alone() && with.get("max_repeats").is_some() => {
            findings.add(Kind::NotInDialect, format!("{path}.max_repeats"), "requests of MCP have no history");
        }
        "tool_call_judge" => {
            let denied = words(with.get("deny"));
            for (index, tool) in words(with.get("allow")).iter().enumerate() {
                if denied.iter().any(|entry| covers(entry, tool)) {
                    let message = format!("never counts: {tool} is on the deny list, too, which is asked first");
                    findings.add(Kind::Unreachable, format!("{path}.allow[{index}]"), message);
                }
            }
        }
        "rules" => {
            if with.get("key").is_some() {
                let message = "a secret stands in the document; key_env takes it from the VM's environment";
                findings.add(Kind::Secret, format!("{path}.key"), message);
            }
            for (index, rule) in rules.iter().enumerate() {
                warn_of_scopes(&format!("{path}.rules[{index}]"), rule, targets, findings);
            }
        }
        _ => {}
    }
}

fn warn_of_judges(prefix: &str, document: &Value, findings: &mut Findings<'_>) {
    let chain = document.get("chain").map(Value::to_string).unwrap_or_default();
    for (name, judge) in document.get("judges").and_then(Value::as_object).into_iter().flatten() {
        if !chain.contains(&Value::from(name.as_str()).to_string()) {
            findings.add(Kind::UnusedJudge, format!("{prefix}judges.{name}"), "no policy asks this judge");
        }
        if judge.get("api_key").is_some() {
            let message = "a secret stands in the document; api_key_env takes it from the VM's environment";
            findings.add(Kind::Secret, format!("{prefix}judges.{name}.api_key"), message);
        }
    }
}

/// Finds `on_error`, `on_exceeded` and `on_unreadable` that are `allow`.
fn warn_of_open_failures(path: &str, value: &Value, findings: &mut Findings<'_>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let path = format!("{path}.{key}");
                if matches!(key.as_str(), "on_error" | "on_exceeded" | "on_unreadable") && member == "allow" {
                    findings.add(Kind::FailsOpen, &path, "fails open: what cannot be checked passes");
                }
                warn_of_open_failures(&path, member, findings);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| warn_of_open_failures(&format!("{path}[{index}]"), item, findings));
        }
        _ => {}
    }
}

/// Whether an entry of a list of names stands for one, or for all that another entry stands for.
fn covers(entry: &str, name: &str) -> bool {
    entry.strip_suffix('*').map_or(entry == name, |prefix| name.starts_with(prefix))
}

/// Finds rules, of which the first that fits decides, behind such as fit whatever they fit: those that have no other condition than
/// the names under `field`.
fn warn_of_covered(path: &str, rules: &[Value], field: &str, others: &[&str], findings: &mut Findings<'_>) {
    let is_asked = |condition: &Value| !condition.as_array().is_some_and(Vec::is_empty);
    let mut earlier: Vec<&str> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let own = words(rule.get(field));
        if !own.is_empty() && own.iter().all(|name| earlier.iter().any(|entry| covers(entry, name))) {
            let message = format!("is never reached: rules before it fit whatever has one of its {field}");
            findings.add(Kind::Unreachable, format!("{path}[{index}]"), message);
        }
        if !others.iter().any(|condition| rule.get(*condition).is_some_and(is_asked)) {
            earlier.extend(own);
        }
    }
}

/// The dialects that a document governs, as far as scopes of rules depend on them.
#[derive(Clone, Copy, Debug)]
struct Targets {
    has_mcp: bool,
    has_models: bool,
    has_refusals: bool,
}

impl Targets {
    fn of(document: &Value) -> Self {
        let targets = document.get("targets").map(|targets| words(Some(targets)));
        let has = |dialect: &str| targets.as_ref().is_none_or(|targets| targets.contains(&dialect));
        let has_refusals = has("chat.completions") || has("responses");
        Self { has_mcp: has("mcp_tool"), has_models: has_refusals || has("messages"), has_refusals }
    }

    const fn is_mcp_alone(self) -> bool {
        self.has_mcp && !self.has_models
    }

    /// Says why no answer has a scope, where none has.
    const fn why_not(self, scope: &str) -> Option<&'static str> {
        match scope.as_bytes() {
            b"tool_result" if !self.has_mcp => Some("only answers of MCP have results of tools, and targets leaves mcp_tool out"),
            b"refusal" if !self.has_refusals => Some("only answers of chat.completions and responses have refusals"),
            b"text" | b"reasoning" if !self.has_models => Some("what MCP servers answer is tool_result"),
            _ => None,
        }
    }
}

/// Finds texts of answers and requests that no dialect of the document has.
fn warn_of_scopes(path: &str, rule: &Value, targets: Targets, findings: &mut Findings<'_>) {
    for (index, scope) in words(rule.get("answer")).iter().enumerate() {
        if let Some(why) = targets.why_not(scope) {
            findings.add(Kind::NotInDialect, format!("{path}.answer[{index}]"), format!("{scope} finds nothing: {why}"));
        }
    }
    if targets.is_mcp_alone() && !words(rule.get("request")).is_empty() {
        let message = "finds nothing in MCP, whose calls are searched under answer, as tool_argument";
        findings.add(Kind::NotInDialect, format!("{path}.request"), message);
    }
}
