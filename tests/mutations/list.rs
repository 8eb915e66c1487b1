//! The lists of mutations, and the choice of a part of them.

use std::path::Path;

use serde::Deserialize;

/// How a mutation is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Built in beside all others, and switched on when the program runs.
    #[default]
    Switch,
    /// Built alone: what no `if` can stand around, such as a constant.
    Build,
}

/// One deliberate break.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// Its name, in lower case with hyphens.
    pub id: String,
    /// What is broken, in one sentence.
    pub breaks: String,
    /// The promise that this breaks.
    pub promise: u8,
    /// The file, from the root of the project.
    pub file: String,
    /// The text that is replaced, which occurs once in the file. White space does not count. If a
    /// part stands between « and », only that is replaced, and the rest says where it is.
    pub find: String,
    /// An expression or statements that take its place.
    pub replace: String,
    #[serde(default)]
    pub kind: Kind,
    /// The tests of which one must fail: `lib:module::test` or `it:module::test`.
    #[serde(default)]
    pub caught_by: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// Reads all lists in a directory, in the order of their names.
pub fn read(directory: &Path) -> Result<Vec<Mutation>, String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("{} cannot be read: {error}", directory.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let list: List = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        all.extend(list.mutation);
    }
    Ok(all)
}

/// Returns the mutations with these ids, or whose ids begin so.
pub fn only(all: &[Mutation], ids: &[String]) -> Result<Vec<Mutation>, String> {
    let mut chosen = Vec::new();
    for id in ids {
        let exact: Vec<_> = all.iter().filter(|one| one.id == *id).collect();
        let found = if exact.is_empty() {
            all.iter().filter(|one| one.id.starts_with(id.as_str())).collect()
        } else {
            exact
        };
        if found.is_empty() {
            return Err(format!("there is no mutation {id}; `--list` prints them"));
        }
        chosen.extend(found.into_iter().cloned());
    }
    Ok(chosen)
}

/// Returns a random part of the mutations, the same for the same seed.
pub fn sample(all: &[Mutation], percent: u32, seed: u64) -> Vec<Mutation> {
    let mut order: Vec<(u64, &Mutation)> =
        all.iter().map(|one| (mixed(seed, &one.id), one)).collect();
    order.sort_by_key(|(place, _)| *place);
    let count = (all.len() * percent as usize).div_ceil(100);
    let mut chosen: Vec<Mutation> =
        order.into_iter().take(count).map(|(_, one)| one.clone()).collect();
    chosen.sort_by(|a, b| a.id.cmp(&b.id));
    chosen
}

/// Mixes a seed and a text (FNV-1a, then the end of SplitMix64).
fn mixed(seed: u64, text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
