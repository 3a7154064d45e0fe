//! `weir simulate`: one request, and its answer, against a policy document.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use weir_driver::{Recording, ServiceReply, Split};

use super::desk::{self, Answer, Fault, Judged, Source};

/// The arguments of `weir simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The policy document, in YAML or JSON
    #[arg(long)]
    document: PathBuf,
    /// The request's body, in YAML or JSON
    #[arg(long)]
    request: PathBuf,
    /// Where it goes; told by the body where it is not given
    #[arg(long)]
    path: Option<String>,
    /// A header of the request, as `name: value`
    #[arg(long = "header")]
    headers: Vec<String>,
    /// The project, where the document has several
    #[arg(long, default_value = "")]
    project: String,
    /// What the provider answers: a body in JSON, or a recorded event stream (any other file)
    #[arg(long)]
    response: Option<PathBuf>,
    /// The probability of harm that judges find
    #[arg(long)]
    judge: Option<f64>,
}

impl Simulate {
    /// Gives 2 where a file cannot be read, or the document is wrong.
    pub(crate) fn run(self) -> ExitCode {
        match self.play() {
            Ok(outcome) => {
                println!("{outcome:#}");
                ExitCode::SUCCESS
            }
            Err(message) => {
                eprintln!("weir simulate: {message}");
                ExitCode::from(2)
            }
        }
    }

    fn play(&self) -> Result<Value, String> {
        let said = |fault: Fault| fault.to_string();
        let documents = Source::read(&self.document).and_then(|source| source.documents()).map_err(said)?;
        let body = Source::read(&self.request).map_err(said)?;
        let path = self.path.clone().unwrap_or_else(|| desk::path_of(&body.value).to_owned());
        let mut recording = Recording::post(&path, body.json().trim_end());
        for header in &self.headers {
            let (name, value) = header.split_once(':').ok_or_else(|| format!("{header:?} is no `name: value`"))?;
            recording = recording.header(&name.trim().to_ascii_lowercase(), value.trim());
        }
        if let Some(response) = &self.response {
            let answer = desk::read_answer(response).map_err(said)?;
            recording = desk::answered(recording, 200, &answer);
        }
        let judge = self
            .judge
            .map(|probability| Judged { when: String::new(), answer: Answer::Reply(ServiceReply::verdict(probability)) });
        let player = desk::judged(desk::player(&documents, &self.project), judge.into_iter().collect());
        let outcome = player.play(&recording.steps(&Split::Events));
        let mut told = desk::describe(&outcome);
        if let Some(fields) = told.as_object_mut() {
            fields.insert("path".to_owned(), json!(path));
        }
        Ok(told)
    }
}
