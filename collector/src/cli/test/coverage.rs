//! Coverage: the policies and rules of documents that no case makes act.
//!
//! Rules of several policies may have the same name. So the cases are played once more, against a document in which each rule is named
//! by its place; what the policies do does not depend on that.

use std::collections::HashSet;

use serde_json::{Value, json};
use weir_driver::{Outcome, Split};
use weir_engine::document::Documents;

use super::folder::CaseFile;
use super::play::record;
use crate::cli::desk::{self, Fault, Place, Source, read_documents};

/// Where policies list rules that have names, and what the name is called.
const NAMED: [(&str, &str); 3] = [("rules", "id"), ("tool_rules", "name"), ("block_requests", "name")];

/// Lists of names by which a policy decides, each entry of which can hit.
const LISTS: [(&str, &str); 2] = [("tool_call_judge", "allow"), ("tool_call_judge", "deny")];

/// Something that can act.
#[derive(Clone, Debug)]
struct Point {
    path: String,
    /// How the document calls it.
    name: Option<String>,
    /// The policy: its class and configuration, as events have them.
    policy: (String, Value),
    sign: Sign,
}

/// What tells that a point has acted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sign {
    /// An event of the policy.
    Policy,
    /// The name that the rule was given.
    Rule(String),
    /// An event of the policy that names the entry.
    Entry(String),
}

/// What cases cover of one document.
#[derive(Debug)]
pub(super) struct Coverage {
    source: Source,
    points: Vec<(Point, bool)>,
}

impl Coverage {
    /// Plays the cases of files, and finds what they cover; files that name the same document cover it together.
    pub(super) fn of(files: &[CaseFile]) -> Result<Vec<Self>, Fault> {
        let mut all: Vec<(String, Self)> = Vec::new();
        for file in files {
            let name = file.document.name();
            let index = all.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                all.push((name, Self { source: file.document.clone(), points: Vec::new() }));
                all.len().saturating_sub(1)
            });
            if let Some((_, coverage)) = all.get_mut(index) {
                coverage.take(file)?;
            }
        }
        Ok(all.into_iter().map(|(_, coverage)| coverage).collect())
    }

    fn take(&mut self, file: &CaseFile) -> Result<(), Fault> {
        let mut document = file.document.value.clone();
        let mut points = Vec::new();
        let mut units: Vec<(String, String, &mut Value)> = match document.get("projects") {
            None => vec![(String::new(), String::new(), &mut document)],
            Some(_) => {
                let projects = document.get_mut("projects").and_then(Value::as_object_mut).into_iter().flatten();
                projects.map(|(name, unit)| (name.clone(), format!("projects.{name}."), unit)).collect()
            }
        };
        for (project, prefix, unit) in &mut units {
            name_by_place(project, prefix, unit, &file.documents, &mut points);
        }
        let documents =
            read_documents(&document.to_string()).map_err(|error| file.document.fault(&error.path, &error.message))?;
        if self.points.is_empty() {
            self.points = points.into_iter().map(|point| (point, false)).collect();
        }
        for (index, case) in file.cases.cases.iter().enumerate() {
            let recording = record(case, &file.response(index)?);
            let player = desk::judged(desk::player(&documents, &case.project), case.replies());
            self.mark(&case.project, &player.play(&recording.steps(&Split::Events)));
        }
        Ok(())
    }

    fn mark(&mut self, project: &str, outcome: &Outcome) {
        let default = self.source.value.get("default").and_then(Value::as_str).unwrap_or_default();
        let project = if project.is_empty() { default } else { project };
        let prefix = if self.source.value.get("projects").is_some() { format!("projects.{project}.") } else { String::new() };
        let named = names(outcome);
        for (point, is_hit) in &mut self.points {
            *is_hit |= point.path.starts_with(&prefix) && point.acted(outcome, &named);
        }
    }

    fn missed(&self) -> impl Iterator<Item = (&Point, Place)> {
        let missed = self.points.iter().filter(|(_, is_hit)| !is_hit);
        missed.map(|(point, _)| (point, self.source.place(&point.path)))
    }

    fn covered(&self) -> usize {
        self.points.iter().filter(|(_, is_hit)| *is_hit).count()
    }

    /// Says whether at least this share of what can act does, in per cent.
    pub(super) fn reaches(&self, percent: u8) -> bool {
        self.covered().saturating_mul(100) >= self.points.len().saturating_mul(usize::from(percent))
    }

    /// Tells it to people, and where it is less than `least` per cent.
    pub(super) fn tell(&self, least: u8) {
        let name = self.source.name();
        if !self.reaches(least) {
            println!("FAILED {name}: less than {least} % of the policies and rules act in a case (--coverage-min)");
        }
        println!("{name}: {} of {} policies and rules act in a case", self.covered(), self.points.len());
        for (point, place) in self.missed() {
            let called = point.name.as_ref().map(|name| format!(" ({name:?})")).unwrap_or_default();
            let fault = self.source.fault(&point.path, "acts in no case");
            println!("{}:{}:{}: {}{called}: {}", fault.file.display(), place.line, place.column, fault.path, fault.message);
        }
    }

    /// Gives it to programs.
    pub(super) fn json(&self) -> Value {
        let missed: Vec<_> = self
            .missed()
            .map(|(point, place)| json!({"path": point.path, "name": point.name, "line": place.line, "column": place.column}))
            .collect();
        json!({"document": self.source.name(), "points": self.points.len(), "covered": self.covered(), "missed": missed})
    }
}

