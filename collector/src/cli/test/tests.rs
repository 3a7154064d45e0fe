use std::fs;
use std::path::Path;
use std::process::ExitCode;

use super::*;

const CASES: &str = r#"
document:
  policy: {id: p}
  judges: {main: {cluster: judge, model: m}}
  chain:
    - use: tool_call_judge
      with: {judge: main, deny: [rm, dd]}
cases:
  - name: a denied call
    request: {model: gpt, messages: [{role: user, content: Go}], stream: true}
    split: all
    response: |+
      data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","type":"function","function":{"name":"rm","arguments":"{}"}}]}}]}

      data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

      data: [DONE]

    expect: {decision: DECISION, reason_code: TOOL_CALL_DENIED, hits: [rm], events: [judge.blocked], output_contains: [BLOCKED], output_lacks: ['"rm"']}
  - name: a call that the judge passes
    request: {model: gpt, messages: [{role: user, content: Go}]}
    response: {id: c, object: chat.completion, created: 1, model: gpt, choices: [{index: 0, finish_reason: tool_calls, message: {role: assistant, content: null, refusal: null, tool_calls: [{id: "1", type: function, function: {name: ls, arguments: "{}"}}]}}]}
    judge: [{probability: 0.1}]
    expect: {decision: allow, unchanged: true, no_hits: [rm]}
"#;

/// Runs the command on a folder with these files.
fn run_on(files: &[(&str, &str)], coverage: bool) -> Result<Results, Vec<Fault>> {
    run_with(files, coverage, None)
}

fn run_with(files: &[(&str, &str)], coverage: bool, coverage_min: Option<u8>) -> Result<Results, Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    Test { folder: folder.path().to_owned(), format: Format::Text, coverage, coverage_min, record: false }.play()
}

fn run(cases: &str) -> Results {
    run_on(&[("cases.yaml", cases)], false).unwrap()
}

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let faults = run_on(files, false).unwrap_err();
    let short = |fault: Fault| Fault { file: Path::new(fault.file.file_name().unwrap()).to_owned(), ..fault };
    faults.into_iter().map(|fault| short(fault).to_string()).collect()
}

fn passing() -> String {
    CASES.replace("DECISION", "refuse")
}

#[test]
fn cases_pass_where_all_is_as_expected_at_every_split() {
    let results = run(&passing());
    assert_eq!(results.counts(), (2, 0), "{results:?}");
}

#[test]
fn a_service_of_moderations_gives_each_text_the_scores_of_the_entry_that_fits_it() {
    let cases = r#"
document:
  policy: {id: p}
  judges: {labels: {cluster: moderations, path: /v1/moderations, model: m}}
  chain:
    - use: rules
      with:
        moderation: {judge: labels}
        rules:
          - {id: harm, match: {categories: ["violence*"]}, action: refuse, reason_code: HARM}
          - {id: own, match: {categories: [banking], threshold: 0.3}, action: observe}
cases:
  - name: a text of a category
    request: {model: gpt, messages: [{role: user, content: A loan}, {role: user, content: A knife}]}
    judge: [{when: knife, categories: {violence: 0.8}}, {when: loan, categories: {banking: 0.4}}]
    expect: {decision: refuse, reason_code: HARM, hits: [harm, own], events: [rules.categorised]}
  - name: a text of none
    request: {model: gpt, messages: [{role: user, content: A poem}]}
    judge: [{when: knife, categories: {violence: 0.8, banking: 0}}]
    expect: {decision: allow, no_hits: [harm, own], no_events: [rules.moderation_failed]}
  - name: a service that fails
    request: {model: gpt, messages: [{role: user, content: A poem}]}
    judge: [{status: 500}]
    expect: {decision: refuse, reason_code: MODERATION_FAILED, no_hits: [harm, own]}
  - name: no service at all
    request: {model: gpt, messages: [{role: user, content: A poem}]}
    expect: {decision: refuse, reason_code: MODERATION_FAILED}
"#;
    let results = run_on(&[("cases.yaml", cases)], true).unwrap();
    assert_eq!(results.counts(), (4, 0), "{results:?}");
    let coverage = &results.json()["coverage"][0];
    assert_eq!(coverage["points"], coverage["covered"], "{coverage}");
}

