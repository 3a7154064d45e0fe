//! Finds the files of cases in a folder. None is left out in silence: what is no file of cases is a policy document, or named by cases.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use weir_engine::document::Documents;

use super::cases::Cases;
use super::names::Names;
use crate::cli::desk::{self, Fault, Source};

/// A file of cases that was read.
#[derive(Debug)]
pub(super) struct CaseFile {
    pub(super) file: PathBuf,
    pub(super) source: Source,
    pub(super) cases: Cases,
    /// The policy document: of a file of its own, or of a field of this one.
    pub(super) document: Source,
    pub(super) documents: Documents,
}

impl CaseFile {
    fn new(file: &Path, source: Source) -> Result<Self, Fault> {
        let cases: Cases = source.read_as()?;
        let document = match cases.document.as_str() {
            Some(path) => Source::read(&beside(file, Path::new(path)))?,
            None => source.field("document"),
        };
        for (index, case) in cases.cases.iter().enumerate() {
            if case.response_file.is_some() && !case.response.is_null() {
                let message = "give response or response_file, not both";
                return Err(source.fault(&format!("cases[{index}].response_file"), message));
            }
        }
        let documents = document.documents()?;
        let names = Names::of(&document.value);
        for (index, case) in cases.cases.iter().enumerate() {
            if let Some((path, message)) = names.fault(&case.expect) {
                return Err(source.fault(&format!("cases[{index}].expect.{path}"), &message));
            }
        }
        Ok(Self { file: file.to_owned(), source, cases, document, documents })
    }

    /// The files that it names.
    fn named(&self) -> impl Iterator<Item = PathBuf> {
        let responses = self.cases.cases.iter().filter_map(|case| case.response_file.as_deref());
        self.cases.document.as_str().map(Path::new).into_iter().chain(responses).map(|path| beside(&self.file, path))
    }

    /// Reads what the provider answers in a case.
    pub(super) fn response(&self, index: usize) -> Result<serde_json::Value, Fault> {
        let case = self.cases.cases.get(index);
        match case.and_then(|case| case.response_file.as_deref()) {
            Some(path) => desk::read_answer(&beside(&self.file, path)),
            None => Ok(case.map(|case| case.response.clone()).unwrap_or_default()),
        }
    }
}

/// Finds a file whose path counts from that of another; below the current folder in its shortest form, which is the same for all
/// that name it.
fn beside(file: &Path, path: &Path) -> PathBuf {
    let path = file.parent().unwrap_or_else(|| Path::new(".")).join(path);
    let short = || {
        let (here, whole) = (std::env::current_dir().ok()?.canonicalize().ok()?, path.canonicalize().ok()?);
        whole.strip_prefix(here).ok().map(Path::to_owned)
    };
    short().unwrap_or(path)
}

/// Reads all files of cases in a folder and those below it, or one file.
pub(super) fn read(folder: &Path) -> Result<Vec<CaseFile>, Vec<Fault>> {
    let mut files = Vec::new();
    find(folder, &mut files).map_err(|fault| vec![fault])?;
    let (mut found, mut faults, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        match Source::read(&file) {
            Err(fault) => others.push((file, fault)),
            Ok(source) if source.value.get("cases").is_some() => match CaseFile::new(&file, source) {
                Ok(cases) => found.push(cases),
                Err(fault) => faults.push(fault),
            },
            Ok(source) => {
                let is_document = ["policy", "projects"].iter().any(|key| source.value.get(key).is_some());
                let fault = if is_document { source.documents().err() } else { source.read_as::<Cases>().err() };
                others.extend(fault.map(|fault| (file, fault)));
            }
        }
    }
    let named: HashSet<PathBuf> = found.iter().flat_map(CaseFile::named).filter_map(|path| path.canonicalize().ok()).collect();
    let is_named = |file: &Path| file.canonicalize().is_ok_and(|file| named.contains(&file));
    faults.extend(others.into_iter().filter(|(file, _)| !is_named(file)).map(|(_, fault)| fault));
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// Lists files that can have cases, in the order of their names; hidden ones are none.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let unreadable = |error: std::io::Error| Fault::unreadable(path, &error);
    if fs::metadata(path).map_err(unreadable)?.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let can_have_cases =
        |path: &Path| path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
    for path in paths.iter().filter(|path| !is_hidden(path)) {
        if path.is_dir() || can_have_cases(path) {
            find(path, files)?;
        }
    }
    Ok(())
}