/// Names the rules of a document by their places, and lists what can act.
fn name_by_place(project: &str, prefix: &str, document: &mut Value, documents: &Documents, points: &mut Vec<Point>) {
    let chain = documents.choose(project.as_bytes());
    let entries = document.get_mut("chain").and_then(Value::as_array_mut).into_iter().flatten();
    for (index, (entry, shared)) in entries.zip(&chain.policies).enumerate() {
        let path = format!("{prefix}chain[{index}]");
        let name = entry.get("use").and_then(Value::as_str).unwrap_or_default().to_owned();
        // It does nothing, by its name.
        if name == "no_op" {
            continue;
        }
        let policy = (shared.name().to_owned(), shared.describe());
        let point = |path: String, name: Option<String>, sign: Sign| Point { path, name, policy: policy.clone(), sign };
        points.push(point(path.clone(), Some(name.clone()), Sign::Policy));
        for (_, list) in LISTS.iter().filter(|(policy, _)| *policy == name) {
            let names = entry.pointer(&format!("/with/{list}")).and_then(Value::as_array).into_iter().flatten();
            for (number, entry) in names.filter_map(Value::as_str).enumerate() {
                points.push(point(
                    format!("{path}.with.{list}[{number}]"),
                    Some(entry.to_owned()),
                    Sign::Entry(entry.to_owned()),
                ));
            }
        }
        let Some((_, key)) = NAMED.iter().find(|(policy, _)| *policy == name) else { continue };
        let rules = entry.pointer_mut("/with/rules").and_then(Value::as_array_mut).into_iter().flatten();
        for (number, rule) in rules.filter_map(Value::as_object_mut).enumerate() {
            let sign = format!("rule {}", points.len());
            let called = rule.insert((*key).to_owned(), sign.clone().into());
            let called = called.and_then(|name| name.as_str().map(ToOwned::to_owned));
            points.push(point(format!("{path}.with.rules[{number}]"), called, Sign::Rule(sign)));
        }
    }
}

/// Collects the names of rules from an exchange: in the lists of hits, and in the events of policies.
fn names(outcome: &Outcome) -> HashSet<String> {
    let enforcement = outcome.enforcement();
    let lists = ["allowlist_hits", "denylist_hits"].iter().filter_map(|field| enforcement.get(*field)?.as_array());
    let hits = lists.flatten().filter_map(Value::as_str).map(ToOwned::to_owned);
    let rules = outcome.events.iter().filter_map(|event| event.metadata.get("rule")?.as_str()).map(ToOwned::to_owned);
    hits.chain(rules).collect()
}

impl Point {
    fn acted(&self, outcome: &Outcome, named: &HashSet<String>) -> bool {
        let (class, config) = &self.policy;
        let is_own = |event: &&weir_engine::event::Event| {
            event.policy_class == Some(class.as_str()) && event.policy_config.as_ref().unwrap_or(&Value::Null) == config
        };
        let mut events = outcome.events.iter().filter(is_own);
        match &self.sign {
            Sign::Policy => events.next().is_some(),
            Sign::Rule(name) => named.contains(name),
            Sign::Entry(entry) => events.any(|event| event.metadata.get("entry").is_some_and(|found| found == entry.as_str())),
        }
    }
}
