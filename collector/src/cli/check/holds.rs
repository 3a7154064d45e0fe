//! The most that policies hold of answers.

use serde_json::{Value, json};
use weir_engine::chain::Chain;
use weir_engine::policy::Hold;
use weir_engine::rollout::Mode;
use weir_policies::Rules;

/// The most that a policy, or a rule of it, holds of an answer.
#[derive(Debug)]
pub(super) struct Held {
    document: String,
    policy: String,
    /// The mode of its own rollout.
    rollout: Option<Mode>,
    rule: Option<String>,
    hold: Hold,
}

impl Held {
    const fn bytes(&self) -> Option<usize> {
        match self.hold {
            Hold::Nothing => Some(0),
            Hold::Bytes(bytes) => Some(bytes),
            Hold::Calls | Hold::Texts | Hold::Unknown => None,
        }
    }

    /// Says it in words.
    pub(super) fn text(&self) -> String {
        let hold = self.words();
        let rollout = self.rollout.map(|mode| format!(" ({})", mode.name())).unwrap_or_default();
        match &self.rule {
            None => format!("{}{rollout} holds {hold}", self.policy),
            Some(rule) => format!("{}{rollout}, rule {rule:?}, holds {hold}", self.policy),
        }
    }

    fn words(&self) -> String {
        match self.hold {
            Hold::Nothing => "nothing".to_owned(),
            Hold::Bytes(bytes) => format!("at most {bytes} bytes of text"),
            Hold::Calls => "tool calls until they are decided, and no text".to_owned(),
            Hold::Texts => "each text until it is decided".to_owned(),
            Hold::Unknown => "what it says itself".to_owned(),
        }
    }

    /// Gives it to programs; `bytes` is null where it has no bound in bytes but the limits of the document.
    pub(super) fn json(&self) -> Value {
        let (bytes, hold) = (self.bytes(), self.words());
        let rollout = self.rollout.map(Mode::name);
        json!({"document": self.document, "policy": self.policy, "rollout_mode": rollout, "rule": self.rule, "bytes": bytes,
            "hold": hold})
    }
}

/// Lists the policies of a chain; behind each of `rules` what its rules hold.
pub(super) fn of(chain: &Chain, document: &Value) -> Vec<Held> {
    let mut held = Vec::new();
    for (index, policy) in chain.policies.iter().enumerate() {
        let rollout = policy.rollout().map(|rollout| rollout.mode);
        let one = |rule: Option<String>, hold: Hold| Held {
            document: chain.id.clone(),
            policy: policy.name().to_owned(),
            rollout,
            rule,
            hold,
        };
        held.push(one(None, policy.greatest_hold()));
        let entry = document.get("chain").and_then(|chain| chain.get(index));
        let with = entry.filter(|entry| entry.get("use").is_some_and(|name| name == "rules")).and_then(|entry| entry.get("with"));
        if let Some(rules) = with.and_then(|with| Rules::holds_of(&with.to_string()).ok()) {
            held.extend(rules.into_iter().map(|rule| {
                let hold = rule.hold();
                one(Some(rule.id), hold)
            }));
        }
    }
    held
}
