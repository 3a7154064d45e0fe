//! What `responses` says once more: whatever a provider repeats, readers find in what leaves what was streamed.

use crate::readers::readers;
use crate::seen::Seen;
use crate::{assert_both_were_tried, places, play};

/// What the deltas said, as JSON.
const STREAMED: &str = r#""|""#;

#[test]
fn what_is_repeated_is_what_was_streamed() {
    for place in places::repetitions_of_responses() {
        let (mut left, mut seen) = (Vec::new(), Vec::new());
        let mut refused = 0;
        for document in place.tortured() {
            let outcome = play(|policies| place.script(policies, &document));
            match Seen::of(&outcome, &place) {
                None => refused += 1,
                Some(read) => {
                    left.extend(place.left(&outcome).into_iter().map(|left| (seen.len(), left)));
                    seen.push((read, document));
                }
            }
        }
        let (numbers, documents): (Vec<usize>, Vec<_>) = left.into_iter().unzip();
        for reader in readers(&documents, place.path) {
            let repeated = reader.read.iter().filter(|found| found.as_deref() == Some(STREAMED)).count();
            assert!(repeated > documents.len() / 8, "{repeated} of {} repeat: {}", documents.len(), place.document);
            for ((number, left), found) in numbers.iter().zip(&documents).zip(&reader.read) {
                let (Some(found), (seen, came)) = (found, &seen[*number]) else { continue };
                let is_streamed = matches!(found.as_str(), "null" | STREAMED);
                assert!(
                    is_streamed || (seen.is_unknown && seen.has(place.dialect, found)),
                    "{} reads {found} in {}, which came as {}",
                    reader.language,
                    String::from_utf8_lossy(left),
                    String::from_utf8_lossy(came)
                );
            }
        }
        assert_both_were_tried(place.document, seen.len(), refused);
    }
}
