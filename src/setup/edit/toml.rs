//! Changes of TOML text that leave every other byte as it was.
//!
//! Appends a table, replaces or adds a value in it, or removes it, at the spans that the parser reports.
//! The result is parsed again and returned only if it has the expected value. (toml_edit would rewrite
//! CRLF line ends and add a final newline.)

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::setup::edit::change::{Change, place};
use crate::setup::edit::problem::Problem;

/// Parses the text.
pub fn parse(text: &str) -> Result<Value, Problem> {
    let table: toml::Table = toml::from_str(text).map_err(|error| broken(text, &error))?;
    serde_json::to_value(table).map_err(|error| Problem::Broken(error.to_string()))
}

fn broken(text: &str, error: &toml::de::Error) -> Problem {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Problem::Broken(format!("line {line}: {}", error.message()))
}

/// Returns the text with these changes.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, Problem> {
    let mut wanted = parse(text)?;
    let mut edited = text.to_owned();
    for change in changes {
        change.apply(&mut wanted)?;
        edited = apply(&edited, change)?;
    }
    match parse(&edited) {
        Ok(value) if without_empty(&value) == without_empty(&wanted) => Ok(edited),
        _ => Err(Problem::Unsure),
    }
}

/// Removes an empty table: a table that contains only tables needs no header of its own.
fn without_empty(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(object) = &mut value {
        object.retain(|_, value| value.as_object().is_none_or(|inner| !inner.is_empty()));
    }
    value
}

fn apply(text: &str, change: &Change) -> Result<String, Problem> {
    let document = DeTable::parse(text).map_err(|error| broken(text, &error))?;
    let document = document.get_ref();
    match change {
        Change::Set { path, value } => match (find(document, path), value) {
            (Some(found), Value::Object(_)) => {
                let rest = without(text, document, &found);
                Ok(with_table(&rest, path, value)?)
            }
            (Some(found), _) => Ok(replaced(text, found.value.clone(), &literal(value)?)),
            (None, Value::Object(_)) => with_table(text, path, value),
            (None, _) => with_key(text, document, path, value),
        },
        Change::Remove { path } => Ok(match find(document, path) {
            Some(found) => without(text, document, &found),
            None => text.to_owned(),
        }),
        Change::Append { path, .. } | Change::Take { path, .. } => {
            Err(Problem::Shape(format!("{} cannot be changed", place(path))))
        }
    }
}

fn literal(value: &Value) -> Result<String, Problem> {
    let value = toml::Value::try_from(value).map_err(|_| Problem::Unsure)?;
    Ok(value.to_string())
}

/// Returns the line end that the text uses.
fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn replaced(text: &str, range: Range<usize>, new: &str) -> String {
    let mut text = text.to_owned();
    text.replace_range(range, new);
    text
}

/// Appends a new table at the end, where it cannot capture other keys.
fn with_table(text: &str, path: &[String], value: &Value) -> Result<String, Problem> {
    let end = line_end(text);
    let mut out = text.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push_str(end);
    }
    if !out.trim().is_empty() {
        out.push_str(end);
    }
    let header: Vec<String> = path.iter().map(|part| key(part)).collect();
    // Writing to a string cannot fail.
    let _ = write!(out, "[{}]{end}", header.join("."));
    for (name, value) in value.as_object().into_iter().flatten() {
        let _ = write!(out, "{} = {}{end}", key(name), literal(value)?);
    }
    Ok(out)
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        return name.to_owned();
    }
    toml::Value::String(name.to_owned()).to_string()
}

/// Inserts a further key behind the first one of its table.
fn with_key(
    text: &str,
    document: &DeTable<'_>,
    path: &[String],
    value: &Value,
) -> Result<String, Problem> {
    let (name, parent) = path.split_last().ok_or(Problem::Unsure)?;
    let table = find(document, parent).ok_or(Problem::Unsure)?;
    let first = table.node.as_table().and_then(|table| table.values().next());
    let behind = first.ok_or(Problem::Unsure)?.span().end;
    let line = format!("{} = {}", key(name), literal(value)?);
    if text[table.value].starts_with('{') {
        return Ok(replaced(text, behind..behind, &format!(", {line}")));
    }
    let behind = end_of_line(text, behind);
    let end = line_end(text);
    let lead = if text[..behind].ends_with('\n') { "" } else { end };
    Ok(replaced(text, behind..behind, &format!("{lead}{line}{end}")))
}

/// A member and its position in the text.
struct Found<'a> {
    node: &'a DeValue<'a>,
    key: Range<usize>,
    value: Range<usize>,
}

