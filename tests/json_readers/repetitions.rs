//! What `responses` says once more: there are clients that take it, so readers find in it nothing that policies have not seen.

use crate::readers::readers;
use crate::seen::Seen;
use crate::{assert_both_were_tried, places, play};

#[test]
fn what_is_repeated_was_seen() {
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
            let repeated = reader.read.iter().flatten().filter(|found| *found != "null").count();
            assert!(repeated > documents.len() / 8, "{repeated} of {} repeat: {}", documents.len(), place.document);
            for ((number, left), found) in numbers.iter().zip(&documents).zip(&reader.read) {
                let (Some(found), (seen, came)) = (found, &seen[*number]) else { continue };
                let was_seen = match serde_json::from_str::<String>(found) {
                    _ if seen.is_unknown => seen.has(place.dialect, found),
                    // That nothing is repeated is nothing to be seen.
                    Ok(found) => found.is_empty() || seen.strings.contains(&found),
                    Err(_) => found == "null",
                };
                assert!(
                    was_seen,
                    "{} reads {found}, Weir {:?} in {}, which came as {}",
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
