//! The JSON readers of other languages.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The reader of a language, and what it makes of each document, in one form; `None` where the document is no JSON to it.
pub(crate) struct Reader {
    pub(crate) language: &'static str,
    pub(crate) read: Vec<Option<String>>,
}

/// Has the readers that are there read what stands at `path` in `documents`; says which are not there.
pub(crate) fn readers(documents: &[Vec<u8>], path: &[&str]) -> Vec<Reader> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/json_readers");
    let mut input = String::new();
    for document in documents {
        document.iter().for_each(|byte| write!(input, "{byte:02x}").unwrap());
        input.push('\n');
    }
    [("Python", "python3", "reader.py"), ("JavaScript", "node", "reader.mjs")]
        .into_iter()
        .filter_map(|(language, program, script)| {
            let command = Command::new(program)
                .arg(format!("{folder}/{script}"))
                .args(path)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut child) = command else {
                eprintln!("skipped: {program} is not there to read as clients in {language} do");
                return None;
            };
            let mut stdin = child.stdin.take().unwrap();
            let input = input.as_bytes();
            let output = std::thread::scope(|scope| {
                let writer = scope.spawn(move || stdin.write_all(input));
                let output = child.wait_with_output().unwrap();
                writer.join().unwrap().unwrap();
                output
            });
            assert!(output.status.success(), "{script}");
            let read = String::from_utf8(output.stdout).unwrap();
            let read: Vec<_> = read.lines().map(|line| (line != "unreadable").then(|| line.to_owned())).collect();
            assert_eq!(read.len(), documents.len(), "{script} answers each document once");
            Some(Reader { language, read })
        })
        .collect()
}
