//! Goes through a JSON value along its schema, in one pass.
//!
//! The walker either checks, and stops at the first thing that is not plain, or writes anew. Both go the same way, so
//! that what was written is plain. How deep it calls itself is bounded by the schema, which has no cycles.

use smallvec::SmallVec;

use super::schema::{Kind, Member, Members, Object, Schema, Wants};
use crate::wire::json::{self, Malformed, Reader};

/// Most choices of one frame: more are more frames.
const MAX_ENTRIES: usize = 64;

/// Why a walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Malformed(Malformed),
    /// Something is not plain. Only where nothing is written.
    NotPlain,
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What whoever writes a response does in all of its events: the first one that tells decides, for readers take all of them
/// alike or leave some out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Choices have no index.
    lacks_index: Option<bool>,
    /// Events that say something have the label.
    has_label: Option<bool>,
    /// In which of two members that are joined each choice has spoken first.
    spoken: Spoken,
}

/// Choices by the one of two members in which they have spoken first: a bit each, the last one for all that have none of
/// their own.
#[derive(Clone, Copy, Debug)]
struct Spoken([u64; 2]);

impl Spoken {
    /// The member in which `choice` speaks, once it has spoken in `now`.
    const fn first(&mut self, choice: u32, now: usize) -> usize {
        let bit = match 1_u64.checked_shl(choice) {
            Some(bit) => bit,
            None => 1 << 63,
        };
        let [one, other] = &mut self.0;
        if *one & bit != 0 {
            return 0;
        }
        if *other & bit != 0 {
            return 1;
        }
        *(if now == 0 { one } else { other }) |= bit;
        now
    }
}

impl Habits {
    /// Those of a response of which nothing came so far.
    pub(super) const UNKNOWN: Self = Self { lacks_index: None, has_label: None, spoken: Spoken([0; 2]) };
}

/// The choices of a frame, as they were written: which index, and up to where in the output.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Where the first one begins.
    start: usize,
    ends: SmallVec<[(u32, usize); 4]>,
    /// Some of them cannot be in one frame.
    is_split: bool,
}

impl Entries {
    /// Calls `each` with the frames that `written` has to become, and their numbers.
    pub(super) fn frames(&self, written: &str, mut each: impl FnMut(&str, usize)) {
        if !self.is_split {
            return each(written, 0);
        }
        let end = self.ends.last().map_or(self.start, |(_, end)| *end);
        let before = written.get(..self.start).unwrap_or_default();
        let after = written.get(end.saturating_sub(1)..).unwrap_or_default();
        let mut from = self.start;
        for (position, (_, end)) in self.ends.iter().enumerate() {
            // One entry a frame: there are readers that take the first alone.
            let entry = written.get(from..end.saturating_sub(1)).unwrap_or_default();
            each(&[before, entry, after].concat(), position);
            from = *end;
        }
    }
}

