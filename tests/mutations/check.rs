//! Checks the lists without building anything, so that they do not rot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::list::{Kind, Mutation};
use crate::{schemata, tests_named};

/// The fewest mutations that the lists have together.
const FEWEST: usize = 150;

/// The most that need a build of their own, which takes longer than all others together.
const MOST_BUILDS: usize = 12;

/// Returns what is wrong with the lists.
///
/// While lists are being written (`unfinished`), what catches a mutation may be unknown.
pub fn faults(project: &Path, mutations: &[Mutation], unfinished: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    let mut files: BTreeMap<&str, Vec<&Mutation>> = BTreeMap::new();
    for mutation in mutations {
        let id = &mutation.id;
        if !ids.insert(id) {
            faults.push(format!("{id}: the id occurs twice"));
        }
        if !id.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-')
        {
            faults.push(format!("{id}: an id is lower case and hyphens"));
        }
        if !mutation.breaks.ends_with('.') {
            faults.push(format!("{id}: `breaks` is no sentence"));
        }
        if !(1..=8).contains(&mutation.promise) {
            faults.push(format!("{id}: there are promises 1 to 8"));
        }
        if mutation.caught_by.is_empty() && !unfinished {
            faults.push(format!("{id}: `caught_by` names no test"));
        }
        for test in &mutation.caught_by {
            if !tests_named::exists(project, test) {
                faults.push(format!("{id}: there is no test {test}"));
            }
        }
        files.entry(&mutation.file).or_default().push(mutation);
    }
    for (file, mutations) in files {
        match std::fs::read_to_string(project.join(file)) {
            Ok(text) => faults.extend(faults_of_file(&text, &mutations)),
            Err(error) => faults.push(format!("{}: {file}: {error}", mutations[0].id)),
        }
    }
    if mutations.len() < FEWEST && !unfinished {
        faults
            .push(format!("there are {} mutations, at least {FEWEST} are wanted", mutations.len()));
    }
    let builds = mutations.iter().filter(|one| one.kind == Kind::Build).count();
    if builds > MOST_BUILDS {
        faults.push(format!("{builds} need a build of their own, at most {MOST_BUILDS} may"));
    }
    faults
}

/// Returns what is wrong with the mutations of one file.
fn faults_of_file(text: &str, mutations: &[&Mutation]) -> Vec<String> {
    let mut faults = Vec::new();
    for mutation in mutations {
        if let Err(error) = schemata::place(text, &mutation.find) {
            faults.push(format!("{}: {}: {error}", mutation.id, mutation.file));
        }
    }
    if faults.is_empty() {
        let switched: Vec<&Mutation> =
            mutations.iter().filter(|one| one.kind == Kind::Switch).copied().collect();
        faults.extend(schemata::switched(text, &switched, "").err());
    }
    faults
}
