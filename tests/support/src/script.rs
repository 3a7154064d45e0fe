//! Scripts: what happens to one exchange, as data, so that any runner can play them — the engine alone
//! ([`crate::native`]), the engine in a browser, the built module in an emulated host.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_driver::ServiceReply;
pub use weir_driver::Step;

use crate::{chunking, json};

/// What happens to one exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The policy document.
    pub document: Value,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// How the judge answers; the first rule that fits counts.
    pub judge: Vec<JudgeRule>,
}

/// How the judge answers a question.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeRule {
    /// The rule is for questions whose user message contains this.
    pub when: String,
    /// The answer.
    pub reply: JudgeReply,
    /// How many further steps of the script pass before the answer comes. That a question cannot be sent is known at once.
    pub delay: usize,
}

/// A judge's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum JudgeReply {
    /// A well-formed verdict.
    Verdict(f64),
    /// A chat.completions answer with this content.
    Content(String),
    /// Any other HTTP response.
    Response {
        /// Its status.
        status: u16,
        /// Its body.
        body: Vec<u8>,
    },
    /// The connection breaks off.
    Broken,
    /// The question cannot be sent at all.
    NotSent,
    /// No answer ever comes.
    Silence,
}

impl JudgeReply {
    /// Status and body, where the reply is a response.
    pub fn response(&self) -> Option<(u16, Vec<u8>)> {
        self.to_service_reply().to_response()
    }

    fn to_service_reply(&self) -> ServiceReply {
        match self {
            Self::Verdict(probability) => ServiceReply::verdict(*probability),
            Self::Content(content) => ServiceReply::content(content),
            Self::Response { status, body } => ServiceReply::response(*status, body.clone()),
            Self::Broken => ServiceReply::broken(),
            Self::NotSent => ServiceReply::not_sent(),
            Self::Silence => ServiceReply::silence(),
        }
    }
}

impl JudgeRule {
    /// A rule for questions that contain `when`, answered at once.
    pub fn new(when: &str, reply: JudgeReply) -> Self {
        Self { when: when.to_owned(), reply, delay: 0 }
    }

    /// The answer as the driver gives it.
    pub fn to_service_reply(&self) -> ServiceReply {
        self.reply.to_service_reply().after(self.delay)
    }

    /// The same rule, answered `steps` later.
    #[must_use]
    pub fn after(mut self, steps: usize) -> Self {
        self.delay = steps;
        self
    }
}

impl Script {
    /// A script that has a streamed (or whole) answer asked for, with nothing answered yet.
    pub fn request(dialect: Dialect, document: Value, streamed: bool) -> Self {
        let body = request_body(dialect, streamed).to_string().into_bytes();
        Self::request_to(path(dialect), document, vec![body])
    }

