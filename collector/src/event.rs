//! What a sender posts: a batch of events, checked strictly where the collector relies on it and kept verbatim
//! otherwise, so that a newer filter can add fields without a newer collector.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
pub use weir_events::{Kind, MAX_BATCH_EVENTS, MAX_EVENT_BYTES, MAX_EVENT_DEPTH};
use weir_events::{MAX_NAME_BYTES, MAX_NUMBER, MAX_SUMMARY_BYTES, Severity};

/// How many bytes of a hash tell two contents of one number apart.
pub(crate) const DIGEST_BYTES: usize = 8;

/// A batch whose every event has been checked.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Who sends: an opaque id for everyone who numbers events.
    pub sender: Cow<'a, str>,
    /// The sequence number of the first event.
    pub sequence: u64,
    /// How many events the sender says it has dropped so far.
    pub dropped: u64,
    /// The events, in the order of their sequence numbers.
    pub events: Vec<Event<'a>>,
}

/// One event: the fields that the collector itself looks at, and the JSON as it was sent.
#[derive(Debug)]
pub struct Event<'a> {
    /// What kind of thing happened.
    pub kind: Kind,
    /// When it happened.
    pub time_ms: u64,
    /// The whole event on one line.
    pub json: Cow<'a, str>,
}

impl Event<'_> {
    /// Hashes the content, so that what comes again under the same number can be told from something else.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        digest(&self.json)
    }
}

pub(crate) fn digest(json: &str) -> [u8; DIGEST_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(json.as_bytes()));
    [a, b, c, d, e, f, g, h]
}

/// Why a batch was not taken: which field, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The wrong field, such as `events[3].kind`; `.` is the document itself.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for Malformed {}

impl<'a> Batch<'a> {
    /// Reads and checks a batch. One wrong event refuses the whole batch, because a sender that makes one malformed
    /// event has a defect that should be seen, and because a batch is acknowledged as a whole.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let envelope: Envelope<'a> = parse_at(".", body)?;
        if envelope.sequence.0.saturating_add(envelope.events.len() as u64) > MAX_NUMBER {
            return Err(Malformed {
                path: "sequence".to_owned(),
                message: "the numbers of this batch end above 53 bits".to_owned(),
            });
        }
        let count = envelope.events.len();
        if count > MAX_BATCH_EVENTS {
            return Err(Malformed {
                path: "events".to_owned(),
                message: format!("{count} events in one batch; at most {MAX_BATCH_EVENTS} are taken"),
            });
        }
        let events = envelope
            .events
            .into_iter()
            .enumerate()
            .map(|(index, raw)| Event::parse(index, raw.get()))
            .collect::<Result<_, _>>()?;
        Ok(Self { sender: envelope.sender.0, sequence: envelope.sequence.0, dropped: envelope.dropped.0, events })
    }
}

impl Batch<'_> {
    /// Writes the batch as it is on the wire.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let sender = serde_json::to_string(self.sender.as_ref()).unwrap_or_default();
        let mut json = format!(r#"{{"sender":{sender},"sequence":{},"dropped":{},"events":["#, self.sequence, self.dropped);
        for (index, event) in self.events.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(&event.json);
        }
        json.push_str("]}");
        json.into_bytes()
    }
}

impl<'a> Event<'a> {
    fn parse(index: usize, json: &'a str) -> Result<Self, Malformed> {
        let path = || format!("events[{index}]");
        let refuse = |message| Err(Malformed { path: path(), message });
        if json.len() > MAX_EVENT_BYTES {
            return refuse(format!("{} bytes; an event may have at most {MAX_EVENT_BYTES}", json.len()));
        }
        if nests_deeper_than(MAX_EVENT_DEPTH, json) {
            return refuse(format!("arrays and objects nest deeper than {MAX_EVENT_DEPTH} levels"));
        }
        // Following the path of every field costs as much again: only what is refused is read a second time for it.
        let is_object = json.as_bytes().first() == Some(&b'{');
        let fields: Fields<'a> = match serde_json::from_str(json) {
            Ok(fields) if is_object => fields,
            _ => parse_at(&path(), json.as_bytes())?,
        };
        Ok(Self { kind: fields.kind, time_ms: fields.time_ms.0, json: on_one_line(json) })
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    sender: Text<'a, MAX_NAME_BYTES>,
    sequence: Number,
    #[serde(default)]
    dropped: Number,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// Every field that the wire format names. Most are only checked here: readers take them from the JSON.
#[derive(Deserialize)]
#[allow(dead_code, reason = "reading a field is what checks it")]
struct Fields<'a> {
    #[serde(borrow)]
    id: Text<'a, MAX_NAME_BYTES>,
    kind: Kind,
    time_ms: Number,
    event_type: Text<'a, MAX_NAME_BYTES>,
    severity: Severity,
    summary: Text<'a, MAX_SUMMARY_BYTES>,
    call_id: Option<Text<'a, MAX_NAME_BYTES>>,
    trace_id: Option<Hex<32>>,
    span_id: Option<Hex<16>>,
    policy_target: Option<Text<'a, MAX_NAME_BYTES>>,
    policy_class: Option<Text<'a, MAX_NAME_BYTES>>,
    policy_config: Option<Object>,
    metadata: Option<Object>,
}

