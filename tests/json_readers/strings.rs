//! Strings of answers, wherever a dialect says them: what Weir read is what readers find there.

use crate::places::{self, Place};
use crate::readers::readers;
use crate::seen::Seen;
use crate::{assert_both_were_tried, play};

#[track_caller]
fn assert_read_alike(places: &[Place]) {
    for place in places {
        let (mut left, mut seen) = (Vec::new(), Vec::new());
        let mut refused = 0;
        for document in place.tortured() {
            let outcome = play(|policies| place.script(policies, &document));
            match Seen::of(&outcome, place) {
                None => refused += 1,
                Some(read) => {
                    // What is written anew is what clients read; what says nothing does not leave.
                    left.extend(place.left(&outcome).into_iter().map(|left| (seen.len(), left)));
                    seen.push((read, document));
                }
            }
        }
        let (numbers, documents): (Vec<usize>, Vec<_>) = left.into_iter().unzip();
        for reader in readers(&documents, place.path) {
            for ((number, left), found) in numbers.iter().zip(&documents).zip(&reader.read) {
                // Another event, or none that says anything there.
                let Some(found) = found.as_ref().filter(|found| *found != "null") else { continue };
                let (seen, came) = &seen[*number];
                assert!(
                    seen.has(place.dialect, found),
                    "{}: {} reads {found}, Weir {:?} in {}, which came as {}",
                    place.dialect,
                    reader.language,
                    seen.strings,
                    String::from_utf8_lossy(left),
                    String::from_utf8_lossy(came)
                );
            }
        }
        assert_both_were_tried(place.document, seen.len(), refused);
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
