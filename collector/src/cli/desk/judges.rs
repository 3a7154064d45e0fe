//! The judges of exchanges that are played on the desk.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_driver::{Player, ServiceReply};
use weir_engine::exchange::Callout;

/// How a judge answers questions in which `when` stands.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) when: String,
    pub(crate) answer: Answer,
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This, to whatever it is asked.
    Reply(ServiceReply),
    /// The scores of a text, as a service of moderations gives them, by category.
    Scores(BTreeMap<String, f64>),
}

/// Answers as judges do, by what stands in the question; the first entry that fits counts. Without any no judge can be asked.
/// A service of moderations is asked about several texts at once: each gets the scores of the first entry that fits it.
pub(crate) fn judged(player: Player, judges: Vec<Judged>) -> Player {
    player.answering(move |question: &Callout| {
        let body = serde_json::from_slice::<Value>(&question.body).unwrap_or_default();
        if let Some(texts) = body.get("input").and_then(Value::as_array) {
            return moderation(question, texts, &judges);
        }
        let matter = body.pointer("/messages/1/content").and_then(Value::as_str).unwrap_or_default();
        match judges.iter().find(|judge| matter.contains(judge.when.as_str())).map(|judge| &judge.answer) {
            Some(Answer::Reply(reply)) => reply.clone(),
            Some(Answer::Scores(_)) | None => ServiceReply::not_sent(),
        }
    })
}

fn moderation(question: &Callout, texts: &[Value], judges: &[Judged]) -> ServiceReply {
    let of = |text: &str| judges.iter().find(|judge| text.contains(judge.when.as_str())).map(|judge| &judge.answer);
    let fails = texts.iter().filter_map(Value::as_str).find_map(|text| match of(text) {
        Some(Answer::Reply(reply)) => Some(reply.clone()),
        Some(Answer::Scores(_)) | None => None,
    });
    let scores = |judge: &Judged| match &judge.answer {
        Answer::Scores(scores) => Some(scores.clone()),
        Answer::Reply(_) => None,
    };
    let known: Vec<String> = judges.iter().filter_map(scores).flat_map(BTreeMap::into_keys).collect();
    match fails {
        Some(reply) => reply,
        None if known.is_empty() => ServiceReply::not_sent(),
        // A service tells of all its categories, whatever the text.
        None => ServiceReply::moderation(question, |text| {
            let mut all: BTreeMap<String, f64> = known.iter().map(|name| (name.clone(), 0.0)).collect();
            if let Some(Answer::Scores(scores)) = of(text) {
                all.extend(scores.clone());
            }
            all.into_iter().collect()
        }),
    }
}
