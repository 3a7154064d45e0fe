//! What statistics and access logs tell beyond the engine's own observations, read from events as they pass.

use core::fmt::Write as _;

use serde_json::Value;
use weir::event::Event;

use crate::host;
use crate::plugin::Plugin;
use crate::settings::SemanticConventions;

/// The event that ends an exchange.
const END: &str = "enforcement";
/// Bytes of a label: names of policies and judges are the operator's, and of any length.
const MAX_LABEL_BYTES: usize = 64;
/// What stands where there is no such thing.
const NONE: &str = "none";

/// Counts the event with its labels, and tells access logs what OpenTelemetry calls it where the document asks for that.
pub(crate) fn note(plugin: &Plugin, event: &Event) {
    if event.event_type == END {
        plugin.metrics.count_labelled(&end_name(event));
        if plugin.settings.semantic_conventions == SemanticConventions::Genai0_1 {
            for (name, value) in attributes(event) {
                host::set_filter_state(name, value);
            }
        }
    } else if event.policy_class.is_some() {
        plugin.metrics.count_labelled(&policy_event_name(event));
    }
}

/// A name that the `stats_tags` of `envoy.yaml` take apart into labels.
fn end_name(event: &Event) -> String {
    let target = event.policy_target.unwrap_or(NONE);
    let labels = [("decision", text(event, "decision")), ("target", target), ("policy", text(event, "policy_id"))];
    labelled("weir.exchanges", &labels)
}

fn policy_event_name(event: &Event) -> String {
    let labels = [
        ("event", event.event_type.as_str()),
        ("class", event.policy_class.unwrap_or(NONE)),
        ("target", event.policy_target.unwrap_or(NONE)),
        ("judge", text_of_policy(event, "judge")),
        ("rule", text_of_policy(event, "rule")),
    ];
    labelled("weir.policy_events", &labels)
}

fn labelled(name: &str, labels: &[(&str, &str)]) -> String {
    let mut out = name.to_owned();
    for (label, value) in labels {
        // Writing to a String cannot fail.
        let _ = write!(out, ".{label}.");
        let value = if value.is_empty() { NONE } else { value };
        out.extend(value.chars().take(MAX_LABEL_BYTES).map(|letter| if is_plain(letter) { letter } else { '_' }));
    }
    out
}

/// Dots part a statistic's name.
const fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// Names of OpenTelemetry's semantic conventions for generative AI, version 0.1, with what they are of this exchange.
fn attributes(event: &Event) -> impl Iterator<Item = (&'static str, &str)> {
    let (operation, provider) = match event.policy_target {
        Some("messages") => (Some("chat"), Some("anthropic")),
        Some("chat.completions" | "responses") => (Some("chat"), Some("openai")),
        Some("mcp_tool") => (Some("execute_tool"), None),
        _ => (None, None),
    };
    let model = Some(text(event, "model")).filter(|model| !model.is_empty());
    [("gen_ai.operation.name", operation), ("gen_ai.provider.name", provider), ("gen_ai.request.model", model)]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
}

fn text<'e>(event: &'e Event, field: &str) -> &'e str {
    event.metadata.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// What the event says itself, or else what its policy is configured with.
fn text_of_policy<'e>(event: &'e Event, field: &str) -> &'e str {
    let own = event.metadata.get(field);
    let configured = event.policy_config.as_ref().and_then(|config| config.get(field));
    own.or(configured).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir::event::{EventKind, Severity};

    use super::*;

    fn event(event_type: &str, target: Option<&'static str>, class: Option<&'static str>, metadata: Value) -> Event {
        Event {
            id: String::new(),
            kind: EventKind::Response,
            time_ms: 0,
            call_id: None,
            trace_id: None,
            span_id: None,
            policy_target: target,
            policy_class: class,
            event_type: event_type.to_owned(),
            severity: Severity::Info,
            summary: String::new(),
            policy_config: None,
            metadata: metadata.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn the_end_of_an_exchange_is_counted_by_decision_target_and_policy() {
        let end = event(END, Some("chat.completions"), None, json!({"decision": "refuse", "policy_id": "prod default"}));
        assert_eq!(end_name(&end), "weir.exchanges.decision.refuse.target.chat_completions.policy.prod_default");
    }

    #[test]
    fn what_a_policy_did_is_counted_with_its_judge() {
        let blocked = event("judge.blocked", Some("messages"), Some("ToolCallJudge"), json!({"judge": "main.eu"}));
        let name = "weir.policy_events.event.judge_blocked.class.ToolCallJudge.target.messages.judge.main_eu.rule.none";
        assert_eq!(policy_event_name(&blocked), name);
    }

    #[test]
    fn the_judge_may_stand_in_the_configuration_of_the_policy() {
        let mut blocked = event("judge.blocked", None, Some("ToolCallJudge"), json!({}));
        blocked.policy_config = Some(json!({"judge": "main"}));
        assert!(policy_event_name(&blocked).ends_with(".judge.main.rule.none"));
    }

    #[test]
    fn a_label_has_a_bound() {
        let end = event(END, None, None, json!({"decision": "allow", "policy_id": "x".repeat(5000)}));
        assert!(end_name(&end).len() < 200);
    }

    #[test]
    fn attributes_have_the_names_of_the_conventions() {
        let names = |target| {
            let end = event(END, target, None, json!({"model": "gpt-mock"}));
            attributes(&end).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        let chat = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-mock";
        assert_eq!(names(Some("responses")), chat);
        assert_eq!(names(Some("mcp_tool")), "gen_ai.operation.name=execute_tool gen_ai.request.model=gpt-mock");
        assert_eq!(names(None), "gen_ai.request.model=gpt-mock");
    }
}
