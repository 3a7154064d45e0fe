//! Reads a JSON frame in one pass without building anything of it.
//!
//! Who reads says what it wants of each member; all the rest is skipped, but has to be JSON, too. The tests hold the
//! reader against serde_json: both accept the same frames. Nothing here copies or allocates, except for keys that are
//! written with escapes and for what is nested deeper than 64 levels.

use core::ops::Range;

use memchr::memchr;

use crate::wire::scan::skip_plain;

/// What stands here is not JSON, or not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Offset in bytes from the start of the frame.
    pub(crate) at: usize,
}

/// A value that was found to be JSON: where it stands in the frame, quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) form: Form,
}

/// What can be told of a value while it is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string without escapes: what stands between its quotes is its value.
    PlainString,
    EscapedString,
    Array,
    Other,
}

/// A member that may be missing or null, but must not stand twice: readers differ in which one they take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<T>(Option<Option<T>>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Copy> Field<T> {
    /// Reads the value of the member.
    pub(crate) fn fill<'a, E: From<Malformed>>(
        &mut self,
        reader: &mut Reader<'a>,
        read: impl FnOnce(&mut Reader<'a>) -> Result<Option<T>, E>,
    ) -> Result<(), E> {
        if self.0.is_some() {
            return Err(reader.malformed().into());
        }
        self.0 = Some(read(reader)?);
        Ok(())
    }

    /// The value; `None` for a missing member and for null.
    pub(crate) const fn get(self) -> Option<T> {
        match self.0 {
            Some(value) => value,
            None => None,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    source: &'a str,
    /// What is still unread of it.
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(source: &'a str) -> Self {
        Self { source, rest: source.as_bytes() }
    }

    /// A reader that stands before `value` of `frame`, to read it once more.
    pub(crate) fn at(source: &'a str, value: Value) -> Self {
        Self { source, rest: source.as_bytes().get(value.start..).unwrap_or_default() }
    }

    /// The value as it stands in the frame.
    pub(crate) fn text(&self, value: Value) -> &'a str {
        self.source.get(value.start..value.end).unwrap_or_default()
    }

    /// Makes sure that nothing is left.
    pub(crate) fn end(mut self) -> Result<(), Malformed> {
        if self.peek().is_none() { Ok(()) } else { Err(self.malformed()) }
    }

    /// Reads an object: calls `member` with each key, to read or skip the value.
    pub(crate) fn object<E: From<Malformed>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.require(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.require(b'"')?;
            let start = self.position();
            let form = self.skip_string()?;
            let key = self.source.get(start..self.position().saturating_sub(1)).unwrap_or_default();
            self.require(b':')?;
            if form == Form::PlainString {
                member(self, key)?;
            } else {
                let key = self.unescape_key(key)?;
                member(self, &key)?;
            }
            if !self.take(b',') {
                return Ok(self.require(b'}')?);
            }
        }
    }

    /// As [`Self::object`], where null may stand in place of the object.
    pub(crate) fn optional_object<E: From<Malformed>>(
        &mut self,
        member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<Option<()>, E> {
        if self.take_null()? { Ok(None) } else { self.object(member).map(Some) }
    }

    /// Reads an object of which only the members of these names matter: their values, `None` for a missing one and for null.
    pub(crate) fn members<const N: usize>(&mut self, names: [&str; N]) -> Result<[Option<Value>; N], Malformed> {
        let mut fields = [Field::default(); N];
        self.object(|reader, key| {
            match names.iter().position(|name| *name == key).and_then(|position| fields.get_mut(position)) {
                Some(field) => field.fill(reader, Reader::optional_value),
                None => reader.skip(),
            }
        })?;
        Ok(fields.map(Field::get))
    }

    /// As [`Self::members`], where null may stand in place of the object.
    pub(crate) fn optional_members<const N: usize>(&mut self, names: [&str; N]) -> Result<Option<[Option<Value>; N]>, Malformed> {
        if self.take_null()? { Ok(None) } else { self.members(names).map(Some) }
    }

    /// Reads an array: calls `element` before each element, to read or skip it.
    pub(crate) fn array<E: From<Malformed>>(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.require(b'[')?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.take(b',') {
                return Ok(self.require(b']')?);
            }
        }
    }

    /// As [`Self::array`], where null may stand in place of the array.
    pub(crate) fn optional_array<E: From<Malformed>>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<()>, E> {
        if self.take_null()? { Ok(None) } else { self.array(element).map(Some) }
    }

    /// Skips a value and tells where it stands; `None` for null.
    pub(crate) fn optional_value(&mut self) -> Result<Option<Value>, Malformed> {
        if self.take_null()? { Ok(None) } else { self.value().map(Some) }
    }

    /// As [`Self::optional_value`], for a string.
    pub(crate) fn optional_string(&mut self) -> Result<Option<Value>, Malformed> {
        match self.peek() {
            Some(b'"' | b'n') => self.optional_value(),
            _ => Err(self.malformed()),
        }
    }

    /// Reads a number that is no fraction, or null.
    pub(crate) fn optional_u32(&mut self) -> Result<Option<u32>, Malformed> {
        if self.take_null()? {
            return Ok(None);
        }
        if let [b'0', rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(Some(0));
        }
        let mut number: Option<u32> = None;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            let digit = u32::from(digit.saturating_sub(b'0'));
            number = number.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
            if number.is_none() {
                break;
            }
            self.rest = rest;
        }
        number.map(Some).ok_or_else(|| self.malformed())
    }

    /// Reads true, false or null.
    pub(crate) fn optional_bool(&mut self) -> Result<Option<bool>, Malformed> {
        match self.peek() {
            Some(b't') => self.skip_word(b"true").map(|()| Some(true)),
            Some(b'f') => self.skip_word(b"false").map(|()| Some(false)),
            _ => self.skip_word(b"null").map(|()| None),
        }
    }

    /// Skips a value and tells where it stands; null is one.
    pub(crate) fn value(&mut self) -> Result<Value, Malformed> {
        let first = self.peek();
        let start = self.position();
        let form = match first {
            Some(b'"') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                self.skip_string()?
            }
            Some(b'[') => {
                self.skip_nested()?;
                Form::Array
            }
            _ => {
                self.skip()?;
                Form::Other
            }
        };
        Ok(Value { start, end: self.position(), form })
    }

    /// Skips a value.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// The error of this place.
    #[cold]
    pub(crate) const fn malformed(&self) -> Malformed {
        Malformed { at: self.position() }
    }

    /// Offset in bytes of what is read next.
    #[inline]
    pub(crate) const fn position(&self) -> usize {
        self.source.len().saturating_sub(self.rest.len())
    }

    /// The next byte that is no white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.rest {
                [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] => self.rest = rest,
                [byte, ..] => return Some(*byte),
                [] => return None,
            }
        }
    }

    /// Takes `byte`, after white space, if it comes next.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        if comes {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        comes
    }

    #[inline]
    fn require(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.take(byte) { Ok(()) } else { Err(self.malformed()) }
    }

    #[inline]
    fn take_null(&mut self) -> Result<bool, Malformed> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.skip_word(b"null")?;
        Ok(true)
    }

    fn skip_word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        self.rest = self.rest.strip_prefix(word).ok_or_else(|| self.malformed())?;
        Ok(())
    }

    fn skip_scalar(&mut self) -> Result<(), Malformed> {
        match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.skip_string().map(|_| ())
            }
            [b'n', ..] => self.skip_word(b"null"),
            [b't', ..] => self.skip_word(b"true"),
            [b'f', ..] => self.skip_word(b"false"),
            _ => self.skip_number(),
        }
    }

    fn skip_number(&mut self) -> Result<(), Malformed> {
        self.rest = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        match self.rest {
            [b'0', rest @ ..] => self.rest = rest,
            _ => self.skip_digits()?,
        }
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
            self.skip_digits()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = if let [b'+' | b'-', rest @ ..] = rest { rest } else { rest };
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), Malformed> {
        let [b'0'..=b'9', ..] = self.rest else { return Err(self.malformed()) };
        while let [b'0'..=b'9', rest @ ..] = self.rest {
            self.rest = rest;
        }
        Ok(())
    }

    /// Skips the rest of a string whose opening quote was read.
    fn skip_string(&mut self) -> Result<Form, Malformed> {
        match skip_string(self.rest) {
            Ok((form, rest)) => {
                self.rest = rest;
                Ok(form)
            }
            Err(wrong) => {
                self.rest = wrong;
                Err(self.malformed())
            }
        }
    }

    /// Skips an object or an array, without recursion: what is skipped may be nested as deeply as it likes.
    fn skip_nested(&mut self) -> Result<(), Malformed> {
        let mut open = Nesting::default();
        loop {
            let begins_object = match self.peek() {
                Some(b'{') => Some(true),
                Some(b'[') => Some(false),
                _ => None,
            };
            match begins_object {
                None => self.skip_scalar()?,
                Some(is_object) => {
                    self.rest = self.rest.get(1..).unwrap_or_default();
                    if !self.take(if is_object { b'}' } else { b']' }) {
                        open.push(is_object);
                        if is_object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
            }
            // A value has ended, and with it perhaps what it stands in.
            loop {
                let Some(is_object) = open.innermost() else { return Ok(()) };
                if self.take(b',') {
                    if is_object {
                        self.skip_key()?;
                    }
                    break;
                }
                self.require(if is_object { b'}' } else { b']' })?;
                open.pop();
            }
        }
    }

    #[inline]
    fn skip_key(&mut self) -> Result<(), Malformed> {
        self.require(b'"')?;
        self.skip_string()?;
        self.require(b':')
    }

    #[cold]
    fn unescape_key(&self, key: &str) -> Result<String, Malformed> {
        let mut unescaped = String::new();
        super::unescape_into(key, &mut unescaped).map_err(|_| self.malformed())?;
        Ok(unescaped)
    }
}

/// Which of the values that are open are objects; the others are arrays.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    /// The innermost levels, one bit each.
    innermost: u64,
    /// The levels around them, 64 in each.
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.innermost);
        }
        self.depth = self.depth.saturating_add(1);
        self.innermost = self.innermost << 1 | u64::from(is_object);
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.innermost >>= 1;
        if self.depth.is_multiple_of(64) {
            self.innermost = self.outer.pop().unwrap_or_default();
        }
    }

    const fn innermost(&self) -> Option<bool> {
        if self.depth == 0 { None } else { Some(self.innermost & 1 == 1) }
    }
}

