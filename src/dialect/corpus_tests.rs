//! The recorded streams of providers.

use weir_test_support::corpus::files;

use super::testing::run;
use super::*;

const FOLDERS: [(Dialect, &str); 3] = [
    (Dialect::ChatCompletions, "openai-chat"),
    (Dialect::Messages, "anthropic-messages"),
    (Dialect::Responses, "openai-responses"),
];

#[test]
fn every_recorded_stream_is_read_and_leaves_as_it_came_at_every_split() {
    for (dialect, folder) in FOLDERS {
        for (name, body) in files(folder) {
            let whole = run(dialect, [body.as_slice()], |_| SlotAction::Keep);
            assert_eq!(whole.error, None, "{name}");
            assert!(whole.output == body, "{name} leaves as it came");
            assert!(!whole.parts.is_empty(), "{name} says something");
            let with_crlf = String::from_utf8(body.clone()).unwrap().replace('\n', "\r\n");
            let crlf = run(dialect, [with_crlf.as_bytes()], |_| SlotAction::Keep);
            assert!(crlf.output == with_crlf.as_bytes() && crlf.parts == whole.parts, "{name} with CRLF");
            // All splits of small streams, samples of large ones.
            let step = (body.len() / 200).max(1);
            for split in (0..body.len()).step_by(step) {
                let (left, right) = body.split_at(split);
                let split_up = run(dialect, [left, right], |_| SlotAction::Keep);
                assert!(split_up.output == body && split_up.parts == whole.parts, "{name} split at {split}");
            }
            for size in [1, 7, 4096] {
                let chunked = run(dialect, body.chunks(size), |_| SlotAction::Keep);
                assert!(chunked.output == body && chunked.parts == whole.parts, "{name} in chunks of {size}");
            }
        }
    }
}

#[test]
fn replacing_every_text_by_itself_changes_no_part() {
    for (dialect, folder) in FOLDERS {
        for (name, body) in files(folder) {
            // What is of unknown type is not edited.
            let is_plain = |kind: BlockKind| (kind.is_content() && kind != BlockKind::Unknown) || kind == BlockKind::ToolCall;
            let edited = run(dialect, [body.as_slice()], |delta| {
                if is_plain(delta.kind) && !delta.text.is_empty() {
                    SlotAction::Replace(delta.text.to_owned())
                } else {
                    SlotAction::Keep
                }
            });
            let again = run(dialect, [edited.output.as_slice()], |_| SlotAction::Keep);
            assert_eq!(again.parts, edited.parts, "{name}");
        }
    }
}
