//! Our unit files: their text, where systemd looks for them, and who wrote them.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, unit_directories};
use crate::service::systemd::{SERVICE, SOCKET, TCP_SOCKET};

/// The first line of a unit that `service install` wrote. A file without it is never changed.
const MARK: &str = "# Written by `claude-peers service install`, which also writes it anew.\n";

/// The program's path in the packaged service.
const PACKAGED_PROGRAM: &str = "ExecStart=/usr/bin/claude-peers ";

const TEXTS: [(&str, &str); 3] = [
    (SOCKET, include_str!("../../../systemd/claude-peers.socket")),
    (TCP_SOCKET, include_str!("../../../systemd/claude-peers-tcp.socket")),
    (SERVICE, include_str!("../../../systemd/claude-peers.service")),
];

/// The `Documentation=` of the packaged units.
const MANUAL: &str = "Documentation=man:claude-peers(1)\n";

/// Returns the units' names and texts, for a program at `program`. They refer to the manual page only
/// if it was installed with the program.
///
/// # Errors
///
/// If the path cannot be written in a unit.
pub fn texts(program: &Path) -> Result<[(&'static str, String); 3], UnquotableError> {
    let start = format!("ExecStart={} ", quoted(program)?);
    let manual = if has_manual(program) { MANUAL } else { "" };
    Ok(TEXTS.map(|(name, text)| {
        let text = text.replace(PACKAGED_PROGRAM, &start).replace(MANUAL, manual);
        (name, format!("{MARK}{text}"))
    }))
}

/// Returns whether the manual page lies where `man` looks for that of a program in `PREFIX/bin`,
/// plain or compressed. `cargo install` installs none.
fn has_manual(program: &Path) -> bool {
    let prefix = program.parent().and_then(Path::parent);
    let section = prefix.map(|prefix| prefix.join("share/man/man1"));
    let pages = section.and_then(|section| std::fs::read_dir(section).ok());
    let is_it = |name: &std::ffi::OsStr| {
        name.to_str()
            .and_then(|name| name.strip_prefix("claude-peers.1"))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    pages.is_some_and(|mut pages| pages.any(|page| page.is_ok_and(|page| is_it(&page.file_name()))))
}

/// The path has a character that cannot be written in a unit.
#[derive(Debug, thiserror::Error)]
#[error("the path {} has a character that a systemd unit cannot contain", .0.display())]
pub struct UnquotableError(PathBuf);

/// Returns a program's path quoted for `ExecStart=` (systemd.service(5), "Command lines"). A dollar
/// sign needs no quoting, because variables are not replaced in the program's own path.
fn quoted(program: &Path) -> Result<String, UnquotableError> {
    let path = program.to_str().filter(|path| !path.chars().any(char::is_control));
    let path = path.ok_or_else(|| UnquotableError(program.to_owned()))?;
    let escaped = path.replace('\\', r"\\").replace('"', r#"\""#).replace('%', "%%");
    // systemd starts no program with such a path, however it is quoted, but a shell does. In its
    // arguments variables are replaced.
    if path.contains(['"', '\'', '\\']) {
        let argument = escaped.replace('$', "$$");
        return Ok(format!(r#"/bin/sh -c "exec \"$$0\" \"$$@\"" "{argument}""#));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+%".contains(c);
    Ok(if escaped.chars().all(plain) { escaped } else { format!("\"{escaped}\"") })
}

/// The directories of units that concern this user.
#[derive(Debug, Clone)]
pub struct Places {
    /// The user's own directory, into which `service install` writes.
    pub own: PathBuf,
    /// Those of administrator and packages, in order of precedence.
    pub system: Vec<PathBuf>,
}

impl Places {
    /// Returns the directories of systemd.unit(5), "User Unit Search Path", where our units can be.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let settings = config.paths.config_file.parent().and_then(Path::parent);
        Self {
            own: settings.unwrap_or(Path::new("/")).join("systemd/user"),
            system: unit_directories(&config.environment),
        }
    }

    /// Returns the file of a unit that takes precedence.
    #[must_use]
    pub fn find(&self, unit: &str) -> Found {
        std::iter::once(&self.own)
            .chain(&self.system)
            .map(|directory| found(&directory.join(unit)))
            .find(|found| *found != Found::Nothing)
            .unwrap_or(Found::Nothing)
    }

    /// Returns the directory of units that a package or an administrator installed.
    #[must_use]
    pub fn packaged(&self) -> Option<&Path> {
        let is_there =
            |directory: &Path, unit| matches!(found(&directory.join(unit)), Found::File(_));
        self.system
            .iter()
            .map(PathBuf::as_path)
            .find(|directory| is_there(directory, SOCKET) && is_there(directory, SERVICE))
    }

    /// Returns the files in the user's own directory that `service install` wrote.
    #[must_use]
    pub fn written(&self) -> Vec<PathBuf> {
        TEXTS.iter().map(|(unit, _)| self.own.join(unit)).filter(|path| is_ours(path)).collect()
    }

    /// Returns the files in the user's own directory with our names that another program wrote.
    #[must_use]
    pub fn foreign(&self) -> Vec<PathBuf> {
        let file = |path: &PathBuf| matches!(found(path), Found::File(_)) && !is_ours(path);
        TEXTS.iter().map(|(unit, _)| self.own.join(unit)).filter(file).collect()
    }

    /// Returns the links in the user's own directory that enable our sockets, also dangling ones.
    #[must_use]
    pub fn links(&self) -> Vec<PathBuf> {
        let directory = self.own.join("sockets.target.wants");
        let link = |unit| directory.join(unit);
        [SOCKET, TCP_SOCKET].map(link).into_iter().filter(|link| link.is_symlink()).collect()
    }
}

/// What is at a unit's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Nothing,
    File(PathBuf),
    /// Masked: a link to `/dev/null`, or an empty file.
    Masked(PathBuf),
}

/// Returns what is at this path.
#[must_use]
pub fn found(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() > 0 => Found::File(path.to_owned()),
        Ok(file) if file.is_dir() => Found::Nothing,
        Ok(_) => Found::Masked(path.to_owned()),
        Err(_) => Found::Nothing,
    }
}

/// Returns why the broker must not open the port: its unit is masked. Looks at files only, so it is
/// cheap.
#[must_use]
pub fn forbidden_port(config: &Config) -> Option<String> {
    matches!(Places::new(config).find(TCP_SOCKET), Found::Masked(_))
        .then(|| format!("{TCP_SOCKET} is masked"))
}

/// Returns whether `service install` wrote the file at `path`.
#[must_use]
pub fn is_ours(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(MARK))
}

/// Returns the text of a unit file; `None` if there is no file.
///
/// # Errors
///
/// If the file exists and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_service_starts_the_program_where_it_lies() {
        let start = |path: &str| {
            let texts = texts(Path::new(path)).unwrap();
            assert!(texts.iter().all(|(_, text)| text.starts_with(MARK)));
            let service = texts[2].1.clone();
            let lines: Vec<&str> =
                service.lines().filter(|line| line.starts_with("ExecStart=")).collect();
            assert_eq!(lines.len(), 1);
            lines[0].to_owned()
        };
        assert_eq!(start("/opt/x/claude-peers"), "ExecStart=/opt/x/claude-peers broker");
        assert_eq!(start("/a b/100%/p"), r#"ExecStart="/a b/100%%/p" broker"#);
        assert_eq!(start("/a/$HOME/p"), r#"ExecStart="/a/$HOME/p" broker"#);
        assert_eq!(
            start(r#"/q"b\s'/$HOME/100%/p"#),
            r#"ExecStart=/bin/sh -c "exec \"$$0\" \"$$@\"" "/q\"b\\s'/$$HOME/100%%/p" broker"#
        );
        assert!(texts(Path::new("/new\nline")).is_err());
    }

    #[test]
    fn the_units_name_the_manual_page_where_one_was_installed_with_the_program() {
        let prefix = tempfile::tempdir().unwrap();
        let program = prefix.path().join("bin/claude-peers");
        let named = || {
            let texts = texts(&program).unwrap();
            texts.map(|(_, text)| text.contains("\nDocumentation=man:claude-peers(1)\n"))
        };
        assert_eq!(named(), [false; 3], "cargo installs none");
        assert!(texts(&program).unwrap().iter().all(|(_, text)| !text.contains("man:")));
        let section = prefix.path().join("share/man/man1");
        std::fs::create_dir_all(&section).unwrap();
        std::fs::write(section.join("claude-peers-other.1"), "").unwrap();
        assert_eq!(named(), [false; 3]);
        for page in ["claude-peers.1", "claude-peers.1.gz"] {
            std::fs::write(section.join(page), "").unwrap();
            assert_eq!(named(), [true; 3], "{page}");
            std::fs::remove_file(section.join(page)).unwrap();
        }
    }

    #[test]
    fn packaged_units_and_masks_are_told_from_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = Places { own: at("own"), system: vec![at("admin"), at("package")] };
        for name in ["own", "admin", "package"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        assert_eq!(places.find(SOCKET), Found::Nothing);
        assert_eq!(places.packaged(), None);

        std::fs::write(at("package").join(SOCKET), "[Socket]\n").unwrap();
        assert_eq!(places.packaged(), None, "a socket without its service");
        std::fs::write(at("package").join(SERVICE), "[Service]\n").unwrap();
        assert_eq!(places.packaged(), Some(at("package").as_path()));
        assert_eq!(places.find(SOCKET), Found::File(at("package").join(SOCKET)));
        assert_eq!(places.written(), Vec::<PathBuf>::new());

        symlink("/dev/null", at("admin").join(SOCKET)).unwrap();
        assert_eq!(places.find(SOCKET), Found::Masked(at("admin").join(SOCKET)));

        for (unit, text) in texts(Path::new("/bin/p")).unwrap() {
            std::fs::write(at("own").join(unit), text).unwrap();
        }
        assert_eq!(places.written().len(), 3);
        assert_eq!(places.find(SOCKET), Found::File(at("own").join(SOCKET)));
        std::fs::write(at("own").join(SOCKET), "[Socket]\n").unwrap();
        assert_eq!(places.written().len(), 2, "what somebody else wrote is not ours");
    }
}
