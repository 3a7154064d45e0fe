//! `weir export`: events of the history.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::client::Asked;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    asked: Asked,

    /// How events are written
    #[arg(long, default_value = "ndjson", value_name = "FORMAT")]
    format: Format,

    /// Only what arrived within the last such time, like 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,

    /// Only what arrived at or after this, in milliseconds since 1970
    #[arg(long, value_name = "MS", conflicts_with = "since")]
    from: Option<u64>,

    /// Only what arrived before this, in milliseconds since 1970
    #[arg(long, value_name = "MS")]
    to: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

impl Export {
    pub(super) fn run(&self) -> Result<(), String> {
        let format = match self.format {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        };
        let since = self.since.and_then(|since| SystemTime::now().checked_sub(since));
        let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_millis().to_string());
        let mut parameters = vec![("q", self.asked.query()), ("format", format.to_owned())];
        parameters.extend(since.or_else(|| self.from.map(|from| from.to_string())).map(|from| ("from", from)));
        parameters.extend(self.to.map(|to| ("to", to.to_string())));
        let mut body = self.asked.get("/v1/export", &parameters)?;
        match io::copy(&mut body, &mut io::stdout().lock()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(format!("the export broke off: {error}")),
            Ok(_) => Ok(()),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: say 90s, 15m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}
