//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use clap::{Args, Parser, Subcommand};
use weir_collector::{Access, Limits, Token};

/// Weir's companion for people: takes the events of Weir's filters, keeps them and shows them.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take events on POST /v1/events, keep them, and show them on /ui/activity/live
    Collect(Collect),
}

#[derive(Debug, Args)]
pub(crate) struct Collect {
    /// Address and port to listen on
    #[arg(long, env = "WEIR_COLLECTOR_LISTEN", default_value = "127.0.0.1:10004", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// Redis that keeps the events, such as redis://127.0.0.1:6379/0; without it they are kept in memory
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) redis_url: Option<String>,

    /// What the keys in Redis begin with; collectors with the same prefix share their events
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_PREFIX", default_value = "weir", value_name = "TEXT")]
    pub(crate) redis_prefix: String,

    /// How many events to keep
    #[arg(long, env = "WEIR_COLLECTOR_HISTORY", default_value = "100000", value_name = "COUNT")]
    pub(crate) history: NonZeroUsize,

    /// Secret that readers and senders must show; needed when other machines can reach the address
    #[arg(long, env = "WEIR_COLLECTOR_TOKEN", value_name = "SECRET", hide_env_values = true)]
    pub(crate) token: Option<Token>,

    /// Let in everyone who reaches the address, without a token
    #[arg(long, conflicts_with = "token")]
    pub(crate) no_auth: bool,
}

impl Collect {
    /// Whom these options let in; refuses to show events to other machines by accident.
    pub(crate) fn access(&self) -> Result<Access, String> {
        match &self.token {
            Some(token) => Ok(Access::Token(token.clone())),
            None if self.no_auth => Ok(Access::Open),
            None if self.listen.ip().is_loopback() => Ok(Access::Loopback),
            None => Err(format!(
                "{} can be reached from other machines: set --token (or WEIR_COLLECTOR_TOKEN), or say --no-auth to let everyone in",
                self.listen
            )),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { history: self.history.get(), ..Limits::default() }
    }
}
