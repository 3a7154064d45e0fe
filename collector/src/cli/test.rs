//! `weir test`: plays the cases of a folder through the engine, and compares what came of them with what was expected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};
use weir_driver::{Outcome, Player, Recording, ServiceReply, Split};

use super::desk::{self, Unreadable};

/// The arguments of `weir test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A folder with cases (`*.yaml`, `*.yml`, `*.json`), or one file
    folder: PathBuf,
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// The policy document, or the path of its file, from that of the cases.
    document: Value,
    cases: Vec<Case>,
}

/// One exchange, and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    path: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    project: String,
    request: Value,
    /// A body (an object) or an event stream (a text).
    #[serde(default)]
    response: Value,
    /// The path of a file with it, from that of the cases.
    response_file: Option<PathBuf>,
    #[serde(default = "Case::default_status")]
    status: u16,
    #[serde(default)]
    split: CaseSplit,
    #[serde(default)]
    judge: Vec<Judge>,
    expect: Expectation,
}

impl Case {
    const fn default_status() -> u16 {
        200
    }
}

/// How the answer is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CaseSplit {
    /// Each event by itself.
    #[default]
    Events,
    Whole,
    Bytes,
    /// In two at every byte, and in all the other ways.
    All,
}

/// How a judge answers questions in which `when` stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Judge {
    #[serde(default)]
    when: String,
    probability: Option<f64>,
    /// The judge's own words, in place of a verdict.
    content: Option<String>,
    /// The HTTP status of a judge that fails.
    status: Option<u16>,
}

/// What is expected; what is not named is not compared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expectation {
    decision: Option<String>,
    effective_decision: Option<String>,
    reason_code: Option<String>,
    decided_by: Option<String>,
    status: Option<u16>,
    /// The rules that hit, by the names in events' lists of hits.
    hits: Vec<String>,
    no_hits: Vec<String>,
    events: Vec<String>,
    no_events: Vec<String>,
    /// The client's bytes, exactly.
    output: Option<String>,
    output_contains: Vec<String>,
    output_lacks: Vec<String>,
    /// The client gets what the provider sent, byte for byte.
    unchanged: Option<bool>,
}