/// A whole number that every reader holds exactly: the page and the scripts of Redis count in 64-bit floats.
#[derive(Default)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            number @ 0..=MAX_NUMBER => Ok(Self(number)),
            larger => Err(de::Error::invalid_value(de::Unexpected::Unsigned(larger), &"a whole number of at most 53 bits")),
        }
    }
}

/// A string of 1 to `MAX` bytes, borrowed unless it was escaped.
struct Text<'a, const MAX: usize>(Cow<'a, str>);

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Text<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for TextVisitor<MAX> {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a string of 1 to {MAX} bytes")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                check_length(text, &self).map(|()| Cow::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                check_length(text, &self).map(|()| Cow::Owned(text.to_owned()))
            }
        }
        fn check_length<const MAX: usize, E: de::Error>(text: &str, expected: &TextVisitor<MAX>) -> Result<(), E> {
            if (1..=MAX).contains(&text.len()) { Ok(()) } else { Err(E::invalid_length(text.len(), expected)) }
        }
        deserializer.deserialize_str(TextVisitor::<MAX>).map(Text)
    }
}

/// `LEN` hexadecimal digits.
struct Hex<const LEN: usize>;

impl<'de, const LEN: usize> Deserialize<'de> for Hex<LEN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor<const LEN: usize>;
        impl<const LEN: usize> Visitor<'_> for HexVisitor<LEN> {
            type Value = Hex<LEN>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{LEN} hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text.len() == LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    Ok(Hex)
                } else {
                    Err(E::invalid_value(de::Unexpected::Other("this string"), &self))
                }
            }
        }
        deserializer.deserialize_str(HexVisitor::<LEN>)
    }
}

/// Any JSON object.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// Parses the object `json`, which stands at `parent` in the batch, and names the wrong field from the batch's root.
fn parse_at<'a, T: Deserialize<'a>>(parent: &str, json: &'a [u8]) -> Result<T, Malformed> {
    // Serde would take the fields of a struct from an array too, in their order.
    if json.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        return Err(Malformed { path: parent.to_owned(), message: "not a JSON object".to_owned() });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let malformed = |path: &str, error: &serde_json::Error| Malformed {
        path: match (parent, path) {
            (".", path) => path.to_owned(),
            (parent, ".") => parent.to_owned(),
            (parent, path) => format!("{parent}.{path}"),
        },
        message: describe(error),
    };
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| malformed(&error.path().to_string(), error.inner()))?;
    deserializer.end().map_err(|error| malformed(".", &error))?;
    Ok(value)
}

/// The message of a JSON error. The path already says where a wrong value stands; line and column, which count from
/// the start of one event, would contradict it.
fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((message, _)) if error.is_data() => message.to_owned(),
        _ => message,
    }
}

/// Valid JSON has line breaks only between tokens, so a space says the same. Server-sent events and Redis tools show
/// one event on one line.
fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { Cow::Owned(json.replace(['\n', '\r'], " ")) } else { Cow::Borrowed(json) }
}

