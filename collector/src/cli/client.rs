//! What the commands share that ask a collector.

use std::io::Read;

use clap::Args;

/// Which collector is asked, and for what.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Address of the collector
    #[arg(long, env = "WEIR_COLLECTOR_URL", default_value = "http://127.0.0.1:10004", value_name = "URL")]
    url: String,

    /// Token with the role `read`
    #[arg(long, env = "WEIR_COLLECTOR_TOKEN", value_name = "SECRET", hide_env_values = true)]
    token: Option<String>,

    /// Which events, in the language of the page, such as `kind:policy_action -tool:get_weather`
    #[arg(value_name = "QUERY", allow_hyphen_values = true)]
    query: Vec<String>,
}

impl Asked {
    pub(super) fn query(&self) -> String {
        self.query.join(" ")
    }

    /// Asks, and gives the body as it arrives.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<impl Read + use<>, String> {
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut request = agent.get(format!("{}{path}", self.url.trim_end_matches('/')));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(|error| format!("{}: {error}", self.url))?;
        if response.status() != 200 {
            let text = response.body_mut().read_to_string().unwrap_or_default();
            let message = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|answer| answer.pointer("/error/message").and_then(serde_json::Value::as_str).map(str::to_owned))
                .unwrap_or_else(|| format!("status {}", response.status()));
            return Err(message);
        }
        Ok(response.into_body().into_reader())
    }
}

/// Control characters and those that turn the direction of text, as escapes: what an event says must not steer a terminal.
pub(super) fn visible(text: &str) -> String {
    let is_hidden = |next: char| {
        next.is_control()
            || matches!(next, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
    };
    text.chars().map(|next| if is_hidden(next) { next.escape_unicode().to_string() } else { next.to_string() }).collect()
}
