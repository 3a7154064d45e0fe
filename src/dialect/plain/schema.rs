//! What frames of a dialect are made of, as static tables.

use super::names::{is_folded_same, is_same_but_folded};
use crate::policy::SharedPolicy;

/// Everything that is known of the frames of a dialect.
#[derive(Debug)]
pub(in crate::dialect) struct Schema {
    /// The data of an event.
    pub(in crate::dialect) event: &'static Object,
    /// A whole body.
    pub(in crate::dialect) body: &'static Object,
    /// The names that some reader takes for text or for a part of a call, wherever they stand: in lower case, with
    /// underscores. A member that is not known stays only where neither it nor any key in it is one of these.
    pub(in crate::dialect) carriers: &'static [(&'static str, Class)],
    /// The members of which one at least has to be left of an event that was written anew, for it to leave.
    pub(in crate::dialect) anchors: &'static [&'static str],
    /// What the name of an event may be.
    pub(in crate::dialect) event_name: EventName,
    /// The name of an event of which no client reads the data, and what stands for data that is no object.
    pub(in crate::dialect) idle: Option<(&'static str, &'static str)>,
    /// What may lack the blank line at its end: a last event that says nothing to clients that leave such events out.
    pub(in crate::dialect) unended: &'static [&'static str],
    /// What the stream ends with instead of JSON; nothing leaves behind it.
    pub(in crate::dialect) terminator: Option<&'static str>,
    /// What an event is called that says something.
    pub(in crate::dialect) label: Option<Label>,
    /// Two members of a message whose texts some reader joins as they come, while others keep them apart: all that a choice
    /// says stands in the one of them that said something first.
    pub(in crate::dialect) joined: Option<[&'static str; 2]>,
}

/// A word that events have which say something. There are readers that leave out every event without it, so that all of a
/// response have it, or none.
#[derive(Debug)]
pub(in crate::dialect) struct Label {
    /// The member of the event that it is the value of.
    pub(in crate::dialect) member: &'static str,
    /// The word.
    pub(in crate::dialect) word: &'static str,
    /// The member, anywhere in the event, with which it says something.
    pub(in crate::dialect) content: &'static str,
}

/// What the name of an event may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) enum EventName {
    /// None where the data has one of the anchors: there are readers that leave out events with a name that they do not know.
    Missing,
    /// As it came: the decoder looks at it.
    Free,
    /// None, or the `type` of the data: readers differ in which of the two they go by.
    LikeType,
}

/// Whose concern it is what a member carries. What no policy of the chain looks at stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) enum Class {
    /// It carries text alone.
    Text,
    /// It carries calls alone.
    Calls,
    /// It can carry either.
    Frame,
}

/// What the policies of a chain look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Text of any kind.
    pub(crate) text: bool,
    /// Tool calls.
    pub(crate) calls: bool,
    /// Reasoning, too, where it is not signed.
    pub(crate) reasoning: bool,
}

impl Wants {
    /// What these policies look at.
    pub(crate) fn of(policies: &[SharedPolicy]) -> Self {
        policies.iter().map(|policy| policy.interests()).fold(Self::default(), |wants, interests| Self {
            text: wants.text || interests.content || interests.content_text,
            calls: wants.calls || interests.tool_calls,
            reasoning: wants.reasoning || (interests.content && interests.reasoning),
        })
    }

    /// Whether any policy looks at anything.
    pub(crate) const fn any(self) -> bool {
        self.text || self.calls
    }

    pub(super) const fn cover(self, class: Class) -> bool {
        match class {
            Class::Text => self.text,
            Class::Calls => self.calls,
            Class::Frame => self.any(),
        }
    }
}

/// An object: the members that are known of it.
#[derive(Debug)]
pub(in crate::dialect) struct Object {
    /// Those that it has whatever its `type`.
    pub(in crate::dialect) members: &'static [Member],
    /// Those that it has besides, by its `type`: the first variant that fits counts. An object of a type that is not
    /// listed has the former alone, and what it has more stays by the rule of unknown members.
    pub(in crate::dialect) variants: &'static [Variant],
}

/// The name of a member that stands for all that are not listed: they stay, whatever they are.
pub(in crate::dialect) const ANY_MEMBER: &str = "*";