#[test]
fn a_case_fails_where_something_is_not() {
    let results = run(&CASES.replace("DECISION", "allow"));
    let played = &results.files[0].1;
    assert!(played[0].faults[0].contains("decision is \"refuse\", expected \"allow\""), "{played:?}");
    assert_eq!(played[0].place.line, 9);
    assert!(played[1].faults.is_empty());
    assert_eq!(results.json()["cases"][0]["faults"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_whose_keys_are_misspelt_is_an_error_that_names_file_and_key() {
    assert_eq!(
        faults(&[("good.yaml", &passing()), ("bad.yaml", "document: {policy: {id: p}}\ncase: []\n")]),
        ["bad.yaml:2:1: case: unknown field `case`, expected `document` or `cases` (did you mean cases?)"]
    );
    let misspelt = |from: &str, to: &str| faults(&[("cases.yaml", &passing().replacen(from, to, 1))]);
    let found = misspelt("split:", "splits:");
    assert!(found[0].starts_with("cases.yaml:11:5: cases[0].splits: unknown field `splits`"), "{found:?}");
    let found = misspelt("decision:", "decison:");
    assert!(found[0].contains("cases[0].expect.decison: unknown field `decison`"), "{found:?}");
    assert!(found[0].ends_with("(did you mean decision?)"), "{found:?}");
    let found = misspelt("deny:", "denies:");
    assert!(found[0].starts_with("cases.yaml:7:27: document.chain[0].with.denies: unknown field"), "{found:?}");
}

#[test]
fn a_hit_that_cannot_be_is_an_error_and_not_one_that_is_never_missed() {
    let found = faults(&[("cases.yaml", &passing().replace("no_hits: [rm]", "no_hits: [rn]"))]);
    let wrong = "cases[1].expect.no_hits[0]: there is no rule \"rn\"; there are: rm, dd";
    assert!(found.len() == 1 && found[0].contains(wrong), "{found:?}");
    let begins = passing().replace("deny: [rm, dd]", "deny: [r*]");
    assert_eq!(run(&begins).counts(), (2, 0));
}

#[test]
fn only_policy_documents_and_what_cases_name_may_lie_beside_them() {
    let document = "policy: {id: p}\n";
    assert_eq!(run_on(&[("cases.yaml", &passing()), ("p.yaml", document)], false).unwrap().counts(), (2, 0));
    for other in ["{id: c, object: chat.completion}", "[]", "only a text", "{a: ["] {
        let found = faults(&[("cases.yaml", &passing()), ("deep/other.yaml", other)]);
        assert!(found.len() == 1 && found[0].starts_with("other.yaml:1:"), "{found:?}");
    }
    let found = faults(&[("cases.yaml", &passing()), ("p.yaml", "policy: {id: p}\nchian: []\n")]);
    assert!(found[0].starts_with("p.yaml:2:1: chian: unknown field"), "{found:?}");
    let cases = "document: p.json\ncases:\n- name: it passes\n  request: {model: m, messages: []}\n  response_file: answer.json\n  expect: {unchanged: true}\n";
    let answer = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]}"#;
    let named = [("cases.yaml", cases), ("p.json", r#"{"policy":{"id":"p"}}"#), ("answer.json", answer)];
    assert_eq!(run_on(&named, false).unwrap().counts(), (1, 0));
    let found = faults(&[("cases.yaml", &cases.replace("  expect", "  response: {}\n  expect")), named[1], named[2]]);
    assert!(found[0].starts_with("cases.yaml:5:3: cases[0].response_file: give response or response_file"), "{found:?}");
}

#[test]
fn more_that_waits_than_expected_is_a_fault() {
    // The beginning of the call waits for its end, and that is all.
    let begins = r#""arguments":"{"}}]}}]}"#;
    let ends = r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#;
    let cases = passing().replacen(r#""arguments":"{}"}}]}}]}"#, &format!("{begins}\n\n      {ends}"), 1);
    let begin = cases.lines().find(|line| line.contains(begins)).unwrap().trim().len() + 2;
    let with = |most: usize| {
        let expected = format!("holds_at_most: {most}, events");
        run(&cases.replace("split: all", "split: events").replace("hits: [rm], events", &expected))
    };
    assert_eq!(with(begin).counts(), (2, 0));
    let results = with(begin - 1);
    assert_eq!(results.files[0].1[0].faults[0], format!("{begin} bytes waited, expected at most {}", begin - 1));
}

#[test]
fn coverage_tells_which_policies_and_rules_act_in_no_case() {
    let results = run_on(&[("cases.yaml", &passing())], true).unwrap();
    let coverage = &results.json()["coverage"][0];
    assert_eq!((&coverage["points"], &coverage["covered"]), (&json!(3), &json!(2)));
    let missed = json!([{"path": "chain[0].with.deny[1]", "name": "dd", "line": 7, "column": 38}]);
    assert_eq!(coverage["missed"], missed);
}

#[test]
fn a_document_of_which_less_acts_than_is_wanted_fails() {
    // Two of three act.
    for (least, code) in [(None, 0), (Some(0), 0), (Some(66), 0), (Some(67), 1), (Some(100), 1)] {
        let results = run_with(&[("cases.yaml", &passing())], false, least).unwrap();
        assert_eq!(results.code(), ExitCode::from(code), "{least:?}");
        assert_eq!(results.coverage.len(), usize::from(least.is_some()));
    }
}

const RULES: &str = "
policy: {id: p}
chain:
  - use: rules
    with: {rules: [{id: same, match: {terms: [owl]}}, {id: other, match: {terms: [hawk]}, action: observe}]}
  - use: rules
    with: {rules: [{id: same, match: {terms: [finch]}}]}
  - use: tool_rules
    with:
      rules:
        - {tools: [put], verdict: rewrite, set: [{at: /to, to: x}]}
        - {tools: [rm], verdict: deny}
  - use: no_op
";

#[test]
fn rules_of_the_same_name_are_told_apart_and_files_cover_a_document_together() {
    let case = |name: &str, message: &str| {
        format!(
            "document: p.yaml\ncases:\n- name: {name}\n  request: {{model: m, messages: []}}\n  response: {{id: c, object: chat.completion, created: 1, model: m, choices: [{{index: 0, finish_reason: stop, message: {message}}}]}}\n  expect: {{}}\n"
        )
    };
    let text = case("a text", "{role: assistant, content: A finch and a hawk}");
    let call = r#"{role: assistant, content: null, tool_calls: [{id: "1", type: function, function: {name: put, arguments: '{"to":1}'}}]}"#;
    let call = case("a call", call);
    let results = run_on(&[("a.yaml", &text), ("b.yaml", &call), ("p.yaml", RULES)], true).unwrap();
    assert_eq!(results.coverage.len(), 1);
    let coverage = &results.json()["coverage"][0];
    let missed: Vec<_> = coverage["missed"].as_array().unwrap().iter().map(|point| point["path"].as_str().unwrap()).collect();
    assert_eq!(missed, ["chain[0].with.rules[0]", "chain[2].with.rules[1]"], "{coverage}");
    assert_eq!(coverage["points"], 8);
}

#[test]
fn of_several_projects_each_is_covered_by_its_own_cases() {
    let document = "projects:\n  a: {policy: {id: a}, chain: [{use: content_only}]}\n  b: {policy: {id: b}, chain: [{use: content_only}]}\ndefault: b\n";
    let call = "{id: c, object: chat.completion, created: 1, model: m, choices: [{index: 0, finish_reason: tool_calls, message: {role: assistant, content: null, tool_calls: [{id: \"1\", type: function, function: {name: rm, arguments: '{}'}}]}}]}";
    let cases = format!(
        "document: p.yaml\ncases:\n- name: c\n  request: {{model: m, messages: []}}\n  response: {call}\n  expect: {{events: [content_only.dropped]}}\n"
    );
    let results = run_on(&[("c.yaml", &cases), ("p.yaml", document)], true).unwrap();
    assert_eq!(results.counts(), (1, 0), "{results:?}");
    let coverage = &results.json()["coverage"][0];
    assert_eq!(coverage["missed"], json!([{"path": "projects.a.chain[0]", "name": "content_only", "line": 2, "column": 32}]));
}

#[test]
fn junit_has_a_suite_for_each_file_and_says_what_failed() {
    let xml = run(&CASES.replace("DECISION", "allow")).junit().unwrap();
    assert!(xml.contains(r#"<testsuites name="weir test" tests="2" failures="1" errors="0">"#), "{xml}");
    assert!(xml.contains(r#"<testcase name="a call that the judge passes""#), "{xml}");
    assert!(xml.contains(r#"<failure message="decision is &quot;refuse&quot;, expected &quot;allow&quot;">"#), "{xml}");
    assert!(xml.contains(r#"line="9""#), "{xml}");
}

#[test]
fn what_comes_of_cases_that_expect_nothing_yet_is_filled_in_and_all_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.yaml");
    let call = passing().lines().find(|line| line.contains("expect: {decision: refuse")).unwrap().to_owned();
    let empty = passing().replace(&call, "    expect: {} # to come");
    fs::write(&file, &empty).unwrap();
    let test = |record| {
        Test { folder: folder.path().to_owned(), format: Format::Text, coverage: false, coverage_min: None, record }.play()
    };
    assert_eq!(test(true).unwrap().counts(), (2, 0));
    let filled = fs::read_to_string(&file).unwrap();
    let changed: Vec<_> = filled.lines().zip(empty.lines()).filter(|(after, before)| after != before).collect();
    let [(line, _)] = changed.as_slice() else { panic!("{filled}") };
    let said = line.strip_prefix("    expect: ").and_then(|line| line.strip_suffix(" # to come")).unwrap();
    let said: Value = serde_json::from_str(said).unwrap();
    assert_eq!((&said["decision"], &said["hits"], &said["status"]), (&json!("refuse"), &json!(["rm"]), &json!(200)));
    assert_eq!((&said["reason_code"], &said["events"]), (&json!("TOOL_CALL_DENIED"), &json!(["judge.blocked", "judge.summary"])));
    assert!(said["output"].as_str().unwrap().contains("BLOCKED"));
    // It is compared from then on, and filled in no more.
    fs::write(&file, filled.replace("deny: [rm, dd]", "deny: [dd]").replace("no_hits: [rm]", "no_hits: [dd]")).unwrap();
    assert_eq!(test(true).unwrap().counts(), (1, 1));
    fs::write(&file, passing().replace(&call, "    expect:\n      {}")).unwrap();
    assert!(test(true).unwrap_err()[0].to_string().ends_with("must be written as `expect: {}` to be filled in"));
}
