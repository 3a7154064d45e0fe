use super::*;
use proptest::prelude::*;

/// Name and data of an event.
type Fields = (Vec<u8>, Option<Vec<u8>>);

/// Cuts `body`, given in chunks; also checks that the raw ranges are the body.
fn cut<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Fields> {
    let mut parser = Parser::new(1 << 20);
    let (mut events, mut body, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in chunks {
        body.extend_from_slice(chunk);
        let mut input = chunk;
        while let Some(event) = parser.next(&mut input).unwrap() {
            raw.extend_from_slice(event.raw);
            events.push((event.name.to_vec(), event.data.map(<[u8]>::to_vec)));
        }
        assert!(input.is_empty(), "a parser that asks for more has used up its input");
        assert_eq!(body.len().checked_sub(raw.len()), Some(parser.pending()), "what has not left waits");
    }
    if let Some(event) = parser.finish() {
        raw.extend_from_slice(event.raw);
        events.push((event.name.to_vec(), event.data.map(<[u8]>::to_vec)));
    }
    assert!(parser.finish().is_none(), "a body ends once");
    assert_eq!(raw, body, "the raw ranges are the body");
    events
}

fn event(name: &str, data: &str) -> Fields {
    (name.into(), Some(data.into()))
}

const NOTHING: Fields = (Vec::new(), None);

#[test]
fn fields_are_read_as_browsers_read_them() {
    let cases: &[(&str, &str, Vec<Fields>)] = &[
        ("line ends LF", "data: a\n\n", vec![event("", "a")]),
        ("line ends CR", "data: a\r\r", vec![event("", "a")]),
        ("line ends CRLF", "data: a\r\n\r\n", vec![event("", "a")]),
        ("line ends mixed", "event: x\rdata: a\r\ndata: b\n\r\n", vec![event("x", "a\nb")]),
        ("several data lines", "data: a\ndata\ndata: c\n\n", vec![event("", "a\n\nc")]),
        ("one space is dropped, not two", "data:a\n\ndata:  b\n\n", vec![event("", "a"), event("", " b")]),
        ("a colon in the value", "data: a: b\n\n", vec![event("", "a: b")]),
        ("last event field wins", "event: a\nevent: b\ndata: c\n\n", vec![event("b", "c")]),
        ("comment", ": keep-alive\n\ndata: a\n\n", vec![NOTHING, event("", "a")]),
        ("other fields", "id: 1\nretry: 2\ndatas: x\ndata: a\n\n", vec![event("", "a")]),
        ("name without data", "event: ping\n\n", vec![(b"ping".to_vec(), None)]),
        ("blank lines between events", "data: a\n\n\n\ndata: b\n\n", vec![event("", "a"), NOTHING, NOTHING, event("", "b")]),
        ("byte order mark", "\u{feff}data: a\n\n", vec![event("", "a")]),
        ("byte order mark on a line of its own", "\u{feff}\ndata: a\n\n", vec![event("", "a")]),
        ("byte order mark later is data", "data: a\n\n\u{feff}data: b\n\n", vec![event("", "a"), NOTHING]),
        ("last event without blank line", "data: a\n\ndata: b\n", vec![event("", "a"), event("", "b")]),
        ("last line without end", "data: a\n\ndata: b", vec![event("", "a"), event("", "b")]),
        ("empty body", "", vec![]),
    ];
    for (case, body, expected) in cases {
        assert_eq!(&cut([body.as_bytes()]), expected, "{case}");
    }
}

#[test]
fn an_event_within_its_input_is_borrowed_from_it() {
    let body = b"event: x\ndata: abc\n\nrest";
    let mut parser = Parser::new(100);
    let mut input: &[u8] = body;
    let event = parser.next(&mut input).unwrap().unwrap();
    let within = |part: &[u8]| body.as_ptr_range().contains(&part.as_ptr());
    assert!(within(event.raw) && within(event.name) && within(event.data.unwrap()), "nothing was copied");
}

#[test]
fn the_lf_of_a_crlf_belongs_to_the_event_that_it_ends() {
    let mut parser = Parser::new(100);
    let mut input: &[u8] = b"data: a\r\n\r";
    assert!(parser.next(&mut input).unwrap().is_none(), "where lines end in CRLF the LF is all but there");
    let mut input: &[u8] = b"\ndata: b\r\n\r\n";
    assert_eq!(parser.next(&mut input).unwrap().unwrap().raw, b"data: a\r\n\r\n");
    assert_eq!(parser.next(&mut input).unwrap().unwrap().raw, b"data: b\r\n\r\n");
    let mut input: &[u8] = b"data: c\r\n\r";
    assert!(parser.next(&mut input).unwrap().is_none());
    let mut input: &[u8] = b"data: d\r\n\r\n";
    assert_eq!(parser.next(&mut input).unwrap().unwrap().raw, b"data: c\r\n\r", "it did not come");
}

#[test]
fn an_event_of_lines_that_end_in_cr_does_not_wait_for_a_lf() {
    let mut parser = Parser::new(100);
    let mut input: &[u8] = b"data: a\r\r";
    assert_eq!(parser.next(&mut input).unwrap().unwrap().data, Some(&b"a"[..]));
    let mut input: &[u8] = b"\ndata: b\n\n";
    let event = parser.next(&mut input).unwrap().unwrap();
    assert_eq!((event.raw, event.data), (&b"\ndata: b\n\n"[..], Some(&b"b"[..])), "the LF begins the next raw range");
}

#[test]
fn an_event_beyond_the_limit_is_an_error_whatever_the_chunking() {
    for size in 1..30 {
        let mut parser = Parser::new(16);
        let results: Vec<bool> =
            b"data: 0123456789abcdef\n\n".chunks(size).map(|chunk| parser.next(&mut &*chunk).is_err()).collect();
        assert!(results.contains(&true), "chunks of {size}");
    }
    let mut parser = Parser::new(16);
    let mut input: &[u8] = b"data: 012345678\n\n";
    assert_eq!(parser.next(&mut input).err(), Some(EventTooLarge { limit: 16 }));
    let mut input: &[u8] = b"data: 01234567\n\n";
    assert!(Parser::new(16).next(&mut input).unwrap().is_some(), "just within");
}

#[test]
fn a_large_event_does_not_hold_its_memory() {
    let mut parser = Parser::new(1 << 21);
    let line = [b"data: ".as_slice(), &[b'x'; 1 << 20], b"\n"].concat();
    assert!(parser.next(&mut line.as_slice()).unwrap().is_none());
    assert!(parser.next(&mut b"\n".as_slice()).unwrap().is_some());
    assert!(parser.next(&mut b"".as_slice()).unwrap().is_none());
    assert!(parser.tail.capacity() <= KEPT_CAPACITY);
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "data: a", "data:b", "data", "event: x", "event:y", ": c", "id: 1", "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n",
        "\u{feff}", "é", ":", " ",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

/// An event that a client never sees; where they fall depends on whether a CR was followed by its LF in time.
fn is_seen(event: &Fields) -> bool {
    *event != NOTHING
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(body in lines(), cuts in prop::collection::vec(0usize..80, 0..6)) {
        let whole: Vec<Fields> = cut([body.as_slice()]).into_iter().filter(is_seen).collect();
        let bytewise: Vec<Fields> = cut(body.chunks(1)).into_iter().filter(is_seen).collect();
        prop_assert_eq!(&whole, &bytewise);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).chain([0, body.len()]).collect();
        cuts.sort_unstable();
        let split: Vec<Fields> = cut(cuts.windows(2).map(|pair| &body[pair[0]..pair[1]])).into_iter().filter(is_seen).collect();
        prop_assert_eq!(&whole, &split);
    }
}
