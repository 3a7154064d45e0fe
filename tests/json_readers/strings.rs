//! Strings of answers, wherever a dialect says them: what Weir read is what readers find there.

use crate::places::{self, Place};
use crate::readers::readers;
use crate::seen::Seen;
use crate::{assert_both_were_tried, play};

#[track_caller]
fn assert_read_alike(places: &[Place]) {
    for place in places {
        let documents = place.tortured();
        let readers = readers(&documents, place.path);
        let (mut read, mut refused) = (0, 0);
        for (number, document) in documents.iter().enumerate() {
            let Some(seen) = Seen::of(&play(|policies| place.script(policies, document)), place) else {
                refused += 1;
                continue;
            };
            read += 1;
            for reader in &readers {
                let Some(found) = &reader.read[number] else { continue };
                assert!(
                    seen.has(place.dialect, found),
                    "{}: {} reads {found}, Weir {:?}: {}",
                    place.dialect,
                    reader.language,
                    seen.strings,
                    String::from_utf8_lossy(document)
                );
            }
        }
        assert_both_were_tried(place.document, read, refused);
    }
}

#[test]
fn strings_of_chat_completions_are_what_clients_read() {
    assert_read_alike(&places::chat_completions());
}

#[test]
fn strings_of_messages_are_what_clients_read() {
    assert_read_alike(&places::messages());
}

#[test]
fn strings_of_responses_are_what_clients_read() {
    assert_read_alike(&places::responses());
}

#[test]
fn strings_that_responses_says_at_the_end_alone_are_what_clients_read() {
    assert_read_alike(&places::ends_of_responses());
}

#[test]
fn strings_of_mcp_results_are_what_clients_read() {
    assert_read_alike(&places::mcp_results());
}
