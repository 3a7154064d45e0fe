use super::*;
use crate::document::parse;

const CHAT: Route = Route { endpoint: Endpoint::Dialect(Dialect::ChatCompletions), action: RouteAction::Govern };
const MESSAGES: Route = Route { endpoint: Endpoint::Dialect(Dialect::Messages), action: RouteAction::Govern };
const UNKNOWN: Route = Route { endpoint: Endpoint::Unknown, action: RouteAction::Block };
const TARGETS: [Dialect; 2] = [Dialect::ChatCompletions, Dialect::Messages];

fn find(routes: &Routes, request: &str) -> Route {
    let (method, path) = request.split_once(' ').unwrap();
    routes.find(&TARGETS, method.as_bytes(), path.as_bytes())
}

fn routes(json: &str) -> Routes {
    parse(json).unwrap()
}

fn is(endpoint: Endpoint, action: RouteAction) -> Route {
    Route { endpoint, action }
}

#[test]
fn every_spelling_of_an_endpoint_is_governed() {
    let mut routes = Routes::default();
    for path in [
        "/v1/chat/completions",
        "/v1/chat/completions?api-version=1",
        "/V1/Chat/Completions",
        "//v1//chat/completions/",
        "/v1/chat%2Fcompletions",
        "/%76%31/chat/completions",
        "/v1/./chat/x/../completions",
        "/v1/models/../chat/completions",
        "/v1/models/..;/chat/completions",
        "/v1/models/..\\chat\\completions",
        "/v1/chat/completions;x",
        "/v1/chat;a=b/completions;x=y",
        "/v1/chat/completions%3bx",
        "/v1/chat/completions%3Bx",
        "/v1/chat/completions.",
        "/v1/chat/completions..",
        "/v1/chat./completions",
        "/v1/chat/completions%2e",
        "/v1/chat/completions%20",
        "/v1/chat/completions ",
        "/v1/chat/completions%00",
        "/v1/chat%252fcompletions",
        "/v1/chat%25252fcompletions",
        "/v1/chat%252Fcompletions%253bx",
    ] {
        for unknown in [RouteAction::Block, RouteAction::Allow] {
            routes.unknown = unknown;
            assert_eq!(find(&routes, &format!("POST {path}")), CHAT, "{path}");
        }
    }
    assert_eq!(find(&routes, "POST /v1/messages?beta=true"), MESSAGES);
}

#[test]
fn every_endpoint_has_the_action_that_the_document_gives_it() {
    let requests = [
        ("count_tokens", "POST /v1/messages/count_tokens?beta=true"),
        ("message_batches", "POST /v1/messages/batches"),
        ("message_batches", "GET /v1/messages/batches/msgbatch_01/results"),
        ("batches", "POST /v1/batches"),
        ("batches", "GET /v1/batches/batch_1"),
        ("embeddings", "POST /v1/embeddings"),
        ("completions", "POST /v1/completions"),
        ("models", "GET /v1/models"),
        ("models", "GET /v1/models/Qwen/Small"),
        ("unknown", "POST /v1/audio/speech"),
    ];
    for (name, request) in requests {
        for (word, action) in [("allow", RouteAction::Allow), ("block", RouteAction::Block)] {
            let found = find(&routes(&format!("{{\"{name}\":\"{word}\"}}")), request);
            assert_eq!((found.endpoint.name(), found.action), (name, action), "{request}");
        }
    }
}

#[test]
fn what_is_not_known_is_blocked_by_default() {
    let mut routes = Routes::default();
    for request in [
        "GET /v1/chat/completions",
        "POST /v1/models",
        "POST /",
        "POST /v1/models/../files",
        "GET /v1/models/%2e%2e/files",
        "GET /v1/models//x",
        "GET /v1/models/..;/chat/completions",
        "GET /v1/models/..\\chat\\completions",
        "GET /v1/models;x",
        "GET /v1/models.",
        "GET /v1/Models",
        "POST /v1/messages/%63ount_tokens",
        "POST /v1/models/../embeddings",
        "POST /v1/chat/completions%3f/../../embeddings",
        "POST /%",
        "POST ",
    ] {
        assert_eq!(find(&routes, request), UNKNOWN, "{request}");
    }
    routes.unknown = RouteAction::Allow;
    assert_eq!(find(&routes, "POST /v1/files"), is(Endpoint::Unknown, RouteAction::Allow));
}

#[test]
fn a_dialect_that_is_no_target_passes() {
    let route = Routes::default().find(&[Dialect::Messages], b"POST", b"/v1/chat/completions");
    assert_eq!(route, is(CHAT.endpoint, RouteAction::Allow));
}

