//! Whether output may have colours.

use crate::config::Environment;

/// Returns whether output may have colours.
///
/// The terminal must support them, and `NO_COLOR` must be unset or empty (no-color.org).
#[must_use]
pub fn colours(is_terminal: bool, environment: &Environment) -> bool {
    let refused = environment.get("NO_COLOR").is_some();
    let shown = environment.get("TERM").is_some_and(|kind| kind != "dumb");
    is_terminal && shown && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_show_them_and_users_who_want_them() {
        for (is_terminal, term, no_color, expected) in [
            (true, Some("xterm-256color"), None, true),
            (true, Some("xterm"), Some(""), true),
            (true, Some("xterm"), Some("1"), false),
            (true, Some("xterm"), Some("0"), false),
            (true, Some("dumb"), None, false),
            (true, Some(""), None, false),
            (true, None, None, false),
            (false, Some("xterm"), None, false),
        ] {
            let set = [("TERM", term), ("NO_COLOR", no_color)];
            let set = set.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let environment: Environment = set.collect();
            assert_eq!(colours(is_terminal, &environment), expected, "{term:?} {no_color:?}");
        }
    }
}