pub(super) struct Walker<'a> {
    source: &'a str,
    schema: &'static Schema,
    wants: Wants,
    /// A whole body, which cannot become several.
    whole: bool,
    /// What is written; `None` where the walk only checks.
    out: Option<&'a mut String>,
    pub(super) entries: Entries,
    /// One of the anchors was written, or found.
    pub(super) has_anchor: bool,
    /// Something was taken out before `entries`: they are not where they say.
    pub(super) has_moved: bool,
    /// Something was not plain, and was put right.
    pub(super) was_changed: bool,
    depth: u32,
    /// The `type` of the frame.
    r#type: Option<String>,
    /// How the events of this response are written.
    pub(super) habits: Habits,
    /// The label that the frame has is that of its schema.
    is_labelled: bool,
    /// The frame has what its label is for.
    has_content: bool,
    /// The index of the choice at hand.
    choice: u32,
    /// Whether the frame has one of the anchors, once somebody asked.
    is_anchored: Option<bool>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(source: &'a str, schema: &'static Schema, wants: Wants, whole: bool, out: Option<&'a mut String>) -> Self {
        Self {
            source,
            schema,
            wants,
            whole,
            out,
            entries: Entries::default(),
            has_anchor: false,
            has_moved: false,
            was_changed: false,
            depth: 0,
            r#type: None,
            habits: Habits::UNKNOWN,
            is_labelled: false,
            has_content: false,
            choice: 0,
            is_anchored: None,
        }
    }

    /// As [`Self::new`], for a response whose events so far were written so.
    pub(super) const fn after(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    /// The name that an event has by the type of its data; none where the type cannot be a name.
    pub(super) fn name_by_type(&self) -> &str {
        self.r#type.as_deref().filter(|name| !name.contains(char::is_control)).unwrap_or_default()
    }

    /// Walks the frame, an object; false if it is something else.
    pub(super) fn frame(&mut self, reader: &mut Reader<'a>) -> Result<bool, Stop> {
        let object = if self.whole { self.schema.body } else { self.schema.event };
        self.value(reader, &Kind::Object(object))
    }

    /// Walks a value; false if it may not stay, and then nothing of it counts.
    fn value(&mut self, reader: &mut Reader<'a>, kind: &Kind) -> Result<bool, Stop> {
        let first = reader.peek();
        match kind {
            Kind::Echo { kind, .. } => return self.value(reader, kind),
            Kind::Object(object) if first == Some(b'{') => return self.object(reader, object),
            Kind::Array(of) if first == Some(b'[') => return self.array(reader, of),
            Kind::Entries { of, index } if first == Some(b'[') => return self.entries(reader, of, index),
            Kind::Either(one, other) => {
                let kind = if accepts(one, first) { one } else { other };
                return self.value(reader, kind);
            }
            _ => {}
        }
        let start = reader.position();
        reader.skip()?;
        let literal = self.source.get(start..reader.position()).unwrap_or_default();
        let stays = match kind {
            Kind::String => first == Some(b'"'),
            Kind::Word(words) => first == Some(b'"') && words.contains(&json::string(literal).as_ref()),
            Kind::Integer => is_integer(literal),
            Kind::Index => literal.parse::<u32>().is_ok() && is_number(first),
            Kind::Number => is_number(first) && literal.parse::<f64>().is_ok_and(f64::is_finite),
            Kind::Scalar => matches!(first, Some(b'"' | b't' | b'f')) || is_number(first),
            Kind::Free => !self.bears_carrier(literal),
            Kind::Opaque | Kind::Instead(_) => true,
            Kind::Object(_) | Kind::Array(_) | Kind::Entries { .. } | Kind::Either(..) | Kind::Echo { .. } => false,
        };
        if stays {
            self.push(literal);
        } else {
            self.fault()?;
        }
        Ok(stays)
    }

    fn object(&mut self, reader: &mut Reader<'a>, object: &'static Object) -> Result<bool, Stop> {
        let kind = self.type_of(reader, object)?;
        let members = object.members_of(kind.as_deref());
        let is_top = self.depth == 0;
        if is_top {
            self.r#type = kind;
        }
        self.depth = self.depth.saturating_add(1);
        self.push("{");
        let object_start = reader.position();
        let mut written = Written::new(self.position());
        let mut said = [None; 2];
        reader.object::<Stop>(|reader, key| {
            let start = self.position();
            let Some((number, member)) = members.find(key) else { return self.unknown(reader, key, members) };
            if written.has(number) {
                self.fault()?;
            }
            self.push_key(key);
            let is_null = reader.peek() == Some(b'n');
            let value_start = reader.position();
            let mut stays = if is_null { self.null(reader, member)? } else { self.value(reader, &member.kind)? };
            if member.default.is_some() && self.habits.lacks_index == Some(true) {
                self.fault()?;
                stays = false;
            }
            if let Kind::Echo { class, is_echo, .. } = member.kind
                && stays
                && !is_null
                && self.wants.cover(class)
            {
                let value = self.source.get(value_start..reader.position()).unwrap_or_default();
                stays = is_echo(self.source.get(object_start..).unwrap_or_default(), value);
                if !stays {
                    self.fault()?;
                }
            }
            self.push(",");
            if stays {
                if let Some(joined) = self.schema.joined
                    && let Some(place) = joined.iter().position(|name| *name == member.name)
                    && let Some(said) = said.get_mut(place)
                {
                    *said = self.source.get(value_start..reader.position()).filter(|value| says_something(value));
                }
                if let Some(label) = &self.schema.label {
                    self.has_content |= !is_null && member.name == label.content;
                    if is_top && member.name == label.member {
                        let value = self.source.get(value_start..reader.position()).unwrap_or_default();
                        self.is_labelled = json::string(value) == label.word;
                    }
                }
                self.has_anchor |= is_top && !is_null && self.schema.anchors.contains(&member.name);
                written.add(number, start, self.position());
            } else {
                self.truncate(start);
            }
            Ok(())
        })?;
        for (number, member) in members.iter() {
            if let Kind::Instead(other) = member.kind
                && written.has(number)
                && let Some((other, _)) = members.find(other)
                && written.has(other)
            {
                self.fault()?;
                written.remove(other);
            }
            let is_missing = !written.has(number) && self.habits.lacks_index != Some(true);
            let Some(default) = member.default.filter(|_| is_missing) else { continue };
            self.fault()?;
            self.push_key(member.name);
            self.push(default);
            self.push(",");
        }
        self.join(members, said, &mut written)?;
        if is_top {
            self.label(members, &mut written)?;
        }
        self.depth = self.depth.saturating_sub(1);
        if let Some(out) = &mut self.out {
            written.drop_stale(out);
            self.has_moved |= is_top && written.has_stale;
        }
        self.close("}");
        Ok(true)
    }

    /// Lets what a message says in two members that are joined stand in the one in which its choice has spoken first.
    fn join(&mut self, members: Members, said: [Option<&'a str>; 2], written: &mut Written) -> Result<(), Stop> {
        let Some(joined) = self.schema.joined.filter(|_| self.wants.text) else { return Ok(()) };
        let numbers = joined.map(|name| members.find(name).map(|(number, _)| number));
        let [Some(one), Some(other)] = numbers else { return Ok(()) };
        let now = match said {
            [None, None] => return Ok(()),
            [None, Some(_)] => 1,
            _ => 0,
        };
        let first = self.habits.spoken.first(self.choice, now);
        if first == now && said.iter().flatten().count() == 1 {
            return Ok(());
        }
        self.fault()?;
        written.remove(one);
        written.remove(other);
        // A list has no place in a member that is a string.
        let texts = said.into_iter().flatten().filter_map(|value| value.strip_prefix('"')?.strip_suffix('"'));
        let text = texts.collect::<String>();
        self.push_key(joined.get(first).copied().unwrap_or_default());
        self.push("\"");
        self.push(&text);
        self.push("\",");
        Ok(())
    }

    /// Gives the frame the label that the others of its response have, or takes it.
    fn label(&mut self, members: Members, written: &mut Written) -> Result<(), Stop> {
        let Some(label) = self.schema.label.as_ref().filter(|_| self.has_content && !self.whole) else { return Ok(()) };
        let has_label = *self.habits.has_label.get_or_insert(self.is_labelled);
        if has_label == self.is_labelled {
            return Ok(());
        }
        self.fault()?;
        if let Some((number, _)) = members.find(label.member)
            && written.has(number)
        {
            written.remove(number);
        }
        if has_label {
            self.push_key(label.member);
            self.push(&json::to_text(label.word));
            self.push(",");
        }
        Ok(())
    }

    /// A null in place of the value of `member`; false if there has to be one.
    fn null(&mut self, reader: &mut Reader<'a>, member: &Member) -> Result<bool, Stop> {
        reader.skip()?;
        let may_be_null = member.default.is_none() && !matches!(member.kind, Kind::Instead(_));
        if may_be_null {
            self.push("null");
        } else {
            self.fault()?;
        }
        Ok(may_be_null)
    }

    /// A member that is not known.
    fn unknown(&mut self, reader: &mut Reader<'a>, key: &str, members: Members) -> Result<(), Stop> {
        reader.peek();
        let start = reader.position();
        reader.skip()?;
        let value = self.source.get(start..reader.position()).unwrap_or_default();
        if members.has_variant(key) || (!members.is_open() && self.carries(key, value)) {
            return self.fault();
        }
        self.push_key(key);
        self.push(value);
        self.push(",");
        Ok(())
    }

    fn array(&mut self, reader: &mut Reader<'a>, of: &Kind) -> Result<bool, Stop> {
        self.depth = self.depth.saturating_add(1);
        self.push("[");
        reader.array::<Stop>(|reader| {
            let start = self.position();
            if self.value(reader, of)? {
                self.push(",");
            } else {
                self.truncate(start);
            }
            Ok(())
        })?;
        self.depth = self.depth.saturating_sub(1);
        self.close("]");
        Ok(true)
    }

    /// The choices: one of each index in a frame.
    fn entries(&mut self, reader: &mut Reader<'a>, of: &'static Object, index: &str) -> Result<bool, Stop> {
        self.depth = self.depth.saturating_add(1);
        self.push("[");
        let mut entries = Entries { start: self.position(), ..Entries::default() };
        reader.array::<Stop>(|reader| {
            let start = self.position();
            let index = index_of(reader, index)?;
            // Whoever leaves it out does so always, and readers take all of the choices alike or none.
            let is_object = reader.peek() == Some(b'{');
            let lacks_index = self.habits.lacks_index.unwrap_or_else(|| is_object && index.is_none());
            self.habits.lacks_index = self.habits.lacks_index.or_else(|| is_object.then_some(lacks_index));
            let index = index.filter(|_| !lacks_index).unwrap_or(0);
            self.choice = index;
            let is_known = entries.ends.iter().any(|(known, _)| *known == index);
            // In a body there is no place for it. No reader counts so far.
            if is_known || entries.ends.len() >= MAX_ENTRIES {
                self.fault()?;
                entries.is_split |= !self.whole;
            }
            if self.value(reader, &Kind::Object(of))? && !(is_known && self.whole) {
                self.push(",");
                entries.ends.push((index, self.position()));
            } else {
                self.truncate(start);
            }
            Ok(())
        })?;
        self.depth = self.depth.saturating_sub(1);
        self.entries = entries;
        self.close("]");
        Ok(true)
    }

    /// The `type` of the object that comes next, where it matters.
    fn type_of(&self, reader: &Reader<'a>, object: &Object) -> Result<Option<String>, Stop> {
        if object.variants.is_empty() {
            return Ok(None);
        }
        let mut kind = None;
        reader.clone().object::<Stop>(|reader, key| {
            if key == "type" && reader.peek() == Some(b'"') {
                let start = reader.position();
                reader.skip()?;
                kind = Some(json::string(self.source.get(start..reader.position()).unwrap_or_default()).into_owned());
                return Ok(());
            }
            Ok(reader.skip()?)
        })?;
        Ok(kind)
    }

    /// Whether a member that is not known carries what the chain looks at. Of a frame of unknown type the text does not
    /// count, for policies see all its strings.
    fn carries(&mut self, key: &str, value: &str) -> bool {
        if !(self.schema.is_carrier(key, self.wants) || self.bears_carrier(value)) {
            return false;
        }
        let is_anchored = *self.is_anchored.get_or_insert_with(|| is_known(self.source, self.schema, self.whole));
        if is_anchored {
            return true;
        }
        let wants = Wants { text: false, ..self.wants };
        self.schema.is_carrier(key, wants) || json::keys(value, |key| self.schema.is_carrier(key, wants))
    }

    /// Whether a key in `value` is the name of something that carries what the chain looks at.
    fn bears_carrier(&self, value: &str) -> bool {
        json::keys(value, |key| self.schema.is_carrier(key, self.wants))
    }

    /// Something is not plain.
    fn fault(&mut self) -> Result<(), Stop> {
        self.was_changed = true;
        if self.out.is_some() { Ok(()) } else { Err(Stop::NotPlain) }
    }

    fn position(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.len())
    }

    fn push(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            out.push_str(text);
        }
    }

    fn push_key(&mut self, key: &str) {
        if let Some(out) = &mut self.out {
            out.push_str(&json::to_text(key));
            out.push(':');
        }
    }

    fn truncate(&mut self, position: usize) {
        if let Some(out) = &mut self.out {
            out.truncate(position);
        }
    }

    /// Ends a list, behind whose last item a comma stands.
    fn close(&mut self, end: &str) {
        if let Some(out) = &mut self.out {
            if out.ends_with(',') {
                out.pop();
            }
            out.push_str(end);
        }
    }
}

