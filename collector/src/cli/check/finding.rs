//! What `weir check` finds.

use serde_json::{Value, json};

use crate::cli::desk::{Fault, Source};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Error,
    Warning,
}

impl Level {
    /// Names it; SARIF has the same words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What kinds of findings there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unreadable,
    Invalid,
    FailsOpen,
    Ungoverned,
    UnusedJudge,
    Secret,
    EmptyChain,
    Unreachable,
    NotInDialect,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::Invalid,
        Self::FailsOpen,
        Self::Ungoverned,
        Self::UnusedJudge,
        Self::Secret,
        Self::EmptyChain,
        Self::Unreachable,
        Self::NotInDialect,
    ];

    pub(super) const fn level(self) -> Level {
        match self {
            Self::Unreadable | Self::Invalid => Level::Error,
            _ => Level::Warning,
        }
    }

    /// Names it for programs.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Invalid => "invalid",
            Self::FailsOpen => "fails-open",
            Self::Ungoverned => "ungoverned",
            Self::UnusedJudge => "unused-judge",
            Self::Secret => "secret-in-document",
            Self::EmptyChain => "empty-chain",
            Self::Unreachable => "unreachable",
            Self::NotInDialect => "not-in-dialect",
        }
    }

    /// Says what it is, in general.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Unreadable => "The file cannot be read, or is neither YAML nor JSON",
            Self::Invalid => "The filter refuses the document",
            Self::FailsOpen => "What cannot be checked passes",
            Self::Ungoverned => "Requests to a route pass unread",
            Self::UnusedJudge => "No policy asks a judge",
            Self::Secret => "A secret stands in the document",
            Self::EmptyChain => "The document has no policy, and everything passes unread",
            Self::Unreachable => "A policy or rule never decides anything",
            Self::NotInDialect => "A setting is for what the dialects of the document do not have",
        }
    }
}

/// Something that is wrong with a document, or may not be what was meant.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) fault: Fault,
}

impl Finding {
    pub(super) fn json(&self) -> Value {
        let Fault { place, path, message, hint, .. } = &self.fault;
        json!({
            "level": self.kind.level().name(),
            "rule": self.kind.id(),
            "path": path,
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "message": message,
            "hint": hint,
        })
    }
}

/// The findings of a file, as they are found.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    source: &'a Source,
    pub(super) all: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) const fn new(source: &'a Source) -> Self {
        Self { source, all: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, path: impl AsRef<str>, message: impl AsRef<str>) {
        let fault = self.source.fault(path.as_ref(), message.as_ref());
        self.all.push(Finding { kind, fault });
    }
}
