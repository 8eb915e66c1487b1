//! Mutations: deliberate breaks of the program, each of which a test must catch.
//!
//! Without arguments only the lists are checked, in a second. With `--all`, `--sample` or `--only`
//! the breaks are made in a copy of the tree under `target/mutations`, built once, and each is
//! switched on by an environment variable for the tests that are to fail because of it.

#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod build;
mod check;
mod list;
mod options;
mod run;
mod schemata;
mod tests_named;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use options::{Options, What};

/// The variable that names the mutation that a process is to have.
const VARIABLE: &str = "CLAUDE_PEERS_BROKEN";

fn main() -> ExitCode {
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutations = match list::read(&project.join("tests/mutations/list")) {
        Ok(mutations) => mutations,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let faults = check::faults(project, &mutations, options.who);
    if !faults.is_empty() {
        eprintln!("The lists of mutations (tests/mutations/list) are not in order:");
        for fault in &faults {
            eprintln!("  {fault}");
        }
        return ExitCode::FAILURE;
    }
    let chosen = match &options.what {
        What::Check => {
            println!("{} mutations are in order; `-- --all` tries them", mutations.len());
            return ExitCode::SUCCESS;
        }
        What::List => {
            for mutation in &mutations {
                println!("{:<44} {}", mutation.id, mutation.breaks);
            }
            return ExitCode::SUCCESS;
        }
        What::All => mutations.clone(),
        What::Only(ids) => match list::only(&mutations, ids) {
            Ok(chosen) => chosen,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        },
        What::Sample { percent, seed } => {
            let chosen = list::sample(&mutations, *percent, *seed);
            println!("{} of {}: --sample {percent}% --seed {seed}", chosen.len(), mutations.len());
            chosen
        }
    };
    match run::run(project, &mutations, &chosen, &options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
