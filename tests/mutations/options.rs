//! The command line of the mutations.

use std::time::{SystemTime, UNIX_EPOCH};

pub const USAGE: &str = "\
cargo test --test mutations [-- OPTIONS]

  (nothing)          check the lists only
  --list             print the mutations
  --all              try all of them
  --sample N%        try a random part of them; the seed is printed
  --seed N           repeat a random part
  --only ID...       try these; an id may be cut short (`lease` is all that begin with it)
  --jobs N           how many at once (2)
  --who              run all unit tests instead of those that are named, and print which fail";

/// What is to be done with the mutations.
#[derive(Debug)]
pub enum What {
    Check,
    List,
    All,
    Only(Vec<String>),
    Sample { percent: u32, seed: u64 },
}

#[derive(Debug)]
pub struct Options {
    pub what: What,
    pub jobs: usize,
    pub who: bool,
}

impl Options {
    /// Reads the arguments. What is meant for other test programs is passed over: `cargo test`
    /// gives all of them the same.
    pub fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.peekable();
        let (mut what, mut jobs, mut who) = (What::Check, 2, false);
        let mut seed = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => what = What::List,
                "--all" => what = What::All,
                "--who" => who = true,
                "--only" => {
                    let mut ids = Vec::new();
                    while let Some(id) = arguments.next_if(|next| !next.starts_with("--")) {
                        ids.push(id);
                    }
                    if ids.is_empty() {
                        return Err("--only needs an id".to_owned());
                    }
                    what = What::Only(ids);
                }
                "--sample" => {
                    let part = arguments.next().unwrap_or_default();
                    let percent = part.trim_end_matches('%').parse().ok();
                    let percent = percent.filter(|percent| (1..=100).contains(percent));
                    let percent = percent.ok_or("--sample needs a part from 1% to 100%")?;
                    what = What::Sample { percent, seed: 0 };
                }
                "--seed" => seed = Some(number(arguments.next(), "--seed")?),
                "--jobs" => jobs = number(arguments.next(), "--jobs")?.clamp(1, 64) as usize,
                _ => {}
            }
        }
        if let What::Sample { seed: chosen, .. } = &mut what {
            *chosen = seed.unwrap_or_else(seed_of_now);
        }
        Ok(Self { what, jobs, who })
    }
}

fn number(argument: Option<String>, option: &str) -> Result<u64, String> {
    argument.and_then(|text| text.parse().ok()).ok_or(format!("{option} needs a number"))
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}
