//! Fills in what is expected of cases that say `expect: {}`: what comes of them now.

use std::fs;

use serde_json::{Map, Value};
use weir_driver::{Outcome, Recording, Split};

use super::folder::CaseFile;
use super::play::record;
use crate::cli::desk::{self, Fault};

/// Writes into a file of cases what comes of those that expect nothing yet; all else in it stays.
pub(super) fn fill(file: &CaseFile) -> Result<(), Fault> {
    let text = fs::read_to_string(&file.file).map_err(|error| Fault::unreadable(&file.file, &error))?;
    let mut lines: Vec<String> = text.split_inclusive('\n').map(ToOwned::to_owned).collect();
    let mut is_changed = false;
    // Backwards: what is written into a line moves what stands behind it.
    for (index, case) in file.cases.cases.iter().enumerate().rev() {
        let path = format!("cases[{index}].expect");
        if !file
            .source
            .value
            .pointer(&format!("/cases/{index}/expect"))
            .is_some_and(|expect| *expect == Value::Object(Map::new()))
        {
            continue;
        }
        let recording = record(case, &file.response(index)?);
        let player = desk::judged(desk::player(&file.documents, &case.project), case.replies());
        let expect = expectation(&player.play(&recording.steps(&Split::Events)), &recording);
        let place = file.source.place(&path);
        let line = lines.get_mut(place.line.saturating_sub(1));
        let filled = line.and_then(|line| {
            let (key, _) = line.char_indices().nth(place.column.saturating_sub(1))?;
            let (before, rest) = line.split_at_checked(key)?;
            let braces = rest.strip_prefix("expect: {}").or_else(|| rest.strip_prefix("\"expect\": {}"))?;
            let name = rest.strip_suffix(braces)?.strip_suffix("{}")?;
            *line = format!("{before}{name}{expect}{braces}");
            Some(())
        });
        filled.ok_or_else(|| file.source.fault(&path, "must be written as `expect: {}` to be filled in"))?;
        is_changed = true;
    }
    if is_changed {
        fs::write(&file.file, lines.concat()).map_err(|error| Fault::unreadable(&file.file, &error))?;
    }
    Ok(())
}

/// What would be expected of an exchange that came to this.
fn expectation(outcome: &Outcome, recording: &Recording) -> Value {
    let enforcement = outcome.enforcement();
    let mut expect = Map::new();
    for field in ["decision", "reason_code"] {
        let word = enforcement.get(field).filter(|word| word.as_str().is_some_and(|word| !word.is_empty()));
        expect.extend(word.map(|word| (field.to_owned(), word.clone())));
    }
    let lists = ["allowlist_hits", "denylist_hits"].iter().filter_map(|field| enforcement.get(*field)?.as_array());
    let hits: Vec<Value> = lists.flatten().cloned().collect();
    let mut events: Vec<&str> = Vec::new();
    for event in outcome.events.iter().filter(|event| event.policy_class.is_some()) {
        if !events.contains(&event.event_type.as_str()) {
            events.push(&event.event_type);
        }
    }
    for (field, list) in [("hits", Value::from(hits)), ("events", Value::from(events))] {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            expect.insert(field.to_owned(), list);
        }
    }
    expect.insert("status".to_owned(), outcome.status.into());
    let sent = recording.response.as_ref().map(|response| response.body.as_slice()).unwrap_or_default();
    if outcome.client == sent {
        expect.insert("unchanged".to_owned(), true.into());
    } else {
        expect.insert("output".to_owned(), outcome.text().into());
    }
    Value::Object(expect)
}
