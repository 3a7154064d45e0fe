//! `weir check`: reads policy documents as the filter does, and says what their authors may not have meant.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use weir_engine::document::Documents;
use weir_engine::policy::Hold;

use super::desk::{self, Unreadable};

/// The arguments of `weir check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Policy documents, in YAML or JSON
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the (only) document as JSON, as the filter takes it, instead of findings
    #[arg(long, value_enum)]
    print: Option<Print>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Print {
    Json,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
}

/// Something that is wrong with a document, or may not be what was meant.
#[derive(Debug)]
struct Finding {
    level: Level,
    path: String,
    message: String,
}

impl Finding {
    fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, path: path.into(), message: message.into() }
    }

    const fn level(&self) -> &'static str {
        match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        }
    }
}

impl Check {
    /// Gives 0 where nothing was found, 1 for findings, 2 where a file cannot be read.
    pub(crate) fn run(self) -> ExitCode {
        let mut code = 0;
        let mut reports = Vec::new();
        for file in &self.files {
            let document = match desk::read(file) {
                Ok(document) => document,
                Err(Unreadable(message)) => {
                    eprintln!("weir check: {message}");
                    code = 2;
                    continue;
                }
            };
            if self.print == Some(Print::Json) {
                println!("{document}");
                continue;
            }
            let (findings, holds) = look(&document);
            if !findings.is_empty() {
                code = code.max(1);
            }
            if self.format == Format::Text {
                tell(&file.display().to_string(), &findings, &holds);
            }
            let findings: Vec<_> = findings
                .iter()
                .map(|finding| json!({"level": finding.level(), "path": finding.path, "message": finding.message}))
                .collect();
            reports.push(json!({"file": file.display().to_string(), "findings": findings, "holds": holds}));
        }
        if self.format == Format::Json && self.print.is_none() {
            println!("{}", Value::from(reports));
        }
        ExitCode::from(code)
    }
}

fn tell(file: &str, findings: &[Finding], holds: &[Value]) {
    for finding in findings {
        println!("{file}: {}: {}: {}", finding.level(), finding.path, finding.message);
    }
    for hold in holds {
        let word = |field: &str| hold.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        println!("{file}: {} holds {}", word("policy"), word("hold"));
    }
    if findings.is_empty() {
        println!("{file}: nothing to say");
    }
}

/// What there is to say of a document, and what its policies hold at the most.
fn look(document: &Value) -> (Vec<Finding>, Vec<Value>) {
    let documents = match desk::parse(document) {
        Ok(documents) => documents,
        Err(error) => {
            return (vec![Finding { level: Level::Error, path: error.path, message: error.message }], Vec::new());
        }
    };
    let mut findings = Vec::new();
    match document.get("projects").and_then(Value::as_object) {
        Some(projects) => projects.iter().for_each(|(name, one)| warn(&format!("projects.{name}."), one, &mut findings)),
        None => warn("", document, &mut findings),
    }
    (findings, holds(&documents))
}

fn holds(documents: &Documents) -> Vec<Value> {
    let chains = documents.chains();
    let policies = chains.iter().flat_map(|chain| chain.policies.iter().map(|policy| (chain.id.clone(), policy)));
    policies
        .map(|(document, policy)| {
            let hold = match policy.greatest_hold() {
                Hold::Nothing => "nothing".to_owned(),
                Hold::Bytes(bytes) => format!("at most {bytes} bytes of text"),
                Hold::Calls => "tool calls until they are decided, and no text".to_owned(),
                Hold::Texts => "each text until it is decided".to_owned(),
                Hold::Unknown => "what it says itself".to_owned(),
            };
            json!({"document": document, "policy": policy.name(), "hold": hold})
        })
        .collect()
}

/// Warns of what is allowed and may not be meant.
fn warn(prefix: &str, document: &Value, findings: &mut Vec<Finding>) {
    warn_of_open_failures(&format!("{}chain", prefix), document.get("chain").unwrap_or(&Value::Null), findings);
    warn_of_open_failures(&format!("{}limits", prefix), document.get("limits").unwrap_or(&Value::Null), findings);
    for (route, verdict) in document.get("routes").and_then(Value::as_object).into_iter().flatten() {
        if verdict == "allow" && route != "models" && route != "preflight" {
            findings.push(Finding::warning(format!("{prefix}routes.{route}"), "passes ungoverned"));
        }
    }
    let text = document.get("chain").map(Value::to_string).unwrap_or_default();
    for (name, judge) in document.get("judges").and_then(Value::as_object).into_iter().flatten() {
        if !text.contains(&format!("\"{name}\"")) {
            findings.push(Finding::warning(format!("{prefix}judges.{name}"), "no policy asks this judge"));
        }
        if judge.get("api_key").is_some() {
            let message = "a secret stands in the document; api_key_env takes it from the VM's environment";
            findings.push(Finding::warning(format!("{prefix}judges.{name}.api_key"), message));
        }
    }
    let chain = document.get("chain").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if chain.is_empty() {
        findings.push(Finding::warning(format!("{prefix}chain"), "is empty: everything passes unread"));
    }
    let uses: Vec<&str> = chain.iter().filter_map(|entry| entry.get("use")?.as_str()).collect();
    let calls_end = uses.iter().position(|name| *name == "content_only");
    for (index, name) in uses.iter().enumerate() {
        let is_about_calls = matches!(*name, "tool_call_judge" | "tool_rules" | "parallel" | "stop_after_tools");
        if is_about_calls && calls_end.is_some_and(|end| end < index) {
            findings.push(Finding::warning(
                format!("{prefix}chain[{index}]"),
                "is never reached: content_only before it drops every call",
            ));
        }
        let rules = chain.get(index).and_then(|entry| entry.pointer("/with/rules")?.as_array());
        warn_of_unreachable(&format!("{prefix}chain[{index}].with.rules"), rules.map_or(&[], Vec::as_slice), findings);
    }
}

