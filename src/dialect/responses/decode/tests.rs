//! What cannot be is an error: each test breaks what the decoder holds true.

use serde_json::{Value, json};

use super::Decoder;
use crate::dialect::{DecodeError, Frame};

fn feed(decoder: &mut Decoder, event: &Value) -> Result<(), DecodeError> {
    decoder.event(event.to_string().as_bytes(), &mut Frame::default(), &mut |_| {})
}

fn event(kind: &str, more: Value) -> Value {
    let mut event = json!({"type": format!("response.{kind}"), "output_index": 0});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// A decoder of a response that has begun with this item and these events.
fn decoder_of(item: &Value, events: &[Value]) -> Decoder {
    let mut decoder = Decoder::default();
    feed(&mut decoder, &event("output_item.added", json!({"item": item}))).unwrap();
    events.iter().for_each(|event| feed(&mut decoder, event).unwrap());
    decoder
}

#[track_caller]
fn assert_unreachable(decoder: &mut Decoder, event: &Value) {
    let mut parts = 0_u32;
    let (data, mut frame) = (event.to_string(), Frame::default());
    let again = decoder.event_again(b"", data.as_bytes(), &mut frame, &mut |_| parts += 1);
    let result = again.and_then(|_| decoder.event(data.as_bytes(), &mut frame, &mut |_| parts += 1));
    assert!(matches!(result, Err(DecodeError::Unreachable(_))), "{event}: {result:?}");
    assert_eq!(parts, 0, "nothing is said of {event}");
}

#[test]
fn an_item_that_is_gone_lets_no_event_pass() {
    let part = json!({"type": "output_text", "text": "a"});
    let item = json!({"type": "message", "content": [part]});
    for (kind, more) in [
        ("output_text.delta", json!({"delta": "a"})),
        ("output_text.done", json!({"text": "a"})),
        ("refusal.delta", json!({"delta": "a"})),
        ("reasoning_summary_text.delta", json!({"delta": "a"})),
        ("content_part.added", json!({"part": part})),
        ("content_part.done", json!({"part": part})),
        ("output_text.annotation.added", json!({})),
        ("function_call_arguments.delta", json!({"delta": "a"})),
        ("function_call_arguments.done", json!({"arguments": "a"})),
        ("shell_call_command.added", json!({"command": "a"})),
        ("shell_call_command.done", json!({"command": "a"})),
        ("output_item.done", json!({"item": item})),
        ("web_search_call.searching", json!({})),
    ] {
        let mut decoder = decoder_of(&json!({"type": "message"}), &[]);
        decoder.items.lose();
        assert_unreachable(&mut decoder, &event(kind, more));
    }
}

#[test]
fn a_delta_like_an_earlier_one_of_an_item_or_a_part_that_is_gone_does_not_pass() {
    for (item, kind) in [("message", "output_text"), ("function_call", "function_call_arguments")] {
        let delta = event(&format!("{kind}.delta"), json!({"delta": "a"}));
        let mut decoder = decoder_of(&json!({"type": item}), &[delta.clone(), delta.clone()]);
        decoder.items.lose();
        assert_unreachable(&mut decoder, &delta);
    }
    let delta = event("output_text.delta", json!({"delta": "a"}));
    let mut decoder = decoder_of(&json!({"type": "message"}), &[delta.clone(), delta.clone()]);
    decoder.items.iter_mut().for_each(|item| item.parts.clear());
    assert_unreachable(&mut decoder, &delta);
}

#[test]
fn a_call_that_asks_for_nothing_does_not_end() {
    let delta = event("function_call_arguments.delta", json!({"delta": "a"}));
    let mut decoder = decoder_of(&json!({"type": "function_call", "name": "f"}), &[delta]);
    let number = decoder.items.named(Some(0), "").unwrap();
    decoder.items.get_mut(number).unwrap().beside = Some(7);
    decoder.items.get_mut(number).unwrap().kind = crate::dialect::responses::item::ItemKind::Message;
    assert_unreachable(&mut decoder, &event("function_call_arguments.done", json!({"arguments": "a"})));
}
