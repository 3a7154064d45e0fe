//! What Envoy knows of the caller, as policies see it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::{Value, json};
use weir_host_tests::{Host, HostBuilder, Plugin, SharedData};
use weir_test_support::script::document;

fn builder() -> HostBuilder {
    let mut document = document(json!([{"use": "caller"}]));
    document["events"] = json!({"cluster": "collector"});
    Host::new(&document.to_string()).plugin(Plugin::Test).knob(true)
}

/// What the policy says of the caller of a request with these headers.
fn seen(mut host: Host, headers: &[(&str, &[u8])]) -> Value {
    let mut head: Vec<(&str, &[u8])> =
        vec![(":method", b"POST"), (":path", b"/v1/chat/completions"), ("content-type", b"application/json")];
    head.extend_from_slice(headers);
    let id = host.request_head(&head, false);
    host.request_body(id, br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#, true);
    host.client_leaves(id);
    host.pass(1000);
    let batch: Value = serde_json::from_slice(&host.callout("collector").expect("events are sent").body).unwrap();
    let events = batch["events"].as_array().unwrap();
    events.iter().find(|event| event["event_type"] == "caller.seen").expect("the policy says it")["metadata"].clone()
}

/// A map as the ABI lays it out.
fn pairs(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = (entries.len() as u32).to_le_bytes().to_vec();
    for (name, value) in entries {
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for (name, value) in entries {
        bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    bytes
}

#[test]
fn policies_see_what_the_proxy_knows() {
    let metadata = pairs(&[("team", b"blue"), ("tier", &3_f64.to_le_bytes()), ("", b"")]);
    let host = builder()
        .property(&["source", "address"], b"10.1.2.3:55555")
        .property(&["connection", "uri_san_peer_certificate"], b"spiffe://cluster/agent")
        .property(&["connection", "subject_peer_certificate"], b"CN=agent")
        .property(&["xds", "route_name"], b"llm")
        .property(&["xds", "route_metadata", "filter_metadata", "weir"], &metadata)
        .start();
    let seen = seen(host, &[("x-policy-user", b"mia")]);
    let expected = json!({"user": "mia", "credential": null, "peer": "spiffe://cluster/agent", "address": "10.1.2.3",
        "route": "llm", "metadata": {"team": "blue", "": ""}});
    assert_eq!(seen, expected);
}

#[test]
fn what_is_not_known_stays_unknown() {
    let expected = json!({"user": null, "credential": null, "peer": null, "address": null, "route": null, "metadata": {}});
    assert_eq!(seen(builder().start(), &[]), expected);
}

#[test]
fn a_credential_is_a_hash_that_all_workers_of_a_process_share_and_no_other_process_has() {
    let hash = |shared: &SharedData, headers: &[(&str, &[u8])]| {
        let seen = seen(builder().shared_data(shared).start(), headers);
        assert!(!seen.to_string().contains("sk-1"), "{seen}");
        seen["credential"].as_str().expect("there is a credential").to_owned()
    };
    let process = SharedData::default();
    let bearer = hash(&process, &[("authorization", b"Bearer sk-1")]);
    assert_eq!(hash(&process, &[("x-api-key", b"sk-1")]), bearer);
    assert_ne!(hash(&process, &[("x-api-key", b"sk-2")]), bearer);
}

#[test]
fn broken_metadata_does_no_harm() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\x01\0\0\0", b"\x01\0\0\0\xff\0\0\0\xff\0\0\0ab", b"x"] {
        let host = builder().property(&["xds", "route_metadata", "filter_metadata", "weir"], bytes).start();
        assert_eq!(seen(host, &[])["metadata"], json!({}));
    }
}
