//! The recorded streams of providers.

use weir_test_support::corpus::{THINNED_OUT, files};

use super::testing::{data_of, run};
use super::*;

const FOLDERS: [(Dialect, &str); 3] = [
    (Dialect::ChatCompletions, "openai-chat"),
    (Dialect::Messages, "anthropic-messages"),
    (Dialect::Responses, "openai-responses"),
];

#[test]
fn a_recorded_stream_that_repeats_something_else_than_it_streamed_repeats_what_it_streamed() {
    let streams = files("openai-responses");
    for (name, body) in streams.iter().filter(|(name, _)| THINNED_OUT.contains(&name.as_str())) {
        let repeats_more = |stream: &[u8]| {
            let data = data_of(stream).iter().map(ToString::to_string).collect::<String>();
            data.contains("quickly check") || data.contains("Here's the output")
        };
        let output = run(Dialect::Responses, [body.as_slice()], |_| SlotFate::Keep).output;
        assert!(repeats_more(body) && !repeats_more(&output), "{name}: what never came in deltas does not leave");
    }
}

#[test]
fn every_recorded_stream_is_read_and_leaves_as_it_came_at_every_split() {
    for (dialect, folder) in FOLDERS {
        for (name, body) in files(folder).into_iter().filter(|(name, _)| !THINNED_OUT.contains(&name.as_str())) {
            let whole = run(dialect, [body.as_slice()], |_| SlotFate::Keep);
            assert_eq!(whole.error, None, "{name}");
            assert!(whole.output == body, "{name} leaves as it came");
            assert!(!whole.parts.is_empty(), "{name} says something");
            let with_crlf = String::from_utf8(body.clone()).unwrap().replace('\n', "\r\n");
            let crlf = run(dialect, [with_crlf.as_bytes()], |_| SlotFate::Keep);
            assert!(crlf.output == with_crlf.as_bytes() && crlf.parts == whole.parts, "{name} with CRLF");
            // All splits of small streams, samples of large ones.
            let step = (body.len() / 200).max(1);
            for split in (0..body.len()).step_by(step) {
                let (left, right) = body.split_at(split);
                let split_up = run(dialect, [left, right], |_| SlotFate::Keep);
                assert!(split_up.output == body && split_up.parts == whole.parts, "{name} split at {split}");
            }
            for size in [1, 7, 4096] {
                let chunked = run(dialect, body.chunks(size), |_| SlotFate::Keep);
                assert!(chunked.output == body && chunked.parts == whole.parts, "{name} in chunks of {size}");
            }
        }
    }
}

#[test]
fn replacing_every_text_by_itself_changes_no_part() {
    for (dialect, folder) in FOLDERS {
        for (name, body) in files(folder) {
            let is_plain = |kind: BlockKind| kind.is_content() || kind == BlockKind::ToolCall;
            let edited = run(dialect, [body.as_slice()], |piece| {
                if is_plain(piece.kind) && !piece.text.is_empty() {
                    SlotFate::Replace(piece.text.to_owned())
                } else {
                    SlotFate::Keep
                }
            });
            let again = run(dialect, [edited.output.as_slice()], |_| SlotFate::Keep);
            assert_eq!(again.parts, edited.parts, "{name}");
        }
    }
}
