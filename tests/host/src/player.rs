//! Plays the shared scripts against a built module, beside the engine alone.

use core::time::Duration;

use serde_json::Value;
use weir::decision::Decision;
use weir::document::Registry;
use weir::event::Event;
use weir::id::CallId;
use weir_test_support::native::{self, Outcome, RequestOutcome};
use weir_test_support::script::{JudgeReply, Script, Step};

use crate::{Callout, Host, Plugin};

/// Where events go.
const COLLECTOR: &str = "collector";

/// More than any script has the module buffer: what happens beyond the proxy's limit is a matter of its own.
const BUFFER_LIMIT: usize = 64 * 1024 * 1024;

/// The module's own.
const TICK: Duration = Duration::from_millis(200);

/// Longer than any question of a script is kept alive.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Plays `script` against `plugin` in the emulated host and against the engine alone, whose policies are those of
/// `registry`, and asserts that the same came of it. What the engine alone said is returned.
///
/// # Panics
/// When something else came of it, or as [`native::play`] does.
#[track_caller]
pub fn play(script: &Script, plugin: Plugin, registry: &Registry) -> Outcome {
    let hosted = Player::start(script, plugin).play();
    let alone = native::play_as(hosted.call_id(), script, registry);
    hosted.assert_same(script, &alone);
    alone
}

/// What came of a script in the host.
struct Hosted {
    host: Host,
    stream: u32,
    questions: Vec<Callout>,
    events: Vec<Value>,
}

struct Player<'s> {
    script: &'s Script,
    host: Host,
    stream: Option<u32>,
    step: usize,
    due: Vec<(usize, Callout, JudgeReply)>,
    questions: Vec<Callout>,
    events: Vec<Value>,
}

impl<'s> Player<'s> {
    fn start(script: &'s Script, plugin: Plugin) -> Self {
        let mut document = script.document.clone();
        document["events"] = serde_json::json!({"cluster": COLLECTOR});
        document["envoy"] = serde_json::json!({"request_hold": "headers"});
        let refuses = {
            let script = script.clone();
            move |question: &Callout| {
                question.cluster != COLLECTOR && script.rule_for(&question.body).reply == JudgeReply::NotSent
            }
        };
        let host = Host::new(&document.to_string()).plugin(plugin).knob(true).buffer_limit(BUFFER_LIMIT).refuse(refuses).start();
        Self { script, host, stream: None, step: 0, due: Vec::new(), questions: Vec::new(), events: Vec::new() }
    }

