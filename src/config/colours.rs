//! Whether output may have colours.

use crate::config::Environment;

/// What a person wants of colours: `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColourChoice {
    /// As the environment and the terminal tell.
    #[default]
    Auto,
    Always,
    Never,
}

/// Returns whether output may have colours.
///
/// `NO_COLOR` (no-color.org) forbids them and `CLICOLOR_FORCE` (bixense.com/clicolors) demands them,
/// each unless it is unset or empty, or, of the latter, "0". Without either, the output must be a
/// terminal that supports them.
#[must_use]
pub fn colours(choice: ColourChoice, is_terminal: bool, environment: &Environment) -> bool {
    match choice {
        ColourChoice::Always => return true,
        ColourChoice::Never => return false,
        ColourChoice::Auto => {}
    }
    if environment.get("NO_COLOR").is_some() {
        return false;
    }
    if environment.get("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let shown = environment.get("TERM").is_some_and(|kind| kind != "dumb");
    is_terminal && shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_show_them_and_users_who_want_them() {
        for (is_terminal, term, no_color, force, expected) in [
            (true, Some("xterm-256color"), None, None, true),
            (true, Some("xterm"), Some(""), None, true),
            (true, Some("xterm"), Some("1"), None, false),
            (true, Some("xterm"), Some("0"), None, false),
            (true, Some("dumb"), None, None, false),
            (true, Some(""), None, None, false),
            (true, None, None, None, false),
            (false, Some("xterm"), None, None, false),
            (false, Some("xterm"), None, Some("1"), true),
            (false, Some("xterm"), None, Some("0"), false),
            (false, Some("xterm"), None, Some(""), false),
            (true, Some("dumb"), None, Some("1"), true),
            (true, Some("xterm"), Some("1"), Some("1"), false),
        ] {
            let set = [("TERM", term), ("NO_COLOR", no_color), ("CLICOLOR_FORCE", force)];
            let set = set.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let environment: Environment = set.collect();
            let chosen = |choice| colours(choice, is_terminal, &environment);
            assert_eq!(chosen(ColourChoice::Auto), expected, "{term:?} {no_color:?} {force:?}");
            assert!(chosen(ColourChoice::Always) && !chosen(ColourChoice::Never));
        }
    }
}