impl Test {
    /// Gives 0 where all is as expected, 1 where something is not, 2 where a file cannot be read.
    pub(crate) fn run(self) -> ExitCode {
        let files = match files(&self.folder) {
            Ok(files) => files,
            Err(Unreadable(message)) => {
                eprintln!("weir test: {message}");
                return ExitCode::from(2);
            }
        };
        let (mut passed, mut failed) = (0_usize, 0_usize);
        for file in files {
            match run_file(&file) {
                Err(Unreadable(message)) => {
                    eprintln!("weir test: {message}");
                    return ExitCode::from(2);
                }
                Ok(results) => {
                    for (name, faults) in results {
                        if faults.is_empty() {
                            passed = passed.saturating_add(1);
                            continue;
                        }
                        failed = failed.saturating_add(1);
                        println!("FAILED {}: {name}", file.display());
                        faults.iter().for_each(|fault| println!("    {fault}"));
                    }
                }
            }
        }
        println!("{passed} passed, {failed} failed");
        // A folder without cases tests nothing, which is not what was meant.
        if passed.saturating_add(failed) == 0 { ExitCode::from(2) } else { ExitCode::from(u8::from(failed > 0)) }
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let unreadable = |error: std::io::Error| Unreadable(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_cases = path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if is_cases && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Plays the cases of a file; gives each one's name and what is not as expected.
fn run_file(file: &Path) -> Result<Vec<(String, Vec<String>)>, Unreadable> {
    let at = |error: &dyn core::fmt::Display| Unreadable(format!("{}: {error}", file.display()));
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let value = desk::read(file)?;
    // A policy document beside its cases is none.
    if value.get("cases").is_none() {
        return Ok(Vec::new());
    }
    let cases: Cases = serde_path_to_error::deserialize(value).map_err(|error| at(&error))?;
    let document = match &cases.document {
        Value::String(path) => desk::read(&folder.join(path))?,
        document => document.clone(),
    };
    let documents = desk::parse(&document).map_err(|error| at(&error))?;
    let mut results = Vec::new();
    for case in cases.cases {
        let response = match &case.response_file {
            Some(path) if path.extension().is_some_and(|extension| extension == "json") => desk::read(&folder.join(path))?,
            Some(path) => fs::read_to_string(folder.join(path)).map(Value::String).map_err(|error| at(&error))?,
            None => case.response.clone(),
        };
        let player = desk::judged(desk::player(&documents, &case.project), case.judge.iter().map(reply_of).collect());
        results.push((case.name.clone(), run_case(&case, &response, &player)));
    }
    Ok(results)
}

fn reply_of(judge: &Judge) -> (String, ServiceReply) {
    let reply = match (judge.probability, &judge.content, judge.status) {
        (Some(probability), _, _) => ServiceReply::verdict(probability),
        (None, Some(content), _) => ServiceReply::content(content),
        (None, None, Some(status)) => ServiceReply::response(status, Vec::new()),
        (None, None, None) => ServiceReply::silence(),
    };
    (judge.when.clone(), reply)
}

fn run_case(case: &Case, response: &Value, player: &Player) -> Vec<String> {
    let path = case.path.clone().unwrap_or_else(|| desk::path_of(&case.request).to_owned());
    let mut recording = Recording::post(&path, case.request.to_string());
    for (name, value) in &case.headers {
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        recording = recording.header(&name.to_ascii_lowercase(), &text);
    }
    let recording = desk::answered(recording, case.status, response);
    let length = recording.response.as_ref().map_or(0, |response| response.body.len());
    let splits = match case.split {
        CaseSplit::Events => vec![Split::Events],
        CaseSplit::Whole => vec![Split::Whole],
        CaseSplit::Bytes => vec![Split::Bytes],
        CaseSplit::All => {
            let in_two = (1..length).map(|position| Split::At(vec![position]));
            [Split::Events, Split::Whole, Split::Bytes].into_iter().chain(in_two).collect()
        }
    };
    let mut first: Option<String> = None;
    for split in splits {
        // Each with a store of its own: one split must not count for the next.
        let outcome = player.anew().play(&recording.steps(&split));
        let mut faults = case.expect.compare(&outcome, &recording);
        let output = outcome.text();
        match &first {
            Some(first) if *first != output => faults.push("the output depends on how the answer is cut".to_owned()),
            Some(_) => {}
            None => first = Some(output),
        }
        if !faults.is_empty() {
            faults.push(format!("cut as {split:?}; what came of it: {:#}", desk::describe(&outcome)));
            return faults;
        }
    }
    Vec::new()
}

impl Expectation {
    fn compare(&self, outcome: &Outcome, recording: &Recording) -> Vec<String> {
        let event = outcome.enforcement();
        let mut faults = outcome.faults.clone();
        let words = [
            ("decision", &self.decision),
            ("effective_decision", &self.effective_decision),
            ("reason_code", &self.reason_code),
            ("decided_by", &self.decided_by),
        ];
        for (field, expected) in words {
            let found = event.get(field).and_then(Value::as_str).unwrap_or_default();
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != found) {
                faults.push(format!("{field} is {found:?}, expected {expected:?}"));
            }
        }
        if let Some(status) = self.status.filter(|status| *status != outcome.status) {
            faults.push(format!("status is {}, expected {status}", outcome.status));
        }
        let hits = |field: &str| event.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let hits: Vec<Value> = hits("allowlist_hits").into_iter().chain(hits("denylist_hits")).collect();
        let has_event = |name: &String| outcome.events.iter().any(|event| event.event_type == **name);
        let has_hit = |name: &String| hits.iter().any(|hit| hit == name);
        let missing = |what: &str, name: &String| format!("{what} {name:?} is missing");
        let unexpected = |what: &str, name: &String| format!("{what} {name:?} is there");
        faults.extend(self.events.iter().filter(|name| !has_event(name)).map(|name| missing("event", name)));
        faults.extend(self.no_events.iter().filter(|name| has_event(name)).map(|name| unexpected("event", name)));
        faults.extend(self.hits.iter().filter(|name| !has_hit(name)).map(|name| missing("hit", name)));
        faults.extend(self.no_hits.iter().filter(|name| has_hit(name)).map(|name| unexpected("hit", name)));
        let output = outcome.text();
        faults.extend(self.output_contains.iter().filter(|text| !output.contains(*text)).map(|text| missing("output", text)));
        faults.extend(self.output_lacks.iter().filter(|text| output.contains(*text)).map(|text| unexpected("output", text)));
        if self.output.as_ref().is_some_and(|expected| *expected != output) {
            faults.push("the output is another".to_owned());
        }
        let sent = recording.response.as_ref().map(|response| response.body.as_slice()).unwrap_or_default();
        if let Some(expected) = self.unchanged
            && expected != (outcome.client == sent)
        {
            faults.push(format!("the output is {}", if expected { "changed" } else { "what the provider sent" }));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = r#"
document:
  policy: {id: p}
  judges: {main: {cluster: judge, model: m}}
  chain:
    - use: tool_call_judge
      with: {judge: main, deny: [rm]}
cases:
  - name: a denied call
    request: {model: gpt, messages: [{role: user, content: Go}], stream: true}
    split: all
    response: |+
      data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","type":"function","function":{"name":"rm","arguments":"{}"}}]}}]}

      data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

      data: [DONE]

    expect: {decision: DECISION, reason_code: TOOL_CALL_DENIED, hits: [rm], events: [judge.blocked], output_contains: [BLOCKED], output_lacks: ['"rm"']}
  - name: a call that the judge passes
    request: {model: gpt, messages: [{role: user, content: Go}]}
    response: {id: c, object: chat.completion, created: 1, model: gpt, choices: [{index: 0, finish_reason: tool_calls, message: {role: assistant, content: null, refusal: null, tool_calls: [{id: "1", type: function, function: {name: ls, arguments: "{}"}}]}}]}
    judge: [{probability: 0.1}]
    expect: {decision: allow, unchanged: true, no_hits: [rm]}
"#;

    fn run(cases: &str) -> Vec<(String, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cases.yaml");
        fs::write(&file, cases).unwrap();
        run_file(&file).unwrap()
    }

    #[test]
    fn cases_pass_where_all_is_as_expected_at_every_split() {
        let results = run(&CASES.replace("DECISION", "refuse"));
        assert_eq!(results.len(), 2);
        assert!(results.iter().all(|(_, faults)| faults.is_empty()), "{results:?}");
    }

    #[test]
    fn a_case_fails_where_something_is_not() {
        let results = run(&CASES.replace("DECISION", "allow"));
        assert!(results[0].1[0].contains("decision is \"refuse\", expected \"allow\""), "{results:?}");
        assert!(results[1].1.is_empty());
    }
}
