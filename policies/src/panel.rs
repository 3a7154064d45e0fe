//! Several judges that are asked at once.

use serde::{Deserialize, Serialize};
use weir::document::{DocumentError, PolicyConfig};
use weir::judge::{JudgeError, JudgeQuestion, Verdict};
use weir::limits::FailureMode;
use weir::policy::PolicyContext;

/// Most judges of a panel.
const MAX_MEMBERS: usize = 8;

/// Judges, and how many of them it takes.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Panel {
    judges: Vec<Member>,
    #[serde(default)]
    decide: Quorum,
    #[serde(default)]
    pub(crate) on_error: FailureMode,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Member {
    judge: String,
    #[serde(default = "Member::default_threshold")]
    threshold: f64,
}

impl Member {
    const fn default_threshold() -> f64 {
        0.6
    }
}

/// How many judges have to find harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quorum {
    /// One.
    #[default]
    Any,
    /// More than half.
    Majority,
    /// All.
    All,
}

/// What a panel came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Opinion {
    Harmless,
    /// With the words of the first judge that found harm.
    Harmful(Verdict),
    /// It takes judges that gave no verdict.
    Unknown(JudgeError),
}

impl Panel {
    pub(crate) fn check(&self, config: PolicyConfig<'_>) -> Result<(), DocumentError> {
        if self.judges.is_empty() || self.judges.len() > MAX_MEMBERS {
            return Err(DocumentError::new("judges", "must be 1 to 8"));
        }
        for (index, member) in self.judges.iter().enumerate() {
            if !config.judges.contains_key(member.judge.as_str()) {
                let message = format!("there is no judge {:?} under judges", member.judge);
                return Err(DocumentError::new(format!("judges[{index}].judge"), message));
            }
            if !(0.0..=1.0).contains(&member.threshold) {
                return Err(DocumentError::new(format!("judges[{index}].threshold"), "must be between 0 and 1"));
            }
        }
        Ok(())
    }

    /// Names the judges, for events.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.judges.iter().map(|member| member.judge.as_str()).collect()
    }

    /// Asks all of them; every question is sent before the first answer is awaited.
    pub(crate) async fn ask<S: Default>(&self, instructions: &str, matter: &str, cx: &PolicyContext<S>) -> Opinion {
        let ask = |member: &Member| cx.judge(JudgeQuestion { judge: &member.judge, instructions, matter });
        let questions: Vec<_> = self.judges.iter().map(|member| (member.threshold, ask(member))).collect();
        let mut answers = Vec::with_capacity(questions.len());
        for (threshold, question) in questions {
            let answer = question.await;
            answers.push(answer.map(|verdict| if verdict.probability >= threshold { Some(verdict) } else { None }));
            if self.decide == Quorum::Any
                && let Some(Ok(Some(verdict))) = answers.last()
            {
                return Opinion::Harmful(verdict.clone());
            }
        }
        self.count(answers)
    }

    /// What the answers amount to. Those that are missing could have been either.
    fn count(&self, answers: Vec<Result<Option<Verdict>, JudgeError>>) -> Opinion {
        let all = answers.len();
        let needed = match self.decide {
            Quorum::Any => 1,
            Quorum::Majority => (all / 2).saturating_add(1),
            Quorum::All => all,
        };
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        let harmful = answers.iter().filter(|answer| matches!(answer, Ok(Some(_)))).count();
        let mut failure = None;
        let mut words = None;
        for answer in answers {
            match answer {
                Ok(Some(verdict)) => words = words.or(Some(verdict)),
                Ok(None) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match (words, failure) {
            (Some(verdict), _) if harmful >= needed => Opinion::Harmful(verdict),
            (_, Some(error)) if harmful.saturating_add(failed) >= needed => Opinion::Unknown(error),
            _ => Opinion::Harmless,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(decide: Quorum, answers: &str) -> Opinion {
        let panel = Panel { judges: Vec::new(), decide, on_error: FailureMode::Block };
        let verdict = || Verdict { probability: 0.9, explanation: "bad".to_owned() };
        let answers = answers.chars().map(|answer| match answer {
            '!' => Ok(Some(verdict())),
            '.' => Ok(None),
            _ => Err(JudgeError::TimedOut),
        });
        panel.count(answers.collect())
    }

    #[test]
    fn a_quorum_counts_and_what_is_missing_could_have_been_either() {
        for (decide, answers, expected) in [
            (Quorum::Any, "...", '.'),
            (Quorum::Any, "..!", '!'),
            (Quorum::Any, ".?.", '?'),
            (Quorum::Any, "?!.", '!'),
            (Quorum::Majority, "!..", '.'),
            (Quorum::Majority, "!!.", '!'),
            (Quorum::Majority, "!?.", '?'),
            (Quorum::Majority, "?..", '.'),
            (Quorum::Majority, "!.", '.'),
            (Quorum::All, "!!.", '.'),
            (Quorum::All, "!!!", '!'),
            (Quorum::All, "!!?", '?'),
            (Quorum::All, "!.?", '.'),
        ] {
            let found = match opinion(decide, answers) {
                Opinion::Harmless => '.',
                Opinion::Harmful(_) => '!',
                Opinion::Unknown(_) => '?',
            };
            assert_eq!(found, expected, "{decide:?} {answers}");
        }
    }
}
