//! Results as JUnit's XML, which build servers show.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::play::Played;

/// Writes a suite for each file.
pub(super) fn write<'a>(files: impl Iterator<Item = (String, &'a [Played])>) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("weir test");
    for (file, cases) in files {
        let mut suite = TestSuite::new(&file);
        for played in cases {
            let status = match played.faults.first() {
                None => TestCaseStatus::success(),
                Some(first) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(first).set_description(played.faults.join("\n"));
                    status
                }
            };
            let mut case = TestCase::new(&played.name, status);
            case.set_classname(&file).set_time(played.took);
            case.extra.insert("file".into(), file.as_str().into());
            case.extra.insert("line".into(), played.place.line.to_string().into());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string()
}
