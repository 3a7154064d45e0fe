//! `weir check`: reads policy documents as the filter does, and says what their authors may not have meant.

mod finding;
mod holds;
mod sarif;
mod warnings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::finding::{Finding, Findings, Kind};
use self::holds::Held;
use super::desk::Source;

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
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Print {
    Json,
}

/// What there is to say of a file, and what its policies hold at the most.
#[derive(Debug)]
struct Report {
    file: PathBuf,
    findings: Vec<Finding>,
    holds: Vec<Held>,
}

impl Check {
    /// Gives 0 where nothing was found, 1 for findings, 2 where a file cannot be read.
    pub(crate) fn run(self) -> ExitCode {
        if self.print == Some(Print::Json) {
            return self.print_json();
        }
        let reports: Vec<Report> = self.files.iter().map(|file| look(file)).collect();
        match self.format {
            Format::Text => reports.iter().for_each(Report::tell),
            Format::Json => println!("{}", reports.iter().map(Report::json).collect::<Value>()),
            Format::Sarif => println!("{:#}", sarif::log(&reports)),
        }
        ExitCode::from(reports.iter().map(Report::code).max().unwrap_or_default())
    }

    fn print_json(&self) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            match Source::read(file) {
                Ok(source) => println!("{}", source.value),
                Err(fault) => {
                    eprintln!("weir check: {fault}");
                    code = ExitCode::from(2);
                }
            }
        }
        code
    }
}

impl Report {
    fn code(&self) -> u8 {
        match self.findings.as_slice() {
            [] => 0,
            findings if findings.iter().any(|finding| finding.kind == Kind::Unreadable) => 2,
            _ => 1,
        }
    }

    fn tell(&self) {
        for Finding { kind, fault } in &self.findings {
            if *kind == Kind::Unreadable {
                eprintln!("weir check: {fault}");
            } else {
                println!("{}: {}: {}", fault.at(), kind.level().name(), fault.what());
            }
        }
        for held in &self.holds {
            println!("{}: {}", self.file.display(), held.text());
        }
        if self.findings.is_empty() {
            println!("{}: no findings", self.file.display());
        }
    }

    fn json(&self) -> Value {
        let findings: Vec<_> = self.findings.iter().map(Finding::json).collect();
        let holds: Vec<_> = self.holds.iter().map(Held::json).collect();
        json!({"file": self.file.display().to_string(), "findings": findings, "holds": holds})
    }
}

fn look(file: &Path) -> Report {
    let failed = |kind, fault| Report { file: file.to_owned(), findings: vec![Finding { kind, fault }], holds: Vec::new() };
    let source = match Source::read(file) {
        Ok(source) => source,
        Err(fault) => return failed(Kind::Unreadable, fault),
    };
    let documents = match source.documents() {
        Ok(documents) => documents,
        Err(fault) => return failed(Kind::Invalid, fault),
    };
    let mut findings = Findings::new(&source);
    let mut holds = Vec::new();
    let mut one = |project: &str, prefix: &str, document: &Value| {
        warnings::look(prefix, document, &mut findings);
        holds.extend(holds::of(&documents.choose(project.as_bytes()), document));
    };
    match source.value.get("projects").and_then(Value::as_object) {
        Some(projects) => projects.iter().for_each(|(name, document)| one(name, &format!("projects.{name}."), document)),
        None => one("", "", &source.value),
    }
    Report { file: file.to_owned(), findings: findings.all, holds }
}

#[cfg(test)]
mod tests;
