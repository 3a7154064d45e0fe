//! The command line: one file a command.

mod check;
mod client;
mod collect;
mod desk;
mod export;
mod schema;
mod simulate;
mod tail;
mod test;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Weir's companion for people: takes the events of Weir's filters, keeps them and shows them.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take events on POST /v1/events, keep them, and show them on /ui/activity/live
    Collect(Box<collect::Collect>),
    /// Show events in the terminal while they happen
    Tail(tail::Tail),
    /// Write events of the history to standard output
    Export(export::Export),
    /// Make a token for people or programs
    Token(token::Token),
    /// Read policy documents as the filter does, and say what their authors may not have meant
    Check(check::Check),
    /// Play cases against a policy document, and compare what came of them with what was expected
    Test(test::Test),
    /// Write the JSON Schema of policy documents, of files of cases, or of a policy's configuration
    Schema(schema::Schema),
    /// Play one request, and its answer, against a policy document
    Simulate(simulate::Simulate),
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let (name, outcome) = match self.command {
            Command::Collect(command) => ("collect", command.run()),
            Command::Tail(command) => ("tail", command.run()),
            Command::Export(command) => ("export", command.run()),
            Command::Token(command) => ("token", command.run()),
            Command::Schema(command) => ("schema", command.run()),
            Command::Check(command) => return command.run(),
            Command::Test(command) => return command.run(),
            Command::Simulate(command) => return command.run(),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("weir {name}: {message}");
                ExitCode::FAILURE
            }
        }
    }
}
