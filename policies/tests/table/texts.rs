//! Policies about texts.

use serde_json::json;

use crate::exchange::{LS, TEXT, answer, each, judged, message, play, player, reason, recording, unchanged};

#[test]
fn text_judge_withholds_texts_against_the_rules() {
    each(|dialect, streamed| {
        for (judge, expected) in [("one", "[This part of the answer was withheld.]"), ("two", "I will do it.")] {
            let with = json!({"rules": "No promises.", "panel": {"judges": [{"judge": judge}]}});
            let chain = json!([{"use": "text_judge", "with": with}]);
            let outcome = play(&judged(&chain), &recording(dialect, streamed, unchanged, &[TEXT, LS]));
            let message = message(dialect, streamed, &outcome);
            assert_eq!(message.only().text, expected, "{dialect} {streamed}");
            assert_eq!(message.only().calls.len(), 1);
        }
        let chain = json!([{"use": "text_judge", "with": {"rules": "x", "panel": {"judges": [{"judge": "one"}]}}}]);
        let silent = play(&player(&chain), &recording(dialect, streamed, unchanged, &[TEXT]));
        assert_eq!(reason(&silent), "TEXT_UNCHECKED", "{dialect}: a judge that cannot be asked blocks");
    });
}

#[test]
fn string_replacement_replaces() {
    let chain = json!([{"use": "string_replacement", "with": {"replacements": [["WILL DO", "did"]], "ignore_case": true}}]);
    each(|dialect, streamed| {
        let (_, message) = answer(&chain, dialect, streamed, &[TEXT]);
        assert_eq!(message.only().text, "I did it.", "{dialect} {streamed}");
    });
}
