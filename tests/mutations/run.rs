//! Builds the copy, tries each mutation, and tells which are caught.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::VARIABLE;
use crate::build::{self, Programs};
use crate::list::{Kind, Mutation};
use crate::options::Options;
use crate::tests_named::{Program, split};
use crate::tree::Tree;

/// How long the tests of one mutation may take. What hangs for so long is caught: a test that never
/// ends is noticed by everybody.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The same for the tests without a mutation, which are run all at once.
const TIME_LIMIT_UNBROKEN: Duration = Duration::from_secs(900);

/// How many lines of a test program's output are shown if something is not as expected.
const TAIL: usize = 30;

/// What became of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// These tests failed.
    Caught(Vec<String>),
    /// A test did not end.
    Hung,
    /// The test program was ended by a signal or an abort.
    Crashed,
    Survived,
    /// It could not be tried.
    Failed(String),
}

/// Tries these mutations. Returns whether all were caught.
pub fn run(
    project: &Path,
    all: &[Mutation],
    chosen: &[Mutation],
    options: &Options,
) -> Result<bool, String> {
    let since = Instant::now();
    let directory = project.join("target/mutations");
    let target = directory.join("target");
    build::share_libraries(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    let tree = Tree::write(project, directory.join("tree"), all)?;
    println!("building {} mutations in {}", all.len(), directory.display());
    let programs = build::build(&tree.root, &target, &[Program::Lib, Program::It])?;
    let built = since.elapsed();
    println!("built in {:.0} s", built.as_secs_f64());
    let runner = Runner { tree: &tree, who: options.who };
    if !options.who {
        runner.unbroken(&programs, chosen)?;
        println!("unbroken, all tests pass ({:.0} s)", (since.elapsed() - built).as_secs_f64());
    }
    let (switched, alone): (Vec<&Mutation>, Vec<&Mutation>) =
        chosen.iter().partition(|one| one.kind == Kind::Switch);
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(mutation) = switched.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (outcome, took) = timed(|| runner.tried(&programs, mutation));
                    print_row(mutation, &outcome, took);
                    outcomes.lock().unwrap().insert(mutation.id.clone(), outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    for mutation in alone {
        let (outcome, took) = timed(|| {
            let undo = tree.make(mutation);
            let of = |program| !named(std::slice::from_ref(mutation), program).is_empty();
            let wanted: Vec<Program> =
                [Program::Lib, Program::It].into_iter().filter(|program| of(*program)).collect();
            let built =
                undo.and_then(|undo| Ok((build::build(&tree.root, &target, &wanted)?, undo)));
            match built {
                Ok((programs, _undo)) => runner.tried(&programs, mutation),
                Err(error) => Outcome::Failed(error),
            }
        });
        print_row(mutation, &outcome, took);
        outcomes.insert(mutation.id.clone(), outcome);
    }
    Ok(summed_up(&outcomes, since.elapsed()))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let since = Instant::now();
    let result = work();
    (result, since.elapsed())
}

fn print_row(mutation: &Mutation, outcome: &Outcome, took: Duration) {
    let what = match outcome {
        Outcome::Caught(tests) => format!("caught    {}", tests.join(" ")),
        Outcome::Hung => "caught    (a test did not end)".to_owned(),
        Outcome::Crashed => "caught    (the tests were ended)".to_owned(),
        Outcome::Survived => format!("SURVIVED  {}", mutation.breaks),
        Outcome::Failed(error) => format!("FAILED    {error}"),
    };
    println!("{:<44} {:>5.1} s  {what}", mutation.id, took.as_secs_f64());
}

fn summed_up(outcomes: &BTreeMap<String, Outcome>, took: Duration) -> bool {
    let not_caught = |outcome: &Outcome| matches!(outcome, Outcome::Survived | Outcome::Failed(_));
    let left: Vec<&String> =
        outcomes.iter().filter(|(_, one)| not_caught(one)).map(|(id, _)| id).collect();
    let caught = outcomes.len() - left.len();
    println!("{caught} of {} caught, in {:.0} s", outcomes.len(), took.as_secs_f64());
    for id in &left {
        println!("not caught: {id}");
    }
    left.is_empty()
}

/// Runs test programs of the copy.
struct Runner<'a> {
    tree: &'a Tree,
    /// Whether all unit tests run, whatever is named.
    who: bool,
}

/// What a test program said.
struct Ran {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// `None` if it did not end in time.
    status: Option<ExitStatus>,
    tail: String,
}

impl Runner<'_> {
    /// Runs all tests that these mutations name, which must pass.
    fn unbroken(&self, programs: &Programs, mutations: &[Mutation]) -> Result<(), String> {
        for program in [Program::Lib, Program::It] {
            let tests = named(mutations, program);
            if tests.is_empty() {
                continue;
            }
            let mut ran = self.tests(programs, program, &tests, None, TIME_LIMIT_UNBROKEN)?;
            if let Some(missing) = tests
                .iter()
                .find(|test| !ran.passed.contains(**test) && !ran.failed.contains(**test))
            {
                return Err(format!("{missing} did not run:\n{}", ran.tail));
            }
            // On a machine that is busy a test may fail that passes alone.
            if !ran.failed.is_empty() {
                let failed: BTreeSet<&str> = ran.failed.iter().map(String::as_str).collect();
                ran = self.tests(programs, program, &failed, None, TIME_LIMIT_UNBROKEN)?;
            }
            if !ran.status.is_some_and(|status| status.success()) {
                let failed: Vec<_> = ran.failed.iter().map(String::as_str).collect();
                return Err(format!("unbroken, these fail: {}\n{}", failed.join(" "), ran.tail));
            }
        }
        Ok(())
    }

    /// Runs the tests of one mutation: first the unit tests, which are quick.
    fn tried(&self, programs: &Programs, mutation: &Mutation) -> Outcome {
        for program in [Program::Lib, Program::It] {
            let tests = named(std::slice::from_ref(mutation), program);
            let everything = self.who && program == Program::Lib;
            if tests.is_empty() && !everything {
                continue;
            }
            let tests = if everything { BTreeSet::new() } else { tests };
            let ran = match self.tests(programs, program, &tests, Some(&mutation.id), TIME_LIMIT) {
                Ok(ran) => ran,
                Err(error) => return Outcome::Failed(error),
            };
            match ran.status {
                None => return Outcome::Hung,
                Some(status) if status.success() => {}
                Some(_) if ran.failed.is_empty() => return Outcome::Crashed,
                Some(_) => return Outcome::Caught(ran.failed.into_iter().collect()),
            }
        }
        Outcome::Survived
    }

    fn tests(
        &self,
        programs: &Programs,
        program: Program,
        tests: &BTreeSet<&str>,
        broken: Option<&str>,
        limit: Duration,
    ) -> Result<Ran, String> {
        let failed = |error: std::io::Error| format!("the tests cannot be run: {error}");
        let mut output = tempfile::tempfile().map_err(failed)?;
        let path = programs.path(program).ok_or("this test program was not built")?;
        let mut command = Command::new(path);
        command
            .args(tests)
            .current_dir(&self.tree.root)
            .env_remove(VARIABLE)
            .envs(broken.map(|id| (VARIABLE, id)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output.try_clone().map_err(failed)?)
            .process_group(0);
        if !tests.is_empty() {
            command.arg("--exact");
        }
        let mut child = command.spawn().map_err(failed)?;
        let since = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break Some(status);
            }
            if since.elapsed() > limit {
                if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                child.wait().map_err(failed)?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut bytes = Vec::new();
        output.rewind().map_err(failed)?;
        output.read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let with = |end: &str| -> BTreeSet<String> {
            let of = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(end)?.to_owned());
            text.lines().filter_map(of).collect()
        };
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        Ok(Ran { passed: with(" ... ok"), failed: with(" ... FAILED"), status, tail })
    }
}

/// The tests of one program that these mutations name.
fn named(mutations: &[Mutation], program: Program) -> BTreeSet<&str> {
    let tests = mutations.iter().flat_map(|one| &one.caught_by).filter_map(|test| split(test));
    tests.filter(|(of, _)| *of == program).map(|(_, test)| test).collect()
}
