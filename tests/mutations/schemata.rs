//! Makes mutations in the text of a file: all of them at once, each behind a switch.

use std::ops::Range;

use crate::list::Mutation;

/// What the part of `find` that is replaced stands between.
const MARKS: [char; 2] = ['«', '»'];

/// Where in a file a mutation is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bytes that are replaced. Empty where something is only put in.
    pub range: Range<usize>,
}

/// Finds the place of a mutation in the text of its file. White space does not count.
pub fn place(text: &str, find: &str) -> Result<Place, String> {
    let solid: Vec<(usize, char)> =
        text.char_indices().filter(|(_, char)| !char.is_whitespace()).collect();
    let mut needle = Vec::new();
    let mut marks = Vec::new();
    for char in find.chars().filter(|char| !char.is_whitespace()) {
        if MARKS.contains(&char) {
            marks.push(needle.len());
        } else {
            needle.push(char);
        }
    }
    let (from, to) = match marks[..] {
        [] => (0, needle.len()),
        [from, to] => (from, to),
        _ => return Err("`find` has other marks than one « and one »".to_owned()),
    };
    if needle.is_empty() {
        return Err("`find` is empty".to_owned());
    }
    let mut found = (0..=solid.len().saturating_sub(needle.len()))
        .filter(|at| needle.iter().zip(&solid[*at..]).all(|(a, (_, b))| a == b))
        .filter(|at| at + needle.len() <= solid.len());
    let Some(at) = found.next() else { return Err("`find` does not occur in it".to_owned()) };
    if found.next().is_some() {
        return Err("`find` occurs more than once in it".to_owned());
    }
    let end = |index: usize| solid[index].0 + solid[index].1.len_utf8();
    let start = if from == to { end(at + from - 1) } else { solid[at + from].0 };
    Ok(Place { range: start..if from == to { start } else { end(at + to - 1) } })
}

/// Makes one mutation in a text, without a switch.
pub fn replaced(text: &str, mutation: &Mutation) -> Result<String, String> {
    let range = place(text, &mutation.find)?.range;
    Ok(format!("{}{}{}", &text[..range.start], mutation.replace, &text[range.end..]))
}

/// Makes all these mutations of one file in its text, each behind its switch.
///
/// Places may lie within each other, or be the same. `Err` names two that overlap.
pub fn switched(text: &str, mutations: &[&Mutation], broken: &str) -> Result<String, String> {
    let mut places = Vec::new();
    for mutation in mutations {
        let range = place(text, &mutation.find)
            .map_err(|error| format!("{}: {}: {error}", mutation.id, mutation.file))?
            .range;
        places.push((range, *mutation));
    }
    // The outer before the inner; of the same place the last of the list is the outermost.
    places.reverse();
    places.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    for (index, (range, mutation)) in places.iter().enumerate() {
        if let Some((_, other)) = places[index + 1..]
            .iter()
            .find(|(other, _)| other.start < range.end && other.end > range.end)
        {
            return Err(format!("{} and {} overlap", mutation.id, other.id));
        }
    }
    Ok(rendered(text, 0..text.len(), &places, broken))
}

/// Renders a part of the text with the mutations that lie in it.
fn rendered(
    text: &str,
    part: Range<usize>,
    mutations: &[(Range<usize>, &Mutation)],
    broken: &str,
) -> String {
    let mut out = String::new();
    let mut at = part.start;
    let mut left = mutations;
    while let Some(((range, mutation), rest)) = left.split_first() {
        let inner = rest.iter().take_while(|(other, _)| other.end <= range.end).count();
        let (inner, rest) = rest.split_at(inner);
        out.push_str(&text[at..range.start]);
        let original = rendered(text, range.clone(), inner, broken);
        out.push_str(&switch(mutation, &text[range.clone()], &original, broken));
        at = range.end;
        left = rest;
    }
    out.push_str(&text[at..part.end]);
    out
}

/// Writes the choice between a mutation and what stands there: `source`, or `original` with the
/// mutations that lie in it.
fn switch(mutation: &Mutation, source: &str, original: &str, broken: &str) -> String {
    let condition = format!("{broken}(\"{}\")", mutation.id);
    let replace = &mutation.replace;
    if source.is_empty() {
        return format!("\nif {condition} {{ {replace} }}\n");
    }
    let choice = format!("if {condition} {{ {replace} }} else {{ {original} }}");
    // An expression stands among others, a statement for itself.
    if source.trim_end().ends_with(';') { choice } else { format!("({choice})") }
}
