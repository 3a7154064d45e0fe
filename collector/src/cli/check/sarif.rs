//! Findings as SARIF 2.1.0, which code scanning shows at their lines.

use std::path::Path;

use serde_json::{Value, json};

use super::Report;
use super::finding::{Finding, Kind};
use crate::cli::desk::Place;

pub(super) fn log(reports: &[Report]) -> Value {
    let rules: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| {
            json!({
                "id": kind.id(),
                "shortDescription": {"text": kind.description()},
                "defaultConfiguration": {"level": kind.level().name()},
            })
        })
        .collect();
    let results: Vec<_> = reports.iter().flat_map(|report| &report.findings).map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "weir", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let fault = &finding.fault;
    let Place { line, column } = fault.place.unwrap_or(Place::START);
    let number = Kind::ALL.iter().position(|kind| *kind == finding.kind);
    json!({
        "ruleId": finding.kind.id(),
        "ruleIndex": number,
        "level": finding.kind.level().name(),
        "message": {"text": fault.what()},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&fault.file)},
                "region": {"startLine": line, "startColumn": column},
            },
            "logicalLocations": [{"fullyQualifiedName": fault.path}],
        }],
    })
}

/// Gives the reference of a file, relative where its path is: what is no plain character of a path is written in percent.
fn uri(file: &Path) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    let path = file.to_string_lossy().replace('\\', "/");
    let path = path.strip_prefix("./").unwrap_or(&path);
    let scheme = if path.starts_with('/') { "file://" } else { "" };
    let path: String =
        path.bytes().map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
    format!("{scheme}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri(Path::new("./policies/my rules#1.yaml")), "policies/my%20rules%231.yaml");
        assert_eq!(uri(Path::new("/etc/weir/p.yaml")), "file:///etc/weir/p.yaml");
        assert_eq!(uri(Path::new("é.yaml")), "%C3%A9.yaml");
    }
}
