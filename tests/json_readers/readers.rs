//! The JSON readers of other languages.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// The reader of a language, and what it makes of each document, in one form; `None` where the document is no JSON to it.
pub(crate) struct Reader {
    pub(crate) language: &'static str,
    pub(crate) read: Vec<Option<String>>,
}

/// A program that reads for all tests: to start one takes longer than to read thousands of documents.
struct Program {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

static PYTHON: Mutex<Option<Program>> = Mutex::new(None);
static JAVASCRIPT: Mutex<Option<Program>> = Mutex::new(None);

/// Has the readers that are there read what stands at `path` in `documents`; says which are not there.
pub(crate) fn readers(documents: &[Vec<u8>], path: &[&str]) -> Vec<Reader> {
    let mut input = String::new();
    for document in documents {
        input += &path.join("/");
        input.push(' ');
        document.iter().for_each(|byte| write!(input, "{byte:02x}").unwrap());
        input.push('\n');
    }
    [
        ("Python", &PYTHON, "python3", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/json_readers/reader.py")),
        ("JavaScript", &JAVASCRIPT, "node", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/json_readers/reader.mjs")),
    ]
    .into_iter()
    .filter_map(|(language, running, program, script)| {
        let mut running = running.lock().unwrap();
        if running.is_none() {
            *running = Program::start(program, script);
        }
        let read = running.as_mut()?.read(&input, documents.len());
        Some(Reader { language, read })
    })
    .collect()
}

impl Program {
    fn start(program: &str, script: &str) -> Option<Self> {
        let child = Command::new(program).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: {program} is not there to read as clients in its language do");
            return None;
        };
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { input, output, _child: child })
    }

    /// The answers to as many questions.
    fn read(&mut self, questions: &str, count: usize) -> Vec<Option<String>> {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| self.input.write_all(questions.as_bytes()));
            let answers: Vec<_> = (&mut self.output).lines().take(count).map(Result::unwrap).collect();
            writer.join().unwrap().unwrap();
            assert_eq!(answers.len(), count, "every question is answered once");
            answers.into_iter().map(|answer| (answer != "unreadable").then_some(answer)).collect()
        })
    }
}
