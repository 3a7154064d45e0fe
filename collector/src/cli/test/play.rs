//! Plays cases.

use std::time::{Duration, Instant};

use serde_json::Value;
use weir_driver::{Player, Recording, Split};

use super::cases::{Case, CaseSplit};
use super::folder::CaseFile;
use crate::cli::desk::{self, Fault, Place};

/// What came of a case.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) name: String,
    pub(super) place: Place,
    /// What is not as expected.
    pub(super) faults: Vec<String>,
    pub(super) took: Duration,
}

/// Plays the cases of a file.
pub(super) fn play(file: &CaseFile) -> Result<Vec<Played>, Fault> {
    let mut played = Vec::new();
    for (index, case) in file.cases.cases.iter().enumerate() {
        let began = Instant::now();
        let recording = record(case, &file.response(index)?);
        let player = desk::judged(desk::player(&file.documents, &case.project), case.replies());
        let faults = play_case(case, &recording, &player);
        let place = file.source.place(&format!("cases[{index}]"));
        played.push(Played { name: case.name.clone(), place, faults, took: began.elapsed() });
    }
    Ok(played)
}

/// Makes the exchange of a case.
pub(super) fn record(case: &Case, response: &Value) -> Recording {
    let path = case.path.clone().unwrap_or_else(|| desk::path_of(&case.request).to_owned());
    let mut recording = Recording::post(&path, case.request.to_string());
    for (name, value) in &case.headers {
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        recording = recording.header(&name.to_ascii_lowercase(), &text);
    }
    desk::answered(recording, case.status, response)
}

fn play_case(case: &Case, recording: &Recording, player: &Player) -> Vec<String> {
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
        let mut faults = case.expect.compare(&outcome, recording);
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
