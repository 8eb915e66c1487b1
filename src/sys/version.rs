//! Version numbers of other programs.

/// Parses `major.minor.patch` at the beginning of a program's version text, and ignores the rest.
#[must_use]
pub fn parse(version: &str) -> Option<[u64; 3]> {
    let mut numbers = version.trim().splitn(3, '.');
    let mut next = || {
        let digits = numbers.next()?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    };
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_whatever_follows() {
        assert_eq!(parse("2.1.330"), Some([2, 1, 330]));
        assert_eq!(parse(" 2.1.78 (Claude Code)\n"), Some([2, 1, 78]));
        assert_eq!(parse("2.10.1-beta.2"), Some([2, 10, 1]));
        for bad in ["", "2", "2.1", "2.1.x", "v2.1.3", "nonsense"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