/// The known members of an object that were found, and where they were written.
struct Written {
    start: usize,
    found: u128,
    removed: u128,
    /// Number, beginning and end of each.
    places: SmallVec<[(u32, usize, usize); 16]>,
    has_stale: bool,
}

impl Written {
    fn new(start: usize) -> Self {
        Self { start, found: 0, removed: 0, places: SmallVec::new(), has_stale: false }
    }

    const fn bit(number: u32) -> u128 {
        match 1_u128.checked_shl(number) {
            Some(bit) => bit,
            None => 0,
        }
    }

    const fn has(&self, number: u32) -> bool {
        self.found & Self::bit(number) != 0
    }

    fn add(&mut self, number: u32, start: usize, end: usize) {
        self.has_stale |= self.has(number);
        self.found |= Self::bit(number);
        // Where nothing is written, none has a place.
        if start < end {
            self.places.push((number, start, end));
        }
    }

    /// Takes back a member that was written.
    const fn remove(&mut self, number: u32) {
        self.removed |= Self::bit(number);
        self.has_stale = true;
    }

    /// Takes out of what was written what was taken back, and every member that came again: the last one is what most
    /// readers take.
    fn drop_stale(&self, out: &mut String) {
        if !self.has_stale {
            return;
        }
        let (mut later, mut stale) = (self.removed, Vec::new());
        for (number, start, end) in self.places.iter().rev() {
            if later & Self::bit(*number) != 0 {
                stale.push(*start..*end);
            }
            later |= Self::bit(*number);
        }
        let mut kept = String::new();
        let mut from = self.start;
        for range in stale.iter().rev() {
            kept.push_str(out.get(from..range.start).unwrap_or_default());
            from = range.end;
        }
        kept.push_str(out.get(from..).unwrap_or_default());
        out.truncate(self.start);
        out.push_str(&kept);
    }
}

