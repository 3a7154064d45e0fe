//! `weir tail`: events in the terminal while they happen.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{Asked, visible};

/// How long a lost connection is left alone before it is made again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    asked: Asked,

    /// Write each event as it was sent, on one line
    #[arg(long)]
    json: bool,

    /// End when the connection ends, instead of making it again
    #[arg(long)]
    once: bool,
}

impl Tail {
    pub(super) fn run(&self) -> Result<(), String> {
        let mut cursor = None;
        let mut connected = false;
        loop {
            match self.follow(&mut cursor, &mut connected) {
                Ok(Ended::Pipe) => return Ok(()),
                Ok(Ended::Connection) if self.once => return Ok(()),
                Ok(Ended::Connection) => eprintln!("weir tail: the connection ended; trying again"),
                // What fails at once will go on failing: a wrong query, a wrong token.
                Err(message) if !connected => return Err(message),
                Err(message) => eprintln!("weir tail: {message}; trying again"),
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Follows one connection; `cursor` is how far it came.
    fn follow(&self, cursor: &mut Option<String>, connected: &mut bool) -> Result<Ended, String> {
        let mut parameters = vec![("q", self.asked.query())];
        parameters.extend(cursor.clone().map(|cursor| ("after", cursor)));
        let body = self.asked.get("/v1/activity/stream", &parameters)?;
        *connected = true;
        let (mut event, mut data) = (String::new(), String::new());
        let mut out = std::io::stdout().lock();
        for line in BufReader::new(body).lines() {
            let Ok(line) = line else { return Ok(Ended::Connection) };
            match line.split_once(": ") {
                Some(("event", name)) => event = name.to_owned(),
                Some(("data", text)) => data = text.to_owned(),
                Some(("id", id)) => *cursor = Some(id.to_owned()),
                _ if line.is_empty() => {
                    let text = self.show(&event, &data);
                    event.clear();
                    data.clear();
                    if text.is_some_and(|text| writeln!(out, "{text}").and_then(|()| out.flush()).is_err()) {
                        return Ok(Ended::Pipe);
                    }
                }
                _ => {}
            }
        }
        Ok(Ended::Connection)
    }

    fn show(&self, event: &str, data: &str) -> Option<String> {
        if data.is_empty() {
            return None;
        }
        if !event.is_empty() {
            let told: Value = serde_json::from_str(data).unwrap_or_default();
            match event {
                "skipped" => {
                    let events = told.get("events").and_then(Value::as_u64).unwrap_or_default();
                    eprintln!("weir tail: {events} events came too fast; `weir export` has them");
                }
                _ if told.get("reachable") == Some(&Value::Bool(false)) => eprintln!("weir tail: the store cannot be reached"),
                _ => eprintln!("weir tail: the store answers again"),
            }
            return None;
        }
        if self.json {
            return Some(data.to_owned());
        }
        let stored: Value = serde_json::from_str(data).ok()?;
        let event = stored.get("event")?;
        let text = |name: &str| visible(event.get(name).and_then(Value::as_str).unwrap_or("-"));
        let decision = event
            .pointer("/metadata/effective_decision")
            .and_then(Value::as_str)
            .map(|decision| format!(" [{}]", visible(decision)));
        Some(format!(
            "{} {:<13} {:<7} {}{} {}",
            clock(event.get("time_ms").and_then(Value::as_u64).unwrap_or_default()),
            text("kind"),
            text("severity"),
            text("event_type"),
            decision.unwrap_or_default(),
            text("summary")
        ))
    }
}

enum Ended {
    Connection,
    /// Whoever read standard output has gone.
    Pipe,
}

/// The time of day, UTC.
fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60, milliseconds % 1_000)
}