/// Takes a string from the front of `bytes`: as a frame of its own, and what follows it.
pub(crate) fn take_string(bytes: &[u8]) -> Option<(&str, Value, &[u8])> {
    let (form, rest) = skip_string(bytes.strip_prefix(b"\"")?).ok()?;
    let string = bytes.get(..bytes.len().saturating_sub(rest.len()))?;
    let string = core::str::from_utf8(string).ok()?;
    Some((string, Value { start: 0, end: string.len(), form }, rest))
}

/// Calls `each` with every string in `part` of a frame that was found to be JSON, but for keys.
pub(crate) fn string_leaves<E>(source: &str, part: Range<usize>, mut each: impl FnMut(Value) -> Result<(), E>) -> Result<(), E> {
    let mut unread = source.as_bytes().get(..part.end).and_then(|bytes| bytes.get(part.start..)).unwrap_or_default();
    while let Some((_, from)) = memchr(b'"', unread).and_then(|quote| unread.split_at_checked(quote)) {
        let start = part.end.saturating_sub(from.len());
        let Some((string, value, rest)) = take_string(from) else { break };
        unread = rest;
        // Nothing but a key has a colon behind it.
        if !rest.trim_ascii_start().starts_with(b":") {
            each(Value { start, end: start.saturating_add(string.len()), form: value.form })?;
        }
    }
    Ok(())
}

