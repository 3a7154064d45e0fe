//! Writes the seeds of a fuzz target into a folder: `write_seeds <target> <folder>`.

use std::path::Path;
use std::{env, fs};

use weir_test_support::fuzzing;

fn main() {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    let [target, folder] = arguments.as_slice() else { panic!("usage: write_seeds <target> <folder>") };
    let known = fuzzing::targets().into_iter().find(|(name, ..)| name == target);
    let (_, _, seeds) = known.unwrap_or_else(|| panic!("there is no target {target}"));
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(Path::new(folder).join(format!("{number:03}")), seed).expect("the seed can be written");
    }
}
