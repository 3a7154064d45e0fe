//! The published JSON Schemas: they are what the types say, and take what the filter takes.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

fn schema(name: &str) -> Validator {
    let file = root().join("policies/schema").join(format!("{name}.json"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(&file).expect("it is published")).expect("JSON");
    jsonschema::draft7::meta::validate(&schema).expect("a schema of draft 7");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// What is wrong with a value, by the paths of the fields.
fn faults(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The policy documents among the fenced blocks of a page.
fn documents(page: &str) -> Vec<Value> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let blocks = |language: &str| {
        let fence = format!("```{language}\n");
        let blocks: Vec<_> =
            text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect();
        blocks
    };
    let json = blocks("json").into_iter().filter_map(|block| serde_json::from_str::<Value>(&block).ok());
    let yaml = blocks("yaml").into_iter().filter_map(|block| serde_saphyr::from_str::<Value>(&block).ok());
    json.chain(yaml).filter(|value| value.get("policy").is_some() || value.get("projects").is_some()).collect()
}

#[test]
fn what_is_published_is_what_the_types_say() {
    let made = tempfile::tempdir().expect("a folder");
    let done = Command::new(env!("CARGO_BIN_EXE_weir")).args(["schema", "--folder"]).arg(made.path()).status();
    assert!(done.expect("weir starts").success());
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let published = root().join("policies/schema");
    let again = "run `cargo run -p weir-collector -- schema --folder policies/schema`";
    assert_eq!(names(made.path()), names(&published), "{again}");
    for name in names(made.path()) {
        let read = |folder: &Path| fs::read_to_string(folder.join(&name)).expect("text");
        assert!(read(made.path()) == read(&published), "{name:?} is not what the types say: {again}");
    }
}

#[test]
fn presets_and_documents_of_pages_are_valid() {
    let schema = schema("document");
    let files = fs::read_dir(root().join("policies/presets")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let presets = files
        .filter(|file| file.is_file())
        .map(|file| serde_json::from_str(&fs::read_to_string(file).expect("text")).expect("JSON"));
    let presets: Vec<Value> = presets.collect();
    assert_eq!(presets.len(), 2);
    let pages =
        [("README.md", 1), ("policies/README.md", 6), ("policies/controls.md", 1), ("docs/desk.md", 2), ("docs/rollout.md", 0)];
    let mut all = presets;
    for (page, least) in pages {
        let found = documents(page);
        assert!(found.len() >= least, "{page} has {} documents", found.len());
        all.extend(found);
    }
    for document in all {
        // The page shows what is wrong with this one.
        if document["policy"]["id"] == "broken" {
            assert_eq!(faults(&schema, &document).len(), 1);
            continue;
        }
        assert_eq!(faults(&schema, &document), Vec::<String>::new(), "{document}");
    }
}

#[test]
fn wrong_documents_are_not() {
    let schema = schema("document");
    let with = |name: &str, with: Value| json!({"policy": {"id": "p"}, "chain": [{"use": name, "with": with}]});
    let judge = |judge: Value| json!({"policy": {"id": "p"}, "judges": {"main": judge}});
    let projects = |project: Value| json!({"projects": {"a": project}});
    for (document, path) in [
        (json!([]), ""),
        (json!({}), ""),
        (json!({"policy": {"id": "p"}, "chian": []}), ""),
        (json!({"policy": {"id": "p", "revision": -1}}), "/policy/revision"),
        (json!({"policy": {"id": "p"}, "targets": ["chat"]}), "/targets/0"),
        (json!({"policy": {"id": "p"}, "chain": [{"use": "no_such"}]}), "/chain/0/use"),
        (json!({"policy": {"id": "p"}, "chain": [{"use": "rules"}]}), "/chain/0"),
        (json!({"policy": {"id": "p"}, "routes": {"allow": ["/v1/files"]}}), "/routes/allow/0"),
        (json!({"policy": {"id": "p"}, "routes": {"map": [{"path": "/x", "to": "chat"}]}}), "/routes/map/0/to"),
        (json!({"policy": {"id": "p"}, "rollout": {"mode": "canary", "percentage": 101}}), "/rollout/percentage"),
        (judge(json!({"cluster": "c"})), "/judges/main"),
        (judge(json!({"cluster": "c", "model": "m", "timeout": "fast"})), "/judges/main/timeout"),
        (with("content_only", json!({"notise": "x"})), "/chain/0/with"),
        (with("rules", json!({"rules": [{"id": "a", "match": {"term": ["x"]}}]})), "/chain/0/with/rules/0/match"),
        (
            with("rules", json!({"rules": [{"id": "a", "match": {"terms": ["x"]}, "action": "mask"}]})),
            "/chain/0/with/rules/0/action",
        ),
        (with("tool_rules", json!({"rules": [{"tools": ["x"], "verdict": "reject"}]})), "/chain/0/with/rules/0/verdict"),
        (with("parallel", json!({"panel": {"judges": [{"judge": "a"}]}, "default": "judge"})), "/chain/0/with"),
        (with("rate_limit", json!({"requests": {"limit": 1}})), "/chain/0/with/requests"),
        (with("rate_limit", json!({"requests": {"limit": 1, "window": "1m"}, "scope": "fleet"})), "/chain/0/with/scope"),
        (with("string_replacement", json!({"replacements": [["only one"]]})), "/chain/0/with/replacements/0"),
        (projects(json!({"policy": {"id": "p"}, "events": {"cluster": "c"}})), "/projects/a"),
        (projects(json!({"policy": {"id": "p"}, "chain": [{"use": "no_such"}]})), "/projects/a/chain/0/use"),
    ] {
        let found = faults(&schema, &document);
        assert!(found.iter().any(|fault| fault.starts_with(&format!("{path}:"))), "{document}: {found:?}");
    }
}

#[test]
fn every_policy_has_a_schema_of_its_own() {
    let rules = schema("rules");
    assert_eq!(faults(&rules, &json!({"rules": [{"id": "a", "match": {"terms": ["x"]}}]})), Vec::<String>::new());
    assert_eq!(faults(&rules, &json!({"rules": [{"id": "a"}]})).len(), 1);
    for name in weir_policies::registry().names() {
        let _valid = schema(name);
    }
}

#[test]
fn nothing_of_it_is_in_the_module() {
    let tree = ["tree", "--locked", "--package", "weir-plugin", "--target", "wasm32-wasip1", "--edges", "normal,build"];
    let output = Command::new(env!("CARGO")).args(tree).current_dir(root()).output().expect("a tree");
    let tree = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && tree.contains("weir-policies"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!tree.contains("schemars"), "{tree}");
}

#[test]
fn files_of_cases_have_one_too() {
    let schema = schema("cases");
    let text = fs::read_to_string(root().join("docs/desk.md")).expect("the page is there");
    let cases = text.split("# policies/tests/guard.yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("cases");
    let mut cases: Value = serde_saphyr::from_str(cases).expect("YAML");
    assert_eq!(faults(&schema, &cases), Vec::<String>::new());
    cases["document"] = json!({"policy": {"id": "p"}});
    assert_eq!(faults(&schema, &cases), Vec::<String>::new());
    cases["document"] = json!({"policy": {"id": "p"}, "chian": []});
    assert_eq!(faults(&schema, &cases).len(), 1);
    for wrong in [
        json!({"document": "p.yaml", "case": []}),
        json!({"document": "p.yaml", "cases": [{"name": "a", "request": {}, "expect": {"decison": "allow"}}]}),
        json!({"document": "p.yaml", "cases": [{"name": "a", "request": {}, "expect": {}, "split": "some"}]}),
    ] {
        assert_ne!(faults(&schema, &wrong), Vec::<String>::new(), "{wrong}");
    }
}
