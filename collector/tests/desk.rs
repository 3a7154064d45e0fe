//! The commands for policy documents, as the page about them shows them.
#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../docs/desk.md");

/// The blocks of a language on the page.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().expect("split gives at least one piece")).collect()
}

/// Lays out the files of the page; a block begins with the name of its file.
fn lay_out(folder: &Path) -> usize {
    let files = blocks("yaml").into_iter().chain(blocks("json"));
    let files = files.filter_map(|block| block.strip_prefix("# ")?.split_once('\n').map(|(name, text)| (name, text, block)));
    let files = files.filter(|(name, ..)| !name.contains(' '));
    files
        .map(|(name, text, block)| {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            // The name is a comment of YAML, and counts as a line there.
            fs::write(&file, if name.ends_with(".json") { text } else { block }).expect("written");
        })
        .count()
}

/// What a command prints, and how it ends.
fn run(command: &str, folder: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_weir"));
    let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("a path"));
    let output = Command::new("sh").args(["-c", command]).current_dir(folder).env("PATH", path).output().expect("sh runs");
    let said = [output.stdout, output.stderr].concat();
    format!("{}[exit {}]\n", String::from_utf8(said).expect("text"), output.status.code().expect("it ends by itself"))
}

#[test]
fn the_examples_of_the_page_say_what_stands_there() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(lay_out(folder.path()), 5);
    let mut count = 0;
    for block in blocks("console") {
        for example in block.split("$ ").skip(1) {
            let (command, expected) = example.split_once('\n').expect("a command is a line");
            assert_eq!(run(command, folder.path()), expected, "{command}");
            count += 1;
        }
    }
    assert_eq!(count, 5);
}

#[test]
fn presets_have_no_findings_and_each_of_their_rules_acts_in_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    let checked = run("weir check policies/presets/*.json", root);
    assert!(checked.ends_with("coding-agent.json: no findings\n[exit 0]\n"), "{checked}");
    let played = run("weir test policies/presets --coverage", root);
    let all = "6 of 6 policies and rules act in a case\n";
    let [chat, agent] = ["chat", "coding-agent"].map(|name| format!("policies/presets/{name}.json: {all}"));
    assert_eq!(played, format!("{chat}{agent}12 passed, 0 failed\n[exit 0]\n"));
}
