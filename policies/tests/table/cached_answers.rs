//! Answers that are given again.

use core::time::Duration;

use serde_json::{Value, json};
use weir::caller::{Caller, CredentialHash};
use weir::dialect::Dialect;
use weir::time::Timestamp;
use weir_driver::RequestOutcome;

use crate::exchange::{LS, TEXT, each, message, play, player, reason, recording, unchanged};

#[test]
fn cache_response_answers_again_in_the_shape_that_is_asked_for() {
    each(|dialect, streamed| {
        let chain = json!([{"use": "cache_response"}]);
        let player = player(&chain);
        let first = play(&player, &recording(dialect, streamed, unchanged, &[TEXT, LS]));
        assert_eq!(first.events_of("cache.stored").len(), 1, "{dialect} {streamed}: {:?}", first.events);
        let told = message(dialect, streamed, &first);
        for again_streamed in [true, false] {
            let again = play(&player, &recording(dialect, again_streamed, unchanged, &[]));
            assert_eq!(again.request, RequestOutcome::Answered, "{dialect} {again_streamed}");
            let given = message(dialect, again_streamed, &again);
            assert_eq!(given.only().text, told.only().text);
            assert_eq!(given.only().calls.len(), 1);
            assert_eq!((again.events_of("cache.hit").len(), reason(&again)), (1, "CACHED".to_owned()));
        }
    });
}

#[test]
fn cache_response_keeps_paths_apart_and_leaves_alone_what_the_request_does_not_say() {
    let chain = json!([{"use": "cache_response"}]);
    each(|dialect, streamed| {
        let player = player(&chain);
        let mut asked = recording(dialect, streamed, unchanged, &[TEXT]);
        play(&player, &asked);
        asked.path.push_str("?api-version=2");
        assert_eq!(play(&player, &asked).request, RequestOutcome::Sent, "{dialect}: another path is another request");
        assert_eq!(play(&player, &asked).request, RequestOutcome::Answered, "{dialect}");

        let skipped = |change: &dyn Fn(&mut Value)| {
            let outcome = play(&player, &recording(dialect, streamed, change, &[TEXT]));
            outcome.events_of("cache.skipped").first().map(|event| event.metadata["why"].clone())
        };
        assert_eq!(skipped(&|body| drop(body.as_object_mut().unwrap().remove("model"))), Some(json!("no_model")), "{dialect}");
        let refers = |body: &mut Value| body["input"] = json!([{"type": "item_reference", "id": "msg_1"}]);
        let stored = (dialect == Dialect::Responses).then(|| json!("stored_input"));
        assert_eq!(skipped(&refers), stored, "{dialect}");
    });
}

#[test]
fn cache_response_keeps_credentials_requests_and_times_apart_and_policies_behind_it_see_a_hit() {
    let chain = json!([{"use": "cache_response", "with": {"time_to_live": "1m"}}, {"use": "tool_rules", "with": {"rules": [
        {"tools": ["shell"], "verdict": "deny"}]}}]);
    each(|dialect, streamed| {
        let player = player(&chain);
        let asked = recording(dialect, streamed, unchanged, &[TEXT, LS]);
        play(&player, &asked);
        let hit = play(&player, &asked);
        assert_eq!(hit.request, RequestOutcome::Answered);
        assert_eq!(message(dialect, streamed, &hit).only().calls.len(), 0, "{dialect}: the rule sees the hit");
        let other = Caller { credential: Some(CredentialHash::new(b"salt", b"other")), ..Caller::default() };
        assert_eq!(play(&player.clone().caller(other), &asked).request, RequestOutcome::Sent);
        assert_eq!(play(&player.clone().caller(Caller::default()), &asked).request, RequestOutcome::Sent);
        let change = |body: &mut Value| body["max_tokens"] = json!(7);
        assert_eq!(play(&player, &recording(dialect, streamed, change, &[TEXT])).request, RequestOutcome::Sent);
        let later = Timestamp::from_unix(Duration::from_secs(1_760_000_061));
        assert_eq!(play(&player.clone().at(later), &asked).request, RequestOutcome::Sent);
    });
}