/// Whether `each` says so of any key in `part`, JSON.
pub(crate) fn keys(part: &str, mut each: impl FnMut(&str) -> bool) -> bool {
    let mut unread = part.as_bytes();
    while let Some((_, from)) = memchr(b'"', unread).and_then(|quote| unread.split_at_checked(quote)) {
        let Some((string, value, rest)) = take_string(from) else { break };
        unread = rest;
        if !rest.trim_ascii_start().starts_with(b":") {
            continue;
        }
        let inner = string.get(1..string.len().saturating_sub(1)).unwrap_or_default();
        let mut unescaped = String::new();
        let is_readable = value.form == Form::PlainString || super::unescape_into(inner, &mut unescaped).is_ok();
        if is_readable && each(if value.form == Form::PlainString { inner } else { &unescaped }) {
            return true;
        }
    }
    false
}

/// Skips the rest of a string whose opening quote was read; an error is what begins with what cannot stand there.
fn skip_string(mut bytes: &[u8]) -> Result<(Form, &[u8]), &[u8]> {
    let mut form = Form::PlainString;
    loop {
        bytes = skip_plain(bytes);
        bytes = match bytes {
            [b'"', rest @ ..] => return Ok((form, rest)),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => rest,
            [b'\\', b'u', a, b, c, d, rest @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => rest,
            wrong => return Err(wrong),
        };
        form = Form::EscapedString;
    }
}

#[cfg(test)]
mod tests;
