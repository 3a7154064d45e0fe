//! Whatever grows in an exchange, the work grows with it and no faster: no provider and no client can keep a worker busy.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod events;
mod shapes;

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use serde_json::json;
use weir::exchange::Observation;
use weir_test_support::script::{self, Script};
use weir_test_support::{native, policies};

use self::shapes::{SHAPES, Sent, Shape};

/// The sizes that are compared.
const SMALL: usize = 500;
const LARGE: usize = 2000;

/// The most that the work may grow by from the small size to the large one, which is four times as much: what is quadratic
/// grows by sixteen.
const MOST: f64 = 5.6;

/// As [`MOST`], where there is no Callgrind and time has to do, which other work on the machine lengthens.
const MOST_TIME: f64 = 10.0;

/// From how many times as much time on instructions are counted.
const SUSPECT: f64 = 7.0;

/// Names the case that a process of its own plays: the shape and the size.
const CASE: &str = "WEIR_GROWTH_CASE";

/// The exchange of a shape of this size.
fn script(shape: &Shape, size: usize) -> Script {
    let mut document = script::document(json!([{"use": "no_op"}]));
    document["limits"] = json!({"max_held_bytes": 50_000_000});
    let written = (shape.write)(size).into_bytes();
    match shape.sent {
        Sent::Stream => Script::streamed(shape.dialect, document, vec![written]),
        Sent::Whole => Script::whole(shape.dialect, document, vec![written]),
        Sent::Request => Script::request_to(script::path(shape.dialect), document, vec![written]),
    }
}

/// What is counted: what writes the exchange is not.
#[inline(never)]
fn growth_measured(script: &Script) -> usize {
    let outcome = native::play(script, &policies::registry());
    let failed = outcome.observations.iter().find(|observed| matches!(observed, Observation::Failed(_)));
    assert_eq!(failed, None, "a refusal is no work");
    outcome.client.len()
}

#[test]
#[ignore = "a part of the test below, in a process of its own"]
fn one_case() {
    let Ok(case) = std::env::var(CASE) else { return };
    let [name, size] = case.split('|').collect::<Vec<_>>().try_into().unwrap();
    let shape = SHAPES.iter().find(|shape| shape.name == name).unwrap();
    black_box(growth_measured(&script(shape, size.parse().unwrap())));
}

/// The instructions of a case, as Callgrind counts them; `None` where there is no Callgrind.
fn instructions(shape: &Shape, size: usize) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*growth_measured*"])
        .arg(std::env::current_exe().unwrap())
        .args(["one_case", "--exact", "--ignored", "--test-threads=1"])
        .env(CASE, format!("{}|{size}", shape.name))
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}{report}", shape.name);
    let count = report.lines().find_map(|line| line.split("Collected : ").nth(1)).and_then(|count| count.trim().parse().ok());
    Some(count.unwrap_or_else(|| panic!("valgrind printed no count: {report}")))
}

/// The shortest of three times.
fn seconds(shape: &Shape, size: usize) -> f64 {
    let script = script(shape, size);
    let time = |_| {
        let start = Instant::now();
        black_box(growth_measured(&script));
        start.elapsed().as_secs_f64()
    };
    (0..3).map(time).fold(f64::MAX, f64::min)
}

/// How many times the work of the small size the large one is, where that is too much. Time tells what to look at, and
/// instructions, which are the same on every run, whether it is true.
fn excess(shape: &Shape) -> Option<f64> {
    let time = seconds(shape, LARGE) / seconds(shape, SMALL);
    if time <= SUSPECT {
        return None;
    }
    match (instructions(shape, SMALL), instructions(shape, LARGE)) {
        (Some(small), Some(large)) => Some(large / small).filter(|growth| *growth > MOST),
        _ => Some(time).filter(|growth| *growth > MOST_TIME),
    }
}

#[test]
fn work_grows_with_what_comes_and_no_faster() {
    let excesses = SHAPES.iter().filter_map(|shape| Some((shape.name, excess(shape)?)));
    let too_fast: Vec<String> = excesses.map(|(name, growth)| format!("{name}: {growth:.1}")).collect();
    assert!(too_fast.is_empty(), "from {SMALL} to {LARGE} the work grows by\n{}", too_fast.join("\n"));
}