    fn play(mut self) -> Hosted {
        for (number, step) in self.script.steps.iter().enumerate() {
            self.step = number;
            self.take(step);
            self.take_callouts();
            self.answer_due(number);
        }
        self.answer_due(usize::MAX);
        let stream = self.begun();
        let mut waited = Duration::ZERO;
        while self.is_waited_for() && waited < LONGEST_WAIT {
            self.pass(TICK);
            waited += TICK;
        }
        if !self.host.is_over(stream) {
            self.host.client_leaves(stream);
        }
        // Of an observed exchange the root asks, with a tick.
        self.pass(TICK);
        while self.due.iter().any(|(_, _, reply)| *reply != JudgeReply::Silence) {
            self.answer_due(usize::MAX);
            self.pass(TICK);
        }
        // Events leave with the next tick, several in a batch.
        self.pass(LONGEST_WAIT);
        // Those that could not be sent were taken first.
        self.questions.sort_by_key(|question| question.token);
        Hosted { host: self.host, stream, questions: self.questions, events: self.events }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::RequestHead { method, path, headers, end } => {
                let mut head: Vec<(&str, &[u8])> =
                    vec![(":method", method.as_bytes()), (":path", path.as_bytes()), (":authority", b"llm")];
                head.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
                self.stream = Some(self.host.request_head(&head, *end));
            }
            Step::RequestBody { chunk, end } => self.host.request_body(self.begun(), chunk, *end),
            Step::ResponseHead { status, headers, end } => self.response_head(*status, headers, *end),
            Step::ResponseBody { chunk, end } if self.is_answering() => self.host.provider_body(self.begun(), chunk, *end),
            Step::ResponseBody { .. } => {}
            Step::Elapse(duration) => self.pass(*duration),
            Step::ClientGone => self.host.client_leaves(self.begun()),
            Step::UpstreamReset => self.host.provider_breaks_off(self.begun()),
        }
    }

    /// A provider answers requests that reached it; it announces the length of a whole body.
    fn response_head(&mut self, status: u16, headers: &[(String, Vec<u8>)], end: bool) {
        if !self.is_answering() {
            return;
        }
        let status = status.to_string();
        let length = self.response_length().to_string();
        let mut head: Vec<(&str, &[u8])> = vec![(":status", status.as_bytes())];
        head.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        let is_stream = headers.iter().any(|(_, value)| value.starts_with(b"text/event-stream"));
        if !is_stream && !headers.iter().any(|(name, _)| name == "content-length") {
            head.push(("content-length", length.as_bytes()));
        }
        self.host.provider_head(self.begun(), &head, end);
    }

    fn response_length(&self) -> usize {
        let length = |step: &Step| if let Step::ResponseBody { chunk, .. } = step { chunk.len() } else { 0 };
        self.script.steps.iter().map(length).sum()
    }

    fn begun(&self) -> u32 {
        self.stream.expect("a script begins with a request")
    }

    fn is_answering(&self) -> bool {
        self.stream.is_some_and(|stream| self.host.upstream(stream).ended && !self.host.is_over(stream))
    }

    /// Whether a question is out that is never answered.
    fn is_waited_for(&self) -> bool {
        !self.due.is_empty() && !self.host.is_over(self.begun())
    }

    fn pass(&mut self, duration: Duration) {
        self.host.pass(u64::try_from(duration.as_millis()).expect("a script lasts seconds"));
        self.take_callouts();
    }

    fn take_callouts(&mut self) {
        self.questions.extend(self.host.take_refused());
        while let Some(callout) = self.host.next_callout() {
            if callout.cluster == COLLECTOR {
                let batch: Value = serde_json::from_slice(&callout.body).expect("a batch is JSON");
                self.events.extend(batch["events"].as_array().expect("a batch has events").iter().cloned());
                self.host.answer(&callout, 202, "{}");
                continue;
            }
            let rule = self.script.rule_for(&callout.body);
            self.due.push((self.step.saturating_add(rule.delay), callout.clone(), rule.reply.clone()));
            self.questions.push(callout);
        }
    }

    /// Brings the answers that are due by that step, and those to questions that they give rise to.
    fn answer_due(&mut self, step: usize) {
        while let Some(position) = self.due.iter().position(|(due, _, reply)| *due <= step && *reply != JudgeReply::Silence) {
            let (_, callout, reply) = self.due.remove(position);
            match reply.response() {
                Some((status, body)) => self.host.answer(&callout, status, &body),
                None => self.host.break_off(&callout),
            }
            self.take_callouts();
        }
    }
}

impl Hosted {
    /// The exchange's id; any where there was no governed one.
    fn call_id(&self) -> CallId {
        let written = self.events.first().and_then(|event| event["call_id"].as_str()).unwrap_or_default();
        let byte = |index: usize| written.get(2 * index..2 * index + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        CallId::from_bytes(core::array::from_fn(|index| byte(index).unwrap_or_default()))
    }

    #[track_caller]
    fn assert_same(&self, script: &Script, alone: &Outcome) {
        let (client, upstream) = (self.host.client(self.stream), self.host.upstream(self.stream));
        for failure in ["ballast", "trailers", "proxy_buffer_exceeded", "worker_memory"] {
            assert_eq!(self.host.metric(&format!("weir.errors.{failure}")), 0, "{failure}: {:?}", self.host.logs());
        }

        let is_cut = script.steps.iter().any(|step| matches!(step, Step::ClientGone | Step::UpstreamReset));
        if is_cut {
            // What a verdict let out leaves with the next bytes: of a stream that is cut it may stay behind.
            assert!(alone.client.starts_with(&client.body), "alone: {}\nhosted: {}", alone.text(), client.text());
        } else {
            assert_eq!(client.text(), alone.text(), "the client receives the same");
            assert_eq!(client.status, alone.status, "with the same status");
            if let Some(content_type) = alone.content_type.as_deref().filter(|_| alone.status == 200) {
                assert_eq!(client.header("content-type"), Some(content_type), "with the same content type");
            }
        }

        match &alone.request {
            RequestOutcome::Sent => assert_eq!(upstream.body, request_body(script), "the provider receives what came"),
            RequestOutcome::SentBody(body) => assert_eq!(&upstream.body, body, "the provider receives the same"),
            RequestOutcome::Answered => assert!(upstream.headers.is_empty() && client.ended, "{upstream:?} {client:?}"),
            RequestOutcome::Held => assert!(!upstream.ended && !client.ended, "{upstream:?} {client:?}"),
        }

        // What a verdict let out and a cut kept back is not recorded as delivered.
        let fell_short = is_cut && client.body.len() < alone.client.len();
        let expected = if fell_short { alone.decision.max(Decision::Undecided) } else { alone.decision };
        let recorded = alone.events.iter().map(written).find(|event| event["event_type"] == "enforcement");
        let effective = recorded.as_ref().and_then(|event| event["metadata"]["effective_decision"].as_str());
        let effective = if fell_short { expected.name() } else { effective.unwrap_or(expected.name()) };
        let decision = self.host.filter_state(self.stream, "weir.decision");
        assert_eq!(decision, Some(effective), "the decision is the same");

        let asked = self.questions.iter().map(Question::hosted).collect::<Vec<_>>();
        assert_eq!(asked, alone.callouts.iter().map(Question::alone).collect::<Vec<_>>(), "the judge is asked the same");

        let has_observers = |metadata: &Value| metadata["enforced"] == false || !metadata["policy_rollouts"].is_null();
        if recorded.is_some_and(|event| has_observers(&event["metadata"])) {
            let alone = alone.events.iter().map(|event| observed(&written(event)));
            assert_eq!(in_any_order(self.events.iter().map(observed)), in_any_order(alone), "the events are the same");
            return;
        }
        let events = alone.events.iter().map(|event| comparable(&written(event)));
        for (hosted, alone) in self.events.iter().map(comparable).zip(events) {
            if fell_short && alone["event_type"] == "enforcement" {
                assert_eq!(hosted["metadata"]["decision"], expected.name());
                continue;
            }
            assert_eq!(hosted, alone, "the events are the same");
        }
        assert_eq!(self.events.len(), alone.events.len(), "{:#?}", self.events);
    }
}

/// What a judge receives.
#[derive(Debug, PartialEq, Eq)]
struct Question<'c> {
    cluster: &'c str,
    authority: &'c str,
    path: &'c str,
    authorization: Option<&'c str>,
    body: String,
}

