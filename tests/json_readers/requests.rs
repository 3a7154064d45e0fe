//! Calls in requests of MCP: what Weir judges is what servers read of the same body.

use proptest::prelude::*;
use weir_test_support::native::RequestOutcome;
use weir_test_support::script::Script;

use crate::readers::readers;
use crate::torture::{tortured, values};
use crate::{assert_both_were_tried, play};

pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"NAME","arguments":"ARGUMENTS"}}"#;

/// Arguments, most of them an object.
fn arguments() -> BoxedStrategy<String> {
    let objects = [r#"{"path":"/srv"}"#, r#"{"a":{"b":[1.50,-0]},"c":"\u0061"}"#, "{}"].map(str::to_owned);
    prop_oneof![values(), prop::sample::select(objects.to_vec())].boxed()
}

/// What stands in place of strings of [`CALL`].
pub(crate) fn holes() -> [(&'static str, BoxedStrategy<String>); 2] {
    [("NAME", values()), ("ARGUMENTS", arguments())]
}

/// What Weir made of the only call of a body.
struct Call {
    name: String,
    /// `None` where they can be read in two ways, or are no object.
    arguments: Option<String>,
}

/// The calls that Weir found in `body`; `None` if it refused to read it.
fn calls(body: &[u8]) -> Option<Vec<Call>> {
    let outcome = play(|policies| Script::request_to("/mcp", policies, vec![body.to_vec()]));
    if outcome.request == RequestOutcome::Answered && outcome.status == 400 {
        return None;
    }
    assert_eq!(outcome.request, RequestOutcome::Sent, "{}", String::from_utf8_lossy(body));
    let calls = outcome.events_of("read.call").into_iter().map(|event| Call {
        name: event.metadata["name"].as_str().unwrap().to_owned(),
        arguments: event.metadata["canonical"].as_str().map(str::to_owned),
    });
    Some(calls.collect())
}

/// Holds what was read of `bodies` against what readers find in the message at `place`.
#[track_caller]
fn assert_read_alike(bodies: &[Vec<u8>], place: &[&str]) {
    let found = |path: &[&str]| readers(bodies, &[place, path].concat());
    let read: Vec<_> = bodies.iter().map(|body| calls(body)).collect();
    let made = read.iter().map(|calls| {
        let arguments = calls.iter().flatten().find_map(|call| call.arguments.clone());
        arguments.unwrap_or_default().into_bytes()
    });
    let made = readers(&made.collect::<Vec<_>>(), &[]);
    let fields = found(&["method"]).into_iter().zip(found(&["params", "name"])).zip(found(&["params", "arguments"]));
    for (((methods, names), arguments), made) in fields.zip(made) {
        let language = methods.language;
        for (number, body) in bodies.iter().enumerate() {
            let shown = String::from_utf8_lossy(body);
            let (Some(calls), Some(method)) = (&read[number], &methods.read[number]) else { continue };
            if method != r#""tools/call""# {
                continue;
            }
            let [call] = calls.as_slice() else { panic!("{language} reads one call, Weir {}: {shown}", calls.len()) };
            let name = names.read[number].as_deref().unwrap();
            let name: Option<String> = serde_json::from_str(name).unwrap();
            assert_eq!(call.name, name.unwrap_or_default(), "as read in {language}: {shown}");
            if call.arguments.is_some() {
                // None at all are as good as none in an object.
                let came = arguments.read[number].as_deref().map(|came| if came == "null" { "{}" } else { came });
                assert_eq!(made.read[number].as_deref(), came, "as read in {language}: {shown}");
            }
        }
    }
    let refused = read.iter().filter(|calls| calls.is_none()).count();
    let called = read.iter().flatten().flatten().filter(|call| call.arguments.is_some()).count();
    assert_both_were_tried("mcp_tool", called, refused);
}

#[test]
fn a_call_is_what_servers_read() {
    assert_read_alike(&tortured(CALL, &holes(), 4000), &[]);
}

#[test]
fn a_call_of_a_batch_is_what_servers_read() {
    let batch = format!(r#"[{{"jsonrpc":"2.0","id":0,"method":"ping"}},{CALL}]"#);
    assert_read_alike(&tortured(&batch, &holes(), 2000), &["1"]);
}
