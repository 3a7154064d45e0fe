//! `weir token`: makes a token and the line that knows it.

use clap::Args;
use weir_collector::{Roles, new_token};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// Whose token it is, in one word
    #[arg(value_name = "NAME")]
    name: String,

    /// What it allows: ingest, read, operate, admin, several separated by commas
    #[arg(long, default_value = "read", value_name = "ROLES")]
    roles: Roles,
}

impl Token {
    pub(super) fn run(&self) -> Result<(), String> {
        let (token, line) = new_token(&self.name, self.roles).map_err(|error| error.to_string())?;
        eprintln!("The token, which is shown this once: {token}");
        eprintln!("Its line for the file of --tokens:");
        println!("{line}");
        Ok(())
    }
}