/// The members of an object of one `type`, or of several.
#[derive(Debug)]
pub(in crate::dialect) struct Variant {
    /// The type; `*` at one end stands for anything, and `None` for no type.
    pub(in crate::dialect) of: Option<&'static str>,
    /// Its members. One that stands in the object's own as well counts as it stands here.
    pub(in crate::dialect) members: &'static [Member],
}

/// A member of an object.
#[derive(Debug)]
pub(in crate::dialect) struct Member {
    pub(in crate::dialect) name: &'static str,
    pub(in crate::dialect) kind: Kind,
    /// The value that it is given where it is missing, null or of a wrong type; `None`: it may be missing and null.
    pub(in crate::dialect) default: Option<&'static str>,
}

impl Member {
    /// A member that may be missing, that may be null, and that is removed where it is of another type.
    pub(in crate::dialect) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, default: None }
    }

    /// A member that has a value in any case.
    pub(in crate::dialect) const fn with_default(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, kind, default: Some(default) }
    }
}

/// What a value may be. One that is anything else is removed with its member, or as the element that it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::dialect) enum Kind {
    String,
    /// A string out of these.
    Word(&'static [&'static str]),
    /// A whole number that every reader can hold.
    Integer,
    /// A number from 0 to 2³²−1.
    Index,
    /// A number that is finite to every reader.
    Number,
    /// A string, a number or a boolean: what it says is for the decoder to find out.
    Scalar,
    Object(&'static Object),
    Array(&'static Self),
    /// The choices of a chunk: objects, no two of them with the same index, which is the member of that name. Where two
    /// are, the frame becomes several.
    Entries {
        of: &'static Object,
        index: &'static str,
    },
    /// The first that accepts the first byte of the value.
    Either(&'static Self, &'static Self),
    /// Anything but null, and in its presence no member of this name: readers differ in which of the two they look at first.
    Instead(&'static str),
    /// As `kind` says; and where the chain looks at `class` only if `is_echo` says so of the object that it stands in and of
    /// itself: it says again what other members say, and goes where they are changed.
    Echo {
        kind: &'static Self,
        class: Class,
        is_echo: fn(&str, &str) -> bool,
    },
    /// Anything in which no carrier stands.
    Free,
    /// Anything.
    Opaque,
}

/// The members of an object of this type.
#[derive(Clone, Copy)]
pub(super) struct Members {
    own: &'static [Member],
    variant: &'static [Member],
}

impl Object {
    /// The members of such an object of the type `kind`.
    pub(super) fn members_of(&self, kind: Option<&str>) -> Members {
        let variant = self.variants.iter().find(|variant| match (variant.of, kind) {
            (Some(pattern), Some(kind)) => is_match(pattern, kind),
            (None, None) => true,
            _ => false,
        });
        Members { own: self.members, variant: variant.map_or(&[], |variant| variant.members) }
    }
}

fn is_match(pattern: &str, kind: &str) -> bool {
    if let Some(end) = pattern.strip_prefix('*') {
        kind.ends_with(end)
    } else if let Some(beginning) = pattern.strip_suffix('*') {
        kind.starts_with(beginning)
    } else {
        pattern == kind
    }
}

impl Members {
    /// All of them, each with a number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &'static Member)> {
        let is_overridden = |member: &&Member| self.variant.iter().any(|other| other.name == member.name);
        (0..).zip(self.variant.iter().chain(self.own.iter().filter(move |member| !is_overridden(member))))
    }

    /// Whether members that are not known stay, whatever they are.
    pub(super) fn is_open(&self) -> bool {
        self.iter().any(|(_, member)| member.name == ANY_MEMBER)
    }

    pub(super) fn find(&self, key: &str) -> Option<(u32, &'static Member)> {
        self.iter().find(|(_, member)| member.name == key && key != ANY_MEMBER)
    }

    /// Whether `key` is a known member but for the case of its letters.
    pub(super) fn has_variant(&self, key: &str) -> bool {
        self.iter().any(|(_, member)| is_same_but_folded(key, member.name))
    }
}

impl Schema {
    /// Whether `key` is the name of something that carries what the chain looks at.
    pub(super) fn is_carrier(&self, key: &str, wants: Wants) -> bool {
        self.carriers.iter().any(|(name, class)| wants.cover(*class) && is_folded_same(key, name))
    }
}