    /// A script whose POST request goes to `path` with this JSON body.
    pub fn request_to(path: &str, document: Value, body: Vec<Vec<u8>>) -> Self {
        let length = body.iter().map(Vec::len).sum::<usize>();
        let headers = vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("content-length".to_owned(), length.to_string().into_bytes()),
        ];
        let head = Step::RequestHead { method: "POST".to_owned(), path: path.to_owned(), headers, end: false };
        let last = body.len().saturating_sub(1);
        let body = body.into_iter().enumerate().map(|(number, chunk)| Step::RequestBody { chunk, end: number == last });
        Self { document, steps: [head].into_iter().chain(body).collect(), judge: Vec::new() }
    }

    /// The exchange of a stream: `chunks` is the response body.
    pub fn streamed(dialect: Dialect, document: Value, chunks: Vec<Vec<u8>>) -> Self {
        Self::request(dialect, document, true).respond("text/event-stream; charset=utf-8", chunks)
    }

    /// The exchange of a whole JSON body.
    pub fn whole(dialect: Dialect, document: Value, chunks: Vec<Vec<u8>>) -> Self {
        Self::request(dialect, document, false).respond("application/json", chunks)
    }

    /// The exchange of a stream, each event in a chunk of its own.
    pub fn events(dialect: Dialect, document: Value, body: &[u8]) -> Self {
        Self::streamed(dialect, document, chunking::events(body))
    }

    /// Appends a response with status 200 that ends properly.
    #[must_use]
    pub fn respond(self, content_type: &str, chunks: Vec<Vec<u8>>) -> Self {
        self.respond_with(200, &[("content-type", content_type)], chunks)
    }

    /// Appends a response that ends properly, in an empty last callback as Envoy does it.
    #[must_use]
    pub fn respond_with(mut self, status: u16, headers: &[(&str, &str)], chunks: Vec<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        self.steps.push(Step::ResponseHead { status, headers, end: false });
        self.steps.extend(chunks.into_iter().map(|chunk| Step::ResponseBody { chunk, end: false }));
        self.steps.push(Step::ResponseBody { chunk: Vec::new(), end: true });
        self
    }

    /// Adds a rule for the judge.
    #[must_use]
    pub fn judged(mut self, rule: JudgeRule) -> Self {
        self.judge.push(rule);
        self
    }

    /// The rule that answers a question with this body.
    ///
    /// # Panics
    /// When the body is no question, or no rule answers it.
    pub fn rule_for(&self, question: &[u8]) -> &JudgeRule {
        let question: Value = serde_json::from_slice(question).expect("a question is JSON");
        let matter =
            json::array(&question, "/messages").last().map(|message| json::text(message, "/content")).unwrap_or_default();
        let rule = self.judge.iter().find(|rule| matter.contains(&rule.when));
        rule.unwrap_or_else(|| panic!("no rule of the script answers {matter:?}"))
    }

    /// Puts `step` in place of everything from the `chunks`-th chunk of the response body on.
    #[must_use]
    pub fn interrupted(mut self, chunks: usize, step: Step) -> Self {
        let bodies = |step: &Step| matches!(step, Step::ResponseBody { .. });
        let position = self.steps.iter().enumerate().filter(|(_, step)| bodies(step)).nth(chunks).map(|(position, _)| position);
        self.steps.truncate(position.unwrap_or(self.steps.len()));
        self.steps.push(step);
        self
    }

    /// Inserts `step` before the `chunks`-th chunk of the response body.
    #[must_use]
    pub fn meanwhile(mut self, chunks: usize, step: Step) -> Self {
        let bodies = |step: &Step| matches!(step, Step::ResponseBody { .. });
        let position = self.steps.iter().enumerate().filter(|(_, step)| bodies(step)).nth(chunks).map(|(position, _)| position);
        self.steps.insert(position.unwrap_or(self.steps.len()), step);
        self
    }
}

/// The path of the dialect's endpoint.
pub fn path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Messages => "/v1/messages",
        Dialect::Responses => "/v1/responses",
        Dialect::McpTool => "/mcp",
        _ => "/v1/chat/completions",
    }
}

/// A plain request.
pub fn request_body(dialect: Dialect, streamed: bool) -> Value {
    let messages = json!([{"role": "user", "content": "What is the weather like in Paris?"}]);
    match dialect {
        Dialect::McpTool => mcp_call(1, "get_weather", &json!({"city": "Paris"})),
        Dialect::Messages => {
            json!({"model": "claude-sonnet-4-20250514", "max_tokens": 1024, "stream": streamed, "messages": messages})
        }
        Dialect::Responses => json!({"model": "gpt-4.1-mini", "stream": streamed, "input": messages}),
        _ => json!({"model": "gpt-4.1-mini", "stream": streamed, "messages": messages}),
    }
}

/// A `tools/call` of MCP.
pub fn mcp_call(id: impl Into<Value>, name: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": {"name": name, "arguments": arguments}})
}

/// A policy document with this chain and a judge called `main`.
pub fn document(chain: Value) -> Value {
    json!({
        "policy": {"id": "test", "name": "Test", "revision": 3},
        "chain": chain,
        "judges": {"main": {"cluster": "judge", "model": "small-judge", "timeout": "5s"}},
    })
}
