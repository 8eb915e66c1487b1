//! Whether what we print may have colours.

use crate::config::paths::Variable;

/// Whether output may have colours: on a terminal that shows them, and whose user does not want
/// none. `NO_COLOR` counts unless it is empty (no-color.org).
#[must_use]
pub fn colours(is_terminal: bool) -> bool {
    wanted(is_terminal, &|name| std::env::var_os(name))
}

fn wanted(is_terminal: bool, variable: Variable<'_>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let shown = variable("TERM").is_some_and(|kind| kind != "dumb" && !kind.is_empty());
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
            let variable = |name: &str| match name {
                "TERM" => term.map(Into::into),
                "NO_COLOR" => no_color.map(Into::into),
                _ => None,
            };
            assert_eq!(wanted(is_terminal, &variable), expected, "{term:?} {no_color:?}");
        }
    }
}