#[test]
fn a_list_allows_methods_and_plainly_written_paths_and_no_dialect() {
    let routes = routes(r#"{"allow":["GET /v1/files/*","POST /v1/batches","POST /v1/**"]}"#);
    for request in ["GET /v1/files/file-1", "GET /v1/files/file-1?limit=1", "POST /v1/audio/speech"] {
        assert_eq!(find(&routes, request), is(Endpoint::Unknown, RouteAction::Allow), "{request}");
    }
    assert_eq!(find(&routes, "POST /v1/batches"), is(Endpoint::Batches, RouteAction::Allow));
    assert_eq!(find(&routes, "POST /v1/chat/completions"), CHAT);
    for request in
        ["DELETE /v1/files/file-1", "GET /v1/files", "GET /v1/files/file-1/content", "GET /V1/files/x", "GET /v1/files/.%2e"]
    {
        assert_eq!(find(&routes, request), UNKNOWN, "{request}");
    }
}

#[test]
fn endpoints_are_found_where_the_document_maps_them_and_behind_prefixes() {
    let routes = routes(
        r#"{"map":[{"path":"/openai/deployments/*/chat/completions","to":"chat.completions"},
                   {"path":"/openai/deployments/*/embeddings","to":"embeddings"}],
            "prefixes":["/openai","/tenants/*/anthropic"]}"#,
    );
    for request in [
        "POST /openai/deployments/My-Model/chat/completions?api-version=2024-10-21",
        "POST /OpenAI/deployments/x/chat/completions/",
        "POST /openai/v1/chat/completions",
        "POST /v1/chat/completions",
    ] {
        assert_eq!(find(&routes, request), CHAT, "{request}");
    }
    assert_eq!(find(&routes, "POST /tenants/7/anthropic/v1/messages"), MESSAGES);
    assert_eq!(find(&routes, "POST /openai/deployments/x/embeddings"), is(Endpoint::Embeddings, RouteAction::Govern));
    assert_eq!(find(&routes, "GET /openai/v1/models"), is(Endpoint::Models, RouteAction::Allow));
    for request in [
        "GET /openai/deployments/x/chat/completions",
        "POST /openai/deployments/x/y/chat/completions",
        "POST /openai/deployments/chat/completions",
        "POST /tenants/anthropic/v1/messages",
        "POST /openaiv1/chat/completions",
        "GET /OPENAI/v1/models",
    ] {
        assert_eq!(find(&routes, request), UNKNOWN, "{request}");
    }
}

#[test]
fn patterns_that_no_path_can_match_are_refused_by_name() {
    for (json, path) in [
        (r#"{"allow":["/v1/files"]}"#, "allow[0]"),
        (r#"{"allow":["GET /v1/files","get /v1/files"]}"#, "allow[1]"),
        (r#"{"allow":["GET v1/files"]}"#, "allow[0]"),
        (r#"{"allow":["GET /v1/files*"]}"#, "allow[0]"),
        (r#"{"allow":["GET /v1/**/files"]}"#, "allow[0]"),
        (r#"{"allow":["GET  /v1/files"]}"#, "allow[0]"),
        (r#"{"prefixes":["/openai/"]}"#, "prefixes[0]"),
        (r#"{"prefixes":["/"]}"#, "prefixes[0]"),
        (r#"{"prefixes":["/a/../b"]}"#, "prefixes[0]"),
        (r#"{"map":[{"path":"/x?y=1","to":"messages"}]}"#, "map[0].path"),
        (r#"{"map":[{"path":"/x","to":"chat"}]}"#, "map[0].to"),
        (r#"{"map":[{"path":"/x","to":"unknown"}]}"#, "map[0].to"),
        (r#"{"embeddings":"refuse"}"#, "embeddings"),
        (r#"{"embedding":"allow"}"#, "embedding"),
    ] {
        assert_eq!(parse::<Routes>(json).unwrap_err().path, path, "{json}");
    }
}

#[test]
fn only_what_has_text_can_be_governed() {
    for name in ["batches", "models", "preflight", "unknown"] {
        let error = routes(&format!("{{\"{name}\":\"govern\"}}")).check().unwrap_err();
        assert_eq!(error.path, format!("routes.{name}"));
    }
    let routes = routes(r#"{"message_batches":"govern","completions":"govern"}"#);
    assert_eq!(routes.check(), Ok(()));
    assert_eq!(find(&routes, "POST /v1/completions"), is(Endpoint::Completions, RouteAction::Govern));
}
