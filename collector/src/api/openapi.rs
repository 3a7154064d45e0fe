//! `GET /v1/openapi.json`: the description of the API, with the schemas of the wire format.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use weir_events::{BATCH, EVENT, json_schema};

/// Answers with the OpenAPI document.
pub(crate) async fn get_openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document().to_string()).into_response()
}

fn document() -> Value {
    let schema = |fields| serde_json::from_str::<Value>(&json_schema(fields)).unwrap_or_default();
    let get = |summary: &str, parameters: &[&str]| {
        let parameter = |name: &&str| {
            let place = if *name == "call" { "path" } else { "query" };
            json!({"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}})
        };
        let parameters: Vec<_> = parameters.iter().map(parameter).collect();
        json!({"get": {"summary": summary, "parameters": parameters, "responses": {"200": {"description": "the answer"}}}})
    };
    let mut events = get(
        "A page of the history, newest first; with `after`, what arrived since, oldest first",
        &["q", "from", "to", "before", "after", "limit", "format", "whole_calls"],
    );
    let post = json!({
        "summary": "Takes a batch, and acknowledges it when it is stored",
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Batch"}}}},
        "responses": {"202": {"description": "every event is stored"}, "400": {"description": "malformed"},
            "413": {"description": "too large"}, "415": {"description": "not JSON"},
            "422": {"description": "too old to tell whether it is stored"}, "503": {"description": "try again later"}},
    });
    if let Some(methods) = events.as_object_mut() {
        methods.insert("post".to_owned(), post);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Weir's collector", "version": env!("CARGO_PKG_VERSION")},
        "paths": {
            "/v1/events": events,
            "/v1/export": get("Everything that a query finds in a range", &["q", "from", "to", "format"]),
            "/v1/calls/{call}": get("Everything about one call, oldest first", &["call", "near", "format"]),
            "/v1/summary": get("Counts over a range", &["q", "from", "to"]),
            "/v1/activity/stream": get("What is new, as server-sent events", &["q", "after"]),
            "/v1/senders": get("Who has sent, and what is missing", &[]),
            "/v1/status": get("Loss, lag, refused requests and the store", &[]),
            "/v1/settings": get("How much is kept", &[]),
        },
        "components": {
            "schemas": {"Batch": schema(&BATCH), "Event": schema(&EVENT)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}
