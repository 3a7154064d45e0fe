//! `weir test`: plays the cases of a folder through the engine, and compares what came of them with what was expected.

mod cases;
mod compare;
mod coverage;
mod folder;
mod junit;
mod names;
mod play;
mod record;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

pub(crate) use self::cases::Cases;
use self::coverage::Coverage;
use self::folder::CaseFile;
use self::play::Played;
use super::desk::Fault;

/// The arguments of `weir test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A folder with cases (`*.yaml`, `*.yml`, `*.json`, in folders below it, too), or one file
    folder: PathBuf,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Tell which policies and rules act in no case
    #[arg(long)]
    coverage: bool,
    /// Fail where less than this share of the policies and rules of a document act in a case, in per cent; tells which do not
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_min: Option<u8>,
    /// Fill in, in the files, what comes of cases that say `expect: {}`
    #[arg(long)]
    record: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
    /// JUnit's XML, for build servers
    Junit,
}

/// What came of all cases.
#[derive(Debug)]
struct Results {
    files: Vec<(CaseFile, Vec<Played>)>,
    coverage: Vec<Coverage>,
    /// The share of each document that has to be covered, in per cent.
    coverage_min: u8,
}

impl Test {
    /// Gives 0 where all is as expected, 1 where something is not, 2 where a file cannot be read.
    pub(crate) fn run(self) -> ExitCode {
        let results = match self.play() {
            Ok(results) => results,
            Err(faults) => {
                faults.iter().for_each(|fault| eprintln!("weir test: {fault}"));
                return ExitCode::from(2);
            }
        };
        match self.format {
            Format::Text => results.tell(),
            Format::Json => println!("{}", results.json()),
            Format::Junit => match results.junit() {
                Ok(xml) => println!("{xml}"),
                Err(error) => {
                    eprintln!("weir test: {error}");
                    return ExitCode::from(2);
                }
            },
        }
        results.code()
    }

    fn play(&self) -> Result<Results, Vec<Fault>> {
        let mut files = folder::read(&self.folder)?;
        if self.record {
            files.iter().try_for_each(record::fill).map_err(|fault| vec![fault])?;
            files = folder::read(&self.folder)?;
        }
        let wants_coverage = self.coverage || self.coverage_min.is_some();
        let coverage = if wants_coverage { Coverage::of(&files).map_err(|fault| vec![fault])? } else { Vec::new() };
        let mut played = Vec::new();
        for file in files {
            let cases = play::play(&file).map_err(|fault| vec![fault])?;
            played.push((file, cases));
        }
        Ok(Results { files: played, coverage, coverage_min: self.coverage_min.unwrap_or_default() })
    }
}

impl Results {
    /// Counts the cases that pass, and those that fail.
    fn counts(&self) -> (usize, usize) {
        let cases = self.files.iter().flat_map(|(_, cases)| cases);
        let (passed, failed): (Vec<_>, Vec<_>) = cases.partition(|played| played.faults.is_empty());
        (passed.len(), failed.len())
    }

    fn code(&self) -> ExitCode {
        match self.counts() {
            // A folder without cases tests nothing, which is not what was meant.
            (0, 0) => ExitCode::from(2),
            (_, failed) => {
                let is_covered = self.coverage.iter().all(|coverage| coverage.reaches(self.coverage_min));
                ExitCode::from(u8::from(failed > 0 || !is_covered))
            }
        }
    }

    fn tell(&self) {
        for (file, cases) in &self.files {
            for played in cases.iter().filter(|played| !played.faults.is_empty()) {
                println!("FAILED {}:{}: {}", file.file.display(), played.place.line, played.name);
                played.faults.iter().for_each(|fault| println!("    {fault}"));
            }
        }
        self.coverage.iter().for_each(|coverage| coverage.tell(self.coverage_min));
        let (passed, failed) = self.counts();
        println!("{passed} passed, {failed} failed");
    }

    fn json(&self) -> Value {
        let cases = self.files.iter().flat_map(|(file, cases)| cases.iter().map(move |played| (file, played)));
        let cases: Vec<_> = cases
            .map(|(file, played)| {
                json!({"file": file.file.display().to_string(), "line": played.place.line, "name": played.name, "faults": played.faults})
            })
            .collect();
        let (passed, failed) = self.counts();
        let coverage: Vec<_> = self.coverage.iter().map(Coverage::json).collect();
        json!({"passed": passed, "failed": failed, "cases": cases, "coverage": coverage})
    }

    fn junit(&self) -> Result<String, quick_junit::SerializeError> {
        junit::write(self.files.iter().map(|(file, cases)| (file.file.display().to_string(), cases.as_slice())))
    }
}

#[cfg(test)]
mod tests;