/// The last index that the object that comes next says it has: 0 where it is none, and `None` where it says nothing of it.
fn index_of(reader: &Reader<'_>, name: &str) -> Result<Option<u32>, Stop> {
    let mut index = None;
    let mut ahead = reader.clone();
    if ahead.peek() == Some(b'{') {
        ahead.object::<Stop>(|reader, key| {
            if key == name {
                let mut number = reader.clone();
                let is_index = is_number(number.peek());
                index = if is_index { number.optional_u32().ok().flatten() } else { None }.or(index).or(Some(0));
            }
            Ok(reader.skip()?)
        })?;
    }
    Ok(index)
}

/// Whether the frame `source` is of a type that is known: it has one of the anchors, or a list that is known.
fn is_known(source: &str, schema: &Schema, whole: bool) -> bool {
    let object = if whole { schema.body } else { schema.event };
    let is_list = |member: &Member| matches!(member.kind, Kind::Array(_) | Kind::Entries { .. });
    let mut found = false;
    let read = Reader::new(source).object::<Malformed>(|reader, key| {
        let is_of_it = schema.anchors.contains(&key) || object.members.iter().any(|member| member.name == key && is_list(member));
        found |= is_of_it && reader.peek() != Some(b'n');
        reader.skip()
    });
    found || read.is_err()
}

fn accepts(kind: &Kind, first: Option<u8>) -> bool {
    match kind {
        Kind::Object(_) => first == Some(b'{'),
        Kind::Array(_) | Kind::Entries { .. } => first == Some(b'['),
        Kind::String | Kind::Word(_) => first == Some(b'"'),
        Kind::Integer | Kind::Index | Kind::Number => is_number(first),
        Kind::Scalar => !matches!(first, Some(b'{' | b'[')),
        Kind::Either(one, other) => accepts(one, first) || accepts(other, first),
        Kind::Echo { kind, .. } => accepts(kind, first),
        Kind::Free | Kind::Opaque | Kind::Instead(_) => true,
    }
}

/// Whether a text, or a list of parts of one, has anything in it.
fn says_something(value: &str) -> bool {
    !matches!(value, "null" | "\"\"" | "[]")
}

const fn is_number(first: Option<u8>) -> bool {
    matches!(first, Some(b'-' | b'0'..=b'9'))
}

/// Whether it is a whole number that is exact in every reader.
fn is_integer(literal: &str) -> bool {
    const EXACT: u64 = 1 << 53;
    literal.parse::<i64>().is_ok_and(|number| number.unsigned_abs() < EXACT)
}
