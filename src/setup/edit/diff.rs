//! A line-by-line diff, shown to a person before a change is made.

use std::fmt::Write as _;

/// The number of context lines around a change.
const AROUND: usize = 2;

/// Above this many pairs of lines the diff is not minimal: all changed lines are shown as removed and
/// added.
const MAX_PAIRS: usize = 4_000_000;

/// Returns the lines that differ, prefixed by `-` and `+`, with context; empty if there are none.
pub fn lines(before: &str, after: &str) -> String {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let script = script(&old, &new);
    let mut out = String::new();
    let mut shown = None;
    for (index, (sign, line)) in script.iter().enumerate() {
        let near = script[index.saturating_sub(AROUND)..(index + AROUND + 1).min(script.len())]
            .iter()
            .any(|(sign, _)| *sign != ' ');
        if !near {
            continue;
        }
        if shown.map_or(index, |last| index - last - 1) > 0 {
            out.push_str("  …\n");
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{sign} {line}");
        shown = Some(index);
    }
    out
}

/// Returns every line with its sign, by the longest common subsequence.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_mid, new_mid) =
        (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);

    let mut out: Vec<(char, &str)> = old[..head].iter().map(|line| (' ', *line)).collect();
    if old_mid.len().saturating_mul(new_mid.len()) > MAX_PAIRS {
        out.extend(old_mid.iter().map(|line| ('-', *line)));
        out.extend(new_mid.iter().map(|line| ('+', *line)));
    } else {
        middle(old_mid, new_mid, &mut out);
    }
    out.extend(old[old.len() - tail..].iter().map(|line| (' ', *line)));
    out
}

fn middle<'a>(old: &[&'a str], new: &[&'a str], out: &mut Vec<(char, &'a str)>) {
    // common[i][j]: the length of the longest common subsequence of old[i..] and new[j..].
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            out.push(('-', old[i]));
            i += 1;
        } else {
            out.push(('+', new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_with_its_surroundings() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
        let after = "a\nb\nc\nD\ne\nf\ng\nh\ni\nj\nk\n";
        assert_eq!(lines(before, after), "  …\n  b\n  c\n- d\n+ D\n  e\n  f\n  …\n  i\n  j\n+ k\n");
        assert_eq!(lines("", "x\n"), "+ x\n");
        assert_eq!(lines("x\n", "x\n"), "");
        assert_eq!(lines("a\nb\n", "b\n"), "- a\n  b\n");
    }
}