/// Finds `on_error`, `on_exceeded` and `on_unreadable` that are `allow`.
fn warn_of_open_failures(path: &str, value: &Value, findings: &mut Vec<Finding>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let path = format!("{path}.{key}");
                if matches!(key.as_str(), "on_error" | "on_exceeded" | "on_unreadable") && member == "allow" {
                    findings.push(Finding::warning(&path, "fails open: what cannot be checked passes"));
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

/// A rule of tools behind one that fits every call of the same tools decides nothing.
fn warn_of_unreachable(path: &str, rules: &[Value], findings: &mut Vec<Finding>) {
    let tools = |rule: &Value| -> Vec<String> {
        let names = rule.get("tools").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(|name| name.as_str().map(ToOwned::to_owned)).collect()
    };
    let has_no_condition = |rule: &Value| ["when", "command", "after"].iter().all(|field| rule.get(*field).is_none());
    let covers = |entries: &[String], tool: &String| {
        entries.iter().any(|entry| entry.strip_suffix('*').map_or(entry == tool, |prefix| tool.starts_with(prefix)))
    };
    for (index, rule) in rules.iter().enumerate() {
        let (own, verdict) = (tools(rule), rule.get("verdict"));
        let earlier = rules.iter().take(index).filter(|rule| verdict.is_some() && has_no_condition(rule)).flat_map(tools);
        let earlier: Vec<String> = earlier.collect();
        if !own.is_empty() && own.iter().all(|tool| covers(&earlier, tool)) {
            findings.push(Finding::warning(
                format!("{path}[{index}]"),
                "is never reached: rules before it fit every call of its tools",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(document: &Value) -> Vec<String> {
        look(document).0.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_document_without_a_fault_has_no_findings_and_says_what_it_holds() {
        let document = json!({"policy": {"id": "p"}, "judges": {"main": {"cluster": "judge", "model": "m"}},
            "chain": [{"use": "content_transform", "with": {"replace": [{"find": "secret", "with": ""}]}},
                {"use": "tool_call_judge", "with": {"judge": "main"}}]});
        let (findings, holds) = look(&document);
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(holds[0]["hold"], "at most 5 bytes of text");
        assert_eq!(holds[1]["policy"], "ToolCallJudge");
    }

    #[test]
    fn mistakes_are_errors_and_what_may_not_be_meant_warnings() {
        assert_eq!(paths(&json!({"policy": {"id": "p"}, "chain": [{"use": "no_such"}]})), ["chain[0].use"]);
        let document = json!({"policy": {"id": "p"}, "limits": {"on_unreadable": "allow"}, "routes": {"unknown": "allow"},
            "judges": {"main": {"cluster": "judge", "model": "m", "api_key": "k"}, "spare": {"cluster": "judge", "model": "m"}},
            "chain": [{"use": "tool_call_judge", "with": {"judge": "main", "on_error": "allow"}}, {"use": "content_only"},
                {"use": "tool_rules", "with": {"rules": [{"tools": ["a*"], "verdict": "deny"}, {"tools": ["ab"], "verdict": "allow"}]}}]});
        let found = paths(&document);
        for expected in [
            "chain[0].with.on_error",
            "limits.on_unreadable",
            "routes.unknown",
            "judges.main.api_key",
            "judges.spare",
            "chain[2]",
            "chain[2].with.rules[1]",
        ] {
            assert!(found.iter().any(|path| path == expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn yaml_and_json_are_the_same_document() {
        let folder = tempfile::tempdir().unwrap();
        let yaml = folder.path().join("p.yaml");
        std::fs::write(&yaml, "policy: {id: p}\nchain:\n  - use: content_only\n    with:\n      notice: \"no tools\"\n").unwrap();
        let read = desk::read(&yaml).unwrap();
        assert_eq!(read, json!({"policy": {"id": "p"}, "chain": [{"use": "content_only", "with": {"notice": "no tools"}}]}));
        assert!(paths(&read).is_empty());
        std::fs::write(&yaml, "policy: {id: p\nchain: [").unwrap();
        assert!(desk::read(&yaml).unwrap_err().0.contains("line"), "{:?}", desk::read(&yaml));
    }
}
