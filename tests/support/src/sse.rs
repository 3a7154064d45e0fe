//! Server-sent events as a client reads them, written for clarity and apart from the engine's parser.

/// One event that a client would dispatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty when there is none.
    pub name: String,
    /// The `data` fields, joined by LF.
    pub data: String,
    /// Whether a blank line ended the event. A client that follows the specification drops one that was not ended.
    pub ended: bool,
}

/// All events of a body; comments and blocks without data are left out, as clients do.
pub fn read(body: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(body);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut events = Vec::new();
    let mut name = String::new();
    let mut data: Option<String> = None;
    for line in lines(text) {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push(Event { name: core::mem::take(&mut name), data, ended: true });
            }
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    if let Some(data) = data {
        events.push(Event { name, data, ended: false });
    }
    events
}

/// The lines of `text`; CRLF, LF and CR each end one.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        let skip = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + skip..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        let event = |name: &str, data: &str, ended| Event { name: name.to_owned(), data: data.to_owned(), ended };
        assert_eq!(
            read(b"\xef\xbb\xbf: hi\ndata: a\r\ndata:b\r\revent: x\ndata\n\n\ndata: cut"),
            [event("", "a\nb", true), event("x", "", true), event("", "cut", false)]
        );
    }
}
