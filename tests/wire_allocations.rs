//! Deltas that pass untouched cost no heap allocation once the buffers are warm.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use weir::dialect::{DecodedEvent, Decoder, Dialect, Encoder, Frame, SlotAction};
use weir::wire::sse::Parser;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a count of what each thread asks for.
struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get().saturating_add(1)));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The events of a dialect: those that open what the delta goes to, and the delta.
const STREAMS: [(&str, Dialect, &[&str], &str); 4] = [
    (
        "chat.completions, text with escapes",
        Dialect::ChatCompletions,
        &[
            r#"{"id":"chatcmpl-D8Z5oo6uDh67AD85p73ksdT1KxhE0","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        ],
        r#"{"id":"chatcmpl-D8Z5oo6uDh67AD85p73ksdT1KxhE0","object":"chat.completion.chunk","created":1770933892,"model":"gpt-4.1-nano-2025-04-14","service_tier":"default","system_fingerprint":"fp_de604bd877","choices":[{"index":0,"delta":{"content":"a\n\u00e9"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"Qup1Bs"}"#,
    ),
    (
        "chat.completions, tool call",
        Dialect::ChatCompletions,
        &[
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{"}}]}}]}"#,
        ],
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"a\\n\""}}]}}]}"#,
    ),
    (
        "messages, text with escapes",
        Dialect::Messages,
        &[r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#],
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\n\"b\""}}"#,
    ),
    (
        "messages, tool call",
        Dialect::Messages,
        &[r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"x","name":"f","input":{}}}"#],
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
    ),
];

struct Wire {
    parser: Parser,
    decoder: Decoder,
    encoder: Encoder,
    frame: Frame,
    out: Vec<u8>,
}

impl Wire {
    fn new(dialect: Dialect) -> Self {
        Self {
            parser: Parser::new(1 << 20),
            decoder: Decoder::new(dialect),
            encoder: Encoder::new(dialect),
            frame: Frame::default(),
            out: Vec::with_capacity(1 << 16),
        }
    }

    fn pass(&mut self, chunk: &[u8], encode: bool) -> usize {
        let mut input = chunk;
        let mut characters: usize = 0;
        self.out.clear();
        while let Some(event) = self.parser.next(&mut input).unwrap() {
            self.decoder
                .event(&event, &mut self.frame, &mut |part| {
                    if let DecodedEvent::Delta(delta) = part {
                        characters = characters.saturating_add(delta.text.len());
                    }
                })
                .unwrap();
            if encode {
                let actions = [SlotAction::Keep];
                self.encoder.event(event.raw, &self.frame, &actions, &mut self.out);
            }
        }
        characters
    }
}

fn event(data: &str) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

#[test]
fn a_delta_that_passes_allocates_nothing() {
    for (name, dialect, opening, delta) in STREAMS {
        let mut wire = Wire::new(dialect);
        for data in opening {
            wire.pass(&event(data), true);
        }
        let delta = event(delta);
        let (left, right) = delta.split_at(delta.len() / 2);
        let mut pass_both_ways = || {
            assert!(wire.pass(&delta, true) > 0, "{name} is read");
            wire.pass(left, true);
            assert!(wire.pass(right, true) > 0, "{name} is read in two chunks");
        };
        pass_both_ways();
        let before = ALLOCATIONS.get();
        for _ in 0..100 {
            pass_both_ways();
        }
        assert_eq!(ALLOCATIONS.get(), before, "{name}");
    }
}

/// Prints what a delta costs; run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_a_delta() {
    const ROUNDS: u32 = 300;
    const DELTAS_PER_ROUND: u32 = 1_000;
    for (name, dialect, opening, delta) in STREAMS {
        let mut wire = Wire::new(dialect);
        for data in opening {
            wire.pass(&event(data), true);
        }
        let delta = event(delta);
        for (what, encode) in [("decode", false), ("decode and encode", true)] {
            // The fastest of many short rounds: other work on the machine only ever adds.
            let cost = (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    for _ in 0..DELTAS_PER_ROUND {
                        black_box(wire.pass(black_box(&delta), encode));
                    }
                    start.elapsed() / DELTAS_PER_ROUND
                })
                .min()
                .unwrap();
            println!("{name}, {} bytes: {what} {cost:?}", delta.len());
        }
    }
}
