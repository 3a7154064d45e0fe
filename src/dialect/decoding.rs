//! Reading frames: what the dialects share.

use core::ops::Range;

use super::{DecodeError, MAX_BLOCKS, MAX_NAME_BYTES};
use crate::block::BlockId;
use crate::wire::json::{self, Form, Malformed, StringError, Value};

/// Capacity that the buffer for unescaped strings keeps between frames.
const KEPT_CAPACITY: usize = 64 * 1024;

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed { at: malformed.at }
    }
}

/// `bytes` as text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    core::str::from_utf8(bytes).map_err(|error| DecodeError::Utf8 { at: error.valid_up_to() })
}

/// Whether `key` is one of `names` but for the case of its letters: some readers (Go's) take it for the same.
pub(in crate::dialect) fn is_variant(key: &str, names: &[&str]) -> bool {
    let is_same = |name: &str| {
        let folded = key.chars().map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            letter => letter.to_ascii_lowercase(),
        });
        folded.eq(name.chars())
    };
    names.iter().any(|name| *name != key && is_same(name))
}

/// Where the characters of a string are: in the frame itself, or in what [`Strings`] unescaped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    Verbatim { start: usize, end: usize },
    Unescaped { start: usize, end: usize },
}

impl Text {
    pub(super) const EMPTY: Self = Self::Verbatim { start: 0, end: 0 };

    /// `value` as it stands in the frame.
    pub(super) const fn verbatim(value: Value) -> Self {
        Self::Verbatim { start: value.start, end: value.end }
    }

    /// The string in the frame that this is; `None` where it was unescaped.
    pub(super) const fn value(self) -> Option<Value> {
        match self {
            Self::Verbatim { start, end } => {
                Some(Value { start: start.saturating_sub(1), end: end.saturating_add(1), form: Form::PlainString })
            }
            Self::Unescaped { .. } => None,
        }
    }

    pub(super) const fn is_empty(self) -> bool {
        let (Self::Verbatim { start, end } | Self::Unescaped { start, end }) = self;
        start == end
    }
}

/// The strings of one frame that have escapes, unescaped into one buffer that is reused for the next frame.
#[derive(Debug, Default)]
pub(super) struct Strings {
    unescaped: String,
}

impl Strings {
    /// Forgets the strings of the frame before.
    pub(super) fn clear(&mut self) {
        if !self.unescaped.is_empty() {
            self.unescaped.clear();
            self.unescaped.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Reads the string `value` of `frame`; a string that is missing or null is empty.
    pub(super) fn read(&mut self, source: &str, value: Option<Value>) -> Result<Text, DecodeError> {
        let Some(value) = value else { return Ok(Text::EMPTY) };
        let (start, end) = (value.start.saturating_add(1), value.end.saturating_sub(1));
        match value.form {
            Form::PlainString => Ok(Text::Verbatim { start, end }),
            Form::EscapedString => self.unescape(source.get(start..end).unwrap_or_default(), value),
            Form::Array | Form::Other => Err(DecodeError::Malformed { at: value.start }),
        }
    }

    /// The strings in `part` of `frame` but for keys and `kind`, which says what it is; one a line.
    pub(super) fn leaves(&mut self, source: &str, part: Range<usize>, kind: Option<Value>) -> Result<Text, DecodeError> {
        let start = self.unescaped.len();
        json::string_leaves(source, part, |value| {
            if Some(value) == kind {
                return Ok(());
            }
            if self.unescaped.len() > start {
                self.unescaped.push('\n');
            }
            let (start, end) = (value.start.saturating_add(1), value.end.saturating_sub(1));
            self.unescape(source.get(start..end).unwrap_or_default(), value).map(|_| ())
        })?;
        Ok(Text::Unescaped { start, end: self.unescaped.len() })
    }

    /// Where a text begins that is put together with [`Self::push`] and [`Self::push_read`], for [`Self::since`].
    pub(super) fn begin(&self) -> usize {
        self.unescaped.len()
    }

    /// Adds `text` to a text that is put together.
    pub(super) fn push(&mut self, text: &str) {
        self.unescaped.push_str(text);
    }

    /// Adds the string `value` of `frame`.
    pub(super) fn push_read(&mut self, source: &str, value: Option<Value>) -> Result<(), DecodeError> {
        if let Text::Verbatim { start, end } = self.read(source, value)? {
            self.unescaped.push_str(source.get(start..end).unwrap_or_default());
        }
        Ok(())
    }

    /// What was put together since `start`.
    pub(super) fn since(&self, start: usize) -> Text {
        Text::Unescaped { start, end: self.unescaped.len() }
    }

    fn unescape(&mut self, inner: &str, value: Value) -> Result<Text, DecodeError> {
        let start = self.unescaped.len();
        match json::unescape_into(inner, &mut self.unescaped) {
            Ok(()) => Ok(Text::Unescaped { start, end: self.unescaped.len() }),
            Err(StringError::LoneSurrogate) => Err(DecodeError::LoneSurrogate),
            Err(StringError::NotAString) => Err(DecodeError::Malformed { at: value.start }),
        }
    }

    /// The characters of `text`, a string of `frame`.
    pub(super) fn get<'s>(&'s self, source: &'s str, text: Text) -> &'s str {
        match text {
            Text::Verbatim { start, end } => source.get(start..end),
            Text::Unescaped { start, end } => self.unescaped.get(start..end),
        }
        .unwrap_or_default()
    }
}

/// Numbers the blocks of a response.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct BlockNumbers {
    next: u32,
    /// How many of them count against the bound.
    counted: usize,
}

impl BlockNumbers {
    /// The number of a block that begins.
    pub(super) fn begin(&mut self) -> Result<BlockId, DecodeError> {
        if self.counted >= MAX_BLOCKS {
            return Err(DecodeError::TooManyBlocks);
        }
        self.counted = self.counted.saturating_add(1);
        Ok(self.begin_unknown())
    }

    /// The number of an event of unknown type. There may be any number of them: nothing is kept of one that has passed.
    pub(super) const fn begin_unknown(&mut self) -> BlockId {
        let block = BlockId(self.next);
        self.next = self.next.saturating_add(1);
        block
    }
}

/// The bytes of a response's ids and names so far.
#[derive(Debug, Default)]
pub(super) struct NameBytes(usize);

impl NameBytes {
    /// Counts one more, if it may be kept.
    pub(super) fn add(&mut self, name: &str) -> Result<(), DecodeError> {
        self.0 = self.0.saturating_add(name.len());
        if self.0 <= MAX_NAME_BYTES { Ok(()) } else { Err(DecodeError::NamesTooLong) }
    }
}
