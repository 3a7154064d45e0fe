//! State across exchanges, as one exchange sees it: a store answers a hook that waits, and one that does not.

use serde_json::json;
use weir::dialect::Dialect;
use weir_test_support::native::RequestOutcome;
use weir_test_support::script::{Script, document};

use crate::{play, test};

fn counted(scope: &str, most: u64) -> Script {
    let document = document(json!([{"use": "count_requests", "with": {"scope": scope, "most": most}}]));
    Script::events(Dialect::ChatCompletions, document, b"data: [DONE]\n\n")
}

#[test]
fn a_hook_that_waits_for_the_store_goes_on_at_once() {
    for scope in ["worker", "proxy"] {
        let outcome = play(&counted(scope, 1));
        assert_eq!(outcome.request, RequestOutcome::Sent);
        let counted = outcome.events_of("count.counted");
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].metadata["value"], 1);
    }
}

#[test]
fn a_hook_can_refuse_by_what_the_store_says() {
    let outcome = play(&counted("proxy", 0));
    assert_eq!(outcome.request, RequestOutcome::Answered);
    assert_eq!(outcome.status, 429);
}
