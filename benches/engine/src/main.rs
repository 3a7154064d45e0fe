//! Measures the engine by itself: time, allocations and, where asked for, instructions per event, beside two simple ways to
//! handle the same streams.

mod allocations;
mod case;
mod handler;
mod measure;
mod streams;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::case::Case;
use crate::measure::Figures;

#[derive(Debug, Parser)]
#[command(about = "Measures the engine by itself, without Wasm and without Envoy.")]
struct Arguments {
    /// Count instructions with valgrind's Callgrind, too: slow, but the same on every run.
    #[arg(long)]
    callgrind: bool,
    /// Only the cases whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only handle the stream of the first case so many times: what Callgrind looks at.
    #[arg(long, hide = true)]
    handle: Option<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cases: Vec<_> = Case::all()?.into_iter().filter(|case| case.name.contains(&arguments.only)).collect();
    if let Some(times) = arguments.handle {
        let case = cases.first().context("no such case")?;
        let (stream, mut out) = (case.stream(0), Vec::new());
        for _ in 0..times {
            case.handler.handle(&stream, &mut out);
        }
        return Ok(());
    }

    println!(
        "| engine, native | bytes/event | ns/event | MB/s | × JSON tree | allocations/delta | allocations/exchange | instructions/event |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let (mut all, mut failed) = (Vec::new(), 0);
    for case in &cases {
        match Figures::measure(case, arguments.callgrind) {
            Ok(figures) => {
                print(&figures);
                all.push(figures);
            }
            Err(error) => {
                eprintln!("{error:#}");
                failed += 1;
            }
        }
    }
    println!();
    print_dialects(&all);
    if let Some(path) = arguments.json {
        std::fs::write(&path, serde_json::to_vec_pretty(&all)?).with_context(|| path.display().to_string())?;
    }
    ensure!(failed == 0, "{failed} of {} cases do not do what they are measured for", cases.len());
    Ok(())
}

/// What each work costs in each dialect, beside the dialect in which it is cheapest.
fn print_dialects(all: &[Figures]) {
    println!("| engine, native: work | dialect | bytes/event | ns/event | × cheapest dialect |");
    println!("|---|---|---:|---:|---:|");
    let mut by_work: Vec<_> = all.iter().collect();
    by_work.sort_by_key(|figures| figures.work);
    for figures in by_work {
        let same_work = all.iter().filter(|other| other.work == figures.work);
        let cheapest = same_work.map(|other| other.nanoseconds_per_event).fold(f64::INFINITY, f64::min);
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.2} |",
            figures.work,
            figures.dialect,
            figures.bytes_per_event,
            figures.nanoseconds_per_event,
            figures.nanoseconds_per_event / cheapest,
        );
    }
}

fn print(figures: &Figures) {
    let instructions = figures.instructions_per_event.map_or_else(|| "–".to_owned(), |count| format!("{count:.0}"));
    println!(
        "| {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {} | {instructions} |",
        figures.case,
        figures.bytes_per_event,
        figures.nanoseconds_per_event,
        figures.megabytes_per_second,
        figures.ratio_to_json_tree,
        figures.allocations_per_delta,
        figures.allocations_per_exchange,
    );
}