fn find<'a>(document: &'a DeTable<'a>, path: &[String]) -> Option<Found<'a>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = document.iter().find(|(key, _)| key.get_ref() == first)?;
    match (rest, value.get_ref()) {
        ([], node) => Some(Found { node, key: key.span(), value: value.span() }),
        (rest, DeValue::Table(table)) => find(table, rest),
        _ => None,
    }
}

/// Returns the text without a member, in any of the forms in which it can be written.
fn without(text: &str, document: &DeTable<'_>, found: &Found<'_>) -> String {
    let mut headers = Vec::new();
    collect_headers(text, document, &mut headers);
    let mut lines = Vec::new();
    collect_lines(text, &headers, found, &mut lines);
    lines.sort_by_key(|range| range.start);
    let mut out = text.to_owned();
    for range in lines.into_iter().rev() {
        // A range may lie in another that was removed already.
        if range.end <= out.len() && out.is_char_boundary(range.start) {
            out.replace_range(range, "");
        }
    }
    out
}

/// Returns the positions where `[tables]` begin.
fn collect_headers(text: &str, table: &DeTable<'_>, headers: &mut Vec<usize>) {
    for value in table.values() {
        match value.get_ref() {
            DeValue::Table(inner) => {
                if text[value.span()].starts_with('[') {
                    headers.push(value.span().start);
                }
                collect_headers(text, inner, headers);
            }
            DeValue::Array(list) => {
                for element in list {
                    if let DeValue::Table(inner) = element.get_ref() {
                        if text[element.span()].starts_with('[') {
                            headers.push(element.span().start);
                        }
                        collect_headers(text, inner, headers);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns the lines of a member.
fn collect_lines(text: &str, headers: &[usize], found: &Found<'_>, lines: &mut Vec<Range<usize>>) {
    let DeValue::Table(table) = found.node else {
        return lines.push(line_of(text, found.key.start, found.value.end));
    };
    let written = &text[found.value.clone()];
    if written.starts_with('{') {
        return lines.push(line_of(text, found.key.start, found.value.end));
    }
    if written.starts_with('[') {
        let start = found.value.start;
        let next = headers.iter().filter(|at| **at > start).min().copied().unwrap_or(text.len());
        let mut end = found.value.end;
        last_value(table, next, &mut end);
        let section = line_of(text, start, end);
        lines.push(before_blank(text, section.start)..section.end);
    }
    for (key, value) in table {
        let child = Found { node: value.get_ref(), key: key.span(), value: value.span() };
        let is_table = child.node.is_table() && !text[child.value.clone()].starts_with('{');
        if is_table || !written.starts_with('[') {
            collect_lines(text, headers, &child, lines);
        }
    }
}

/// Returns the end of the last value before `next`.
fn last_value(table: &DeTable<'_>, next: usize, end: &mut usize) {
    for value in table.values() {
        if value.span().start < next {
            *end = (*end).max(value.span().end);
        }
        if let DeValue::Table(inner) = value.get_ref() {
            last_value(inner, next, end);
        }
    }
}

fn line_of(text: &str, start: usize, end: usize) -> Range<usize> {
    let start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    start..end_of_line(text, end)
}

fn end_of_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |length| at + length + 1)
}

/// Returns the start of the blank line before `start`, or `start`.
fn before_blank(text: &str, start: usize) -> usize {
    let before = &text[..start];
    let line = before.strip_suffix('\n').map(|b| b.strip_suffix('\r').unwrap_or(b));
    match line {
        Some(line) if line.is_empty() || line.ends_with('\n') => line.len(),
        _ => start,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use serde_json::json;

    use super::*;
    use crate::setup::edit::change::path;

    const RICH: &str = "# mine\nmodel = \"o\" # good\n\n[mcp_servers.docs]\ncommand = \"npx\"\n\
                        args = [\n  \"x\",\n]\n\n# last\n[tui]\nnote = \"\"\"\n[mcp_servers.claude-peers]\n\"\"\"\n";

    fn set() -> Change {
        Change::Set {
            path: path(&["mcp_servers", "claude-peers"]),
            value: json!({ "command": "/usr/bin/claude-peers", "args": ["mcp"] }),
        }
    }

    fn remove() -> Change {
        Change::Remove { path: path(&["mcp_servers", "claude-peers"]) }
    }

    #[test]
    fn a_table_comes_and_goes_and_the_rest_stays() {
        for text in [RICH.to_owned(), RICH.replace('\n', "\r\n"), "a = 1\n".to_owned()] {
            let edited = edit(&text, &[set()]).unwrap();
            assert!(edited.starts_with(&text), "{edited:?}");
            assert_eq!(edited.matches('\n').count(), text.matches('\n').count() + 4);
            assert_eq!(edited.contains("\r\n"), text.contains("\r\n"));
            assert_eq!(edit(&edited, &[remove()]).unwrap(), text);
        }
        assert_eq!(
            edit("", &[set()]).unwrap(),
            "[mcp_servers.claude-peers]\ncommand = \"/usr/bin/claude-peers\"\nargs = [\"mcp\"]\n"
        );
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        let text = "[mcp_servers.claude-peers]\ncommand = \"old\" # why\nargs = [\"mcp\"]\n\n[x]\n";
        let command = |value: Value| Change::Set {
            path: path(&["mcp_servers", "claude-peers", "command"]),
            value,
        };
        let edited = edit(text, &[command(json!("new \"one\""))]).unwrap();
        assert_eq!(edited, text.replace("\"old\"", "'new \"one\"'"));
        let more = Change::Set {
            path: path(&["mcp_servers", "claude-peers", "env_vars"]),
            value: json!(["A"]),
        };
        let edited = edit(text, std::slice::from_ref(&more)).unwrap();
        assert_eq!(
            edited,
            text.replace("args = [\"mcp\"]\n", "args = [\"mcp\"]\nenv_vars = [\"A\"]\n")
        );
        let inline = "[mcp_servers]\nclaude-peers = { command = \"old\", args = [\"mcp\"] }\n";
        let edited = edit(inline, &[command(json!("new")), more]).unwrap();
        assert_eq!(
            parse(&edited).unwrap()["mcp_servers"]["claude-peers"]["env_vars"],
            json!(["A"])
        );
        assert_eq!(edited.lines().count(), 2, "{edited}");
    }

    #[test]
    fn all_of_a_table_is_removed_however_it_is_written() {
        for (before, ours, after) in [
            (
                "a = 1\n",
                "\n[mcp_servers.claude-peers] # ours\ncommand = \"x\"\nargs = [\n  \"mcp\",\n]\n# in it\nz = 1\n",
                "\n# of b\n[b]\n",
            ),
            (
                "",
                "[mcp_servers.claude-peers]\ncommand = \"x\"\n\n[mcp_servers.claude-peers.env]\nA = \"1\"\n",
                "",
            ),
            ("[mcp_servers]\nb.command = \"y\"\n", "claude-peers = { command = \"x\" }\n", ""),
            (
                "[mcp_servers]\n",
                "claude-peers.command = \"x\"\nclaude-peers.args = []\n",
                "b.command = \"y\"\n",
            ),
            (
                "",
                "\n[mcp_servers.claude-peers.tools.send_message]\napproval_mode = \"x\"\n",
                "\n[[b]]\nc = 1\n",
            ),
        ] {
            let edited = edit(&format!("{before}{ours}{after}"), &[remove()]).unwrap();
            assert_eq!(edited, format!("{before}{after}"));
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_not_changed() {
        for text in
            ["mcp_servers = {}\n", "mcp_servers = { claude-peers = { command = \"x\" }, b = {} }\n"]
        {
            assert!(edit(text, &[set()]).is_err(), "{text}");
        }
        assert!(
            edit("mcp_servers = 3\n", &[set()]).unwrap_err().to_string().contains("mcp_servers")
        );
        let error = parse("a = 1\nb = \n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }

    fn any_value() -> impl Strategy<Value = toml::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(toml::Value::from),
            any::<i64>().prop_map(toml::Value::from),
            "[a-z#=\\[\\]\"'\n ü]{0,12}".prop_map(toml::Value::from),
        ];
        leaf.prop_recursive(3, 30, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::from),
                proptest::collection::btree_map("[a-z. ]{1,4}", inner, 0..4)
                    .prop_map(|table| toml::Value::Table(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the file holds, our table comes and goes and every other byte stays.
        #[test]
        fn any_document_is_changed_as_it_should_be_and_back(
            members in proptest::collection::btree_map("[a-z_]{1,4}", any_value(), 0..5),
            servers in proptest::collection::btree_map("[a-z-]{1,4}", any_value(), 0..3),
            windows in any::<bool>(),
        ) {
            let mut table: toml::Table = members.into_iter().collect();
            // A table of its own for each, as Codex writes them.
            let servers: toml::Table = servers.into_iter().filter(|(_, v)| v.is_table()).collect();
            if !servers.is_empty() {
                table.insert("mcp_servers".to_owned(), toml::Value::Table(servers));
            }
            let text = toml::to_string_pretty(&table).unwrap();
            let text = if windows && !text.contains("\n\"") { text.replace('\n', "\r\n") } else { text };
            let edited = edit(&text, &[set()]).unwrap();
            prop_assert!(edited.starts_with(&text));
            prop_assert_eq!(edit(&edited, &[remove()]).unwrap(), text);
        }
    }
}