impl<'c> Question<'c> {
    fn hosted(callout: &'c Callout) -> Self {
        Self {
            cluster: &callout.cluster,
            authority: callout.header(":authority").unwrap_or_default(),
            path: callout.header(":path").unwrap_or_default(),
            authorization: callout.header("authorization"),
            body: String::from_utf8_lossy(&callout.body).into_owned(),
        }
    }

    fn alone(callout: &'c weir::exchange::Callout) -> Self {
        Self {
            cluster: &callout.cluster,
            authority: &callout.authority,
            path: &callout.path,
            authorization: callout.authorization.as_deref(),
            body: String::from_utf8_lossy(&callout.body).into_owned(),
        }
    }
}

fn request_body(script: &Script) -> Vec<u8> {
    let chunk = |step: &Step| if let Step::RequestBody { chunk, .. } = step { chunk.clone() } else { Vec::new() };
    script.steps.iter().flat_map(chunk).collect()
}

fn written(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event is JSON")
}

/// An event without what differs from host to host: ids, which are random, hashes, which are salted, and what is known of the
/// caller; and, where memory ran out, without how much came until then, since other machines take other room for the same.
fn comparable(event: &Value) -> Value {
    let mut event = event.clone();
    event.as_object_mut().expect("an event is an object").remove("id");
    let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) else { return event };
    metadata.remove("quota_subject");
    let ran_out = metadata.get("reason_code").is_some_and(|reason| reason == "HELD_TOO_LARGE");
    for change in metadata.get_mut("changes").and_then(Value::as_array_mut).into_iter().flatten() {
        for side in ["before", "after"] {
            let Some(side) = change.get_mut(side).and_then(Value::as_object_mut) else { continue };
            side.remove("hash");
            if ran_out {
                side.remove("bytes");
            }
        }
    }
    event
}

/// An event of an exchange with policies that are observed, without times: the root asks for them with its next tick, while others
/// go on.
fn observed(event: &Value) -> Value {
    let mut event = comparable(event);
    event.as_object_mut().expect("an event is an object").remove("time_ms");
    if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
        remove_times(metadata);
        for policy in metadata.get_mut("policy_rollouts").and_then(Value::as_array_mut).into_iter().flatten() {
            remove_times(policy.as_object_mut().expect("what is told of a policy is an object"));
        }
    }
    event
}

fn remove_times(told: &mut serde_json::Map<String, Value>) {
    for time in ["duration_ms", "would_have_held_ms", "judge_latency_ms"] {
        told.remove(time);
    }
}

fn in_any_order(events: impl Iterator<Item = Value>) -> Vec<String> {
    let mut events: Vec<_> = events.map(|event| event.to_string()).collect();
    events.sort();
    events
}