fn nests_deeper_than(limit: usize, json: &str) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth = depth.saturating_add(1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"e-1","kind":"request","time_ms":1760000000000,"call_id":"c-1",
        "event_type":"request.received","severity":"info","summary":"a request"}"#;

    fn batch(event: &str) -> String {
        format!(r#"{{"sender":"s","sequence":7,"dropped":0,"events":[{EVENT},{event}]}}"#)
    }

    fn refusal(body: &str) -> (String, String) {
        let malformed = Batch::parse(body.as_bytes()).expect_err("the batch is malformed");
        (malformed.path, malformed.message)
    }

    #[test]
    fn an_event_is_kept_verbatim_with_fields_that_are_not_known() {
        let event = EVENT.replace('{', r#"{"invented_later":{"a":[1.50,"\u00e9"]},"#);
        let body = batch(&event);
        let batch = Batch::parse(body.as_bytes()).expect("unknown fields are accepted");
        assert_eq!(batch.events[1].json, event.replace('\n', " "));
        assert_eq!((batch.sender.as_ref(), batch.sequence, batch.events[1].kind), ("s", 7, Kind::Request));
    }

    #[test]
    fn the_wrong_field_is_named_by_its_path() {
        for (event, path, message) in [
            (EVENT.replace("\"request\"", "\"reqest\""), "events[1].kind", "unknown variant `reqest`"),
            (EVENT.replace("\"e-1\"", "\"\""), "events[1].id", "invalid length 0, expected a string of 1 to 128 bytes"),
            (EVENT.replace("1760000000000", "-1"), "events[1].time_ms", "invalid value: integer `-1`, expected u64"),
            (EVENT.replace("\"severity\":\"info\",", ""), "events[1]", "missing field `severity`"),
            (EVENT.replace('{', r#"{"trace_id":"abc","#), "events[1].trace_id", "expected 32 hexadecimal digits"),
            (EVENT.replace('{', r#"{"metadata":[1],"#), "events[1].metadata", "expected a JSON object"),
            (EVENT.replace('{', r#"{"kind":"error","#), "events[1]", "duplicate field `kind`"),
            ("17".to_owned(), "events[1]", "not a JSON object"),
            (r#"["e-1","request",1,"t","info","s"]"#.to_owned(), "events[1]", "not a JSON object"),
        ] {
            let (found_path, found_message) = refusal(&batch(&event));
            assert_eq!(found_path, path, "for {event}");
            assert!(found_message.contains(message), "{found_message:?} should say {message:?}");
        }
    }

    #[test]
    fn the_wrong_field_of_the_envelope_is_named_too() {
        let good = batch(EVENT);
        assert_eq!(refusal(&good.replace("\"sequence\":7", "\"sequence\":\"7\"")).0, "sequence");
        assert_eq!(refusal(&good.replace("\"sequence\":7", "\"sequence\":18446744073709551615")).0, "sequence");
        assert_eq!(refusal(&good.replace("\"s\"", "null")).0, "sender");
        assert_eq!(refusal(r#"{"sender":"s","sequence":0,"events":{}}"#).0, "events");
        for not_an_object in ["[1", "17", r#"["s",0,0,[]]"#] {
            assert_eq!(refusal(not_an_object), (".".to_owned(), "not a JSON object".to_owned()));
        }
        assert_eq!(refusal("").0, ".");
        let (path, message) = refusal(&format!("{good} x"));
        assert_eq!(path, ".");
        assert!(message.starts_with("trailing characters at line 3"), "{message}");
    }

    #[test]
    fn an_event_is_bounded_in_size_and_depth_and_a_batch_in_events() {
        let long = EVENT.replace('{', &format!(r#"{{"pad":"{}","#, "x".repeat(MAX_EVENT_BYTES)));
        assert_eq!(refusal(&batch(&long)).0, "events[1]");

        let nested = |depth: usize| {
            let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            batch(&EVENT.replace('{', &format!(r#"{{"pad":{value},"#)))
        };
        assert!(Batch::parse(nested(MAX_EVENT_DEPTH - 1).as_bytes()).is_ok());
        assert!(refusal(&nested(MAX_EVENT_DEPTH)).1.contains("deeper than 64 levels"));

        let brackets_in_a_string = EVENT.replace("a request", &format!(r#"\"{}"#, "[".repeat(100)));
        assert!(Batch::parse(batch(&brackets_in_a_string).as_bytes()).is_ok());

        let many = vec![EVENT; MAX_BATCH_EVENTS + 1].join(",");
        assert_eq!(refusal(&format!(r#"{{"sender":"s","sequence":0,"events":[{many}]}}"#)).0, "events");
    }
}
