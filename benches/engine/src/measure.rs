//! Times, allocations and instructions of a case.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::allocations;
use crate::case::Case;
use crate::handler::Handler;
use crate::streams::Stream;

/// How long one sample runs, so that the clock's resolution does not matter.
const SAMPLE: Duration = Duration::from_millis(50);
const SAMPLES: usize = 11;
/// By how many deltas a stream is made longer to see what one delta needs in the steady state.
const MORE_DELTAS: usize = 1000;

/// The figures of one case.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) case: String,
    pub(crate) dialect: &'static str,
    pub(crate) work: &'static str,
    pub(crate) bytes_per_event: f64,
    pub(crate) nanoseconds_per_event: f64,
    pub(crate) megabytes_per_second: f64,
    /// Time, against parsing every event of the same stream into a tree.
    pub(crate) ratio_to_json_tree: f64,
    pub(crate) allocations_per_delta: f64,
    pub(crate) allocations_per_exchange: u64,
    pub(crate) instructions_per_event: Option<f64>,
}

impl Figures {
    /// Measures `case`.
    pub(crate) fn measure(case: &Case, callgrind: bool) -> Result<Self> {
        case.verify()?;
        let (stream, longer) = (case.stream(0), case.stream(MORE_DELTAS));
        let events = stream.events.len() as f64;
        let (nanoseconds, ratio_to_json_tree) = time(&case.handler, &stream);
        let short = count_allocations(&case.handler, &stream);
        let long = count_allocations(&case.handler, &longer);
        // The second time costs what a stream costs; the first has the start of the program and the making of the stream.
        let instructions_per_event =
            if callgrind { Some(instructions(case, 2)?.saturating_sub(instructions(case, 1)?) as f64 / events) } else { None };
        Ok(Self {
            case: case.name.clone(),
            dialect: case.dialect.name(),
            work: case.work,
            bytes_per_event: stream.bytes() as f64 / events,
            nanoseconds_per_event: nanoseconds / events,
            megabytes_per_second: stream.bytes() as f64 / nanoseconds * 1e3,
            ratio_to_json_tree,
            allocations_per_delta: long.saturating_sub(short) as f64 / MORE_DELTAS as f64,
            allocations_per_exchange: short,
            instructions_per_event,
        })
    }
}

/// Nanoseconds that `handler` needs for the stream, and how many times as long as parsing every event into a tree that is.
/// Both take turns, so that a machine that is busy with something else for a while slows both.
fn time(handler: &Handler, stream: &Stream) -> (f64, f64) {
    let (nanoseconds, ratios) = (0..SAMPLES)
        .map(|_| (sample(handler, stream), sample(&Handler::JsonTree, stream)))
        .map(|(handler, tree)| (handler, handler / tree))
        .unzip();
    (median(nanoseconds), median(ratios))
}

fn sample(handler: &Handler, stream: &Stream) -> f64 {
    let mut out = Vec::new();
    let started = Instant::now();
    let mut streams = 0_u32;
    while started.elapsed() < SAMPLE {
        handler.handle(stream, &mut out);
        streams += 1;
    }
    started.elapsed().as_nanos() as f64 / f64::from(streams)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Allocations of one whole exchange whose buffer for output is warm.
fn count_allocations(handler: &Handler, stream: &Stream) -> u64 {
    let mut out = Vec::new();
    handler.handle(stream, &mut out);
    allocations::count(|| handler.handle(stream, &mut out))
}

/// Instructions of this program when it does nothing but handle the stream of `case` so many times, as Callgrind counts them.
fn instructions(case: &Case, times: usize) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--only", &case.name, "--handle", &times.to_string()])
        .output()
        .context("valgrind does not start; it comes with the system's packages")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {report}");
    report
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1))
        .and_then(|count| count.trim().parse().ok())
        .with_context(|| format!("valgrind printed no count: {report}"))
}
