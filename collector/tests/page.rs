//! The activity page: what is served, and that nothing in an event can become markup or script.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::Write;
use std::process::Command;

use axum::http::{StatusCode, header};
use support::{batch, get, open_app, post};

const FILES: [(&str, &str); 11] = [
    ("/ui/activity/live", "text/html; charset=utf-8"),
    ("/ui/activity/activity.mjs", "text/javascript; charset=utf-8"),
    ("/ui/activity/feed.mjs", "text/javascript; charset=utf-8"),
    ("/ui/activity/rows.mjs", "text/javascript; charset=utf-8"),
    ("/ui/activity/changes.mjs", "text/javascript; charset=utf-8"),
    ("/ui/activity/text.mjs", "text/javascript; charset=utf-8"),
    ("/ui/activity/summary.mjs", "text/javascript; charset=utf-8"),
    ("/ui/activity/uplot.js", "text/javascript; charset=utf-8"),
    ("/ui/activity/uplot.css", "text/css; charset=utf-8"),
    ("/ui/activity/activity.css", "text/css; charset=utf-8"),
    ("/ui/activity/icon.svg", "image/svg+xml"),
];

#[tokio::test]
async fn the_page_and_its_files_are_served_under_a_strict_policy() {
    let app = open_app();
    for (path, content_type) in FILES {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], content_type);
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        for directive in
            ["default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"]
        {
            assert!(policy.split("; ").any(|found| found == directive), "{directive} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn the_page_loads_what_it_names_and_has_no_script_or_style_inside() {
    let app = open_app();
    let page = get(&app, "/ui/activity/live").await.text;
    for attribute in ["src=\"", "href=\""] {
        for name in page.split(attribute).skip(1).map(|rest| rest.split('"').next().expect("a name")) {
            assert_eq!(get(&app, &format!("/ui/activity/{name}")).await.status, StatusCode::OK, "{name}");
        }
    }
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
    assert_eq!(page.matches("<script").count(), page.matches("></script>").count(), "scripts stand in files");
}

#[tokio::test]
async fn the_script_has_no_way_to_turn_text_into_markup_or_code() {
    let app = open_app();
    for (path, _) in FILES.into_iter().filter(|(_, content_type)| content_type.starts_with("text/javascript")) {
        let script = get(&app, path).await.text;
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "Function(", "srcdoc"]
        {
            assert!(!script.contains(way), "{way} in {path}");
        }
    }
}

#[tokio::test]
async fn stored_markup_comes_back_as_json_only_and_says_what_it_said() {
    let app = open_app();
    let attack = r#"</script><img src=x onerror=alert(1)>"'&"#;
    let mut sent = batch(attack, 0, 1);
    for field in ["summary", "call_id", "event_type", "policy_target", "policy_class"] {
        sent["events"][0][field] = attack.into();
    }
    sent["events"][0]["metadata"][attack] = attack.into();
    assert_eq!(post(&app, &sent).await.status, StatusCode::ACCEPTED);

    let history = get(&app, "/v1/events").await;
    assert_eq!(history.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(history.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(history.json()["events"][0]["event"], sent["events"][0]);
    assert!(!get(&app, "/ui/activity/live").await.text.contains("onerror"), "the page itself holds no event");
}

#[tokio::test]
async fn what_a_refusal_quotes_is_json_too() {
    let app = open_app();
    let mut sent = batch("vm-1", 0, 1);
    sent["events"][0]["kind"] = "<script>alert(1)</script>".into();
    let answer = post(&app, &sent).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
}

/// What the page holds, pauses and filters is tested where it runs, in JavaScript.
#[test]
fn the_logic_of_the_page_passes_its_own_tests() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/feed.test.mjs");
    match Command::new("node").arg("--test").arg(tests).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        // Not with a macro: those are captured, and this line is to be seen.
        Err(_) => writeln!(std::io::stderr(), "skipped: {tests} (node is not installed)").expect("stderr"),
    }
}

/// The reference of the wire format in the README is made from the tables that the code reads.
#[test]
fn the_readme_has_the_tables_of_the_wire_format() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let tables = [("@@BATCH@@", &weir_events::BATCH[..]), ("@@EVENT@@", &weir_events::EVENT[..])];
    let missing = tables.iter().any(|(_, fields)| !readme.contains(&weir_events::markdown_table(fields)));
    if missing && std::env::var_os("WEIR_RENEW_TABLES").is_some() {
        let renewed = tables.iter().fold(readme, |text, (mark, fields)| text.replace(mark, &weir_events::markdown_table(fields)));
        std::fs::write(path, renewed).expect("written");
        return;
    }
    assert!(
        !missing,
        "the tables changed: put @@BATCH@@ and @@EVENT@@ in place of the old ones and run this with WEIR_RENEW_TABLES=1"
    );
}
