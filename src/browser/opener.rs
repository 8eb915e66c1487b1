//! Which program opens a file in the person's browser.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::config::Environment;
use crate::sys::subprocess::find_in_path;

/// Why the link is left to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The person is at another machine.
    Remote,
    /// No browser can be opened here; says why.
    NoBrowser(String),
}

/// A program that opens a file, and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Opener {
    program: PathBuf,
    /// In place of `%s` stands the file; without one, it comes last.
    arguments: Vec<String>,
}

impl Opener {
    /// Finds the program: what `BROWSER` names, else the system's own, where there is a screen.
    pub fn find(environment: &Environment) -> Result<Self, Reason> {
        Self::find_on(environment, cfg!(target_os = "macos"))
    }

    fn find_on(environment: &Environment, apple: bool) -> Result<Self, Reason> {
        let is_set = |name| environment.get(name).is_some();
        if let Some(commands) = environment.text("BROWSER") {
            let found = commands.split(':').find_map(|command| Self::of(command, environment));
            return found.ok_or_else(|| {
                Reason::NoBrowser(format!("BROWSER is {commands:?}, which is not found"))
            });
        }
        if is_set("SSH_CONNECTION") || is_set("SSH_TTY") {
            return Err(Reason::Remote);
        }
        let names: &[&str] = if apple {
            &["open"]
        } else if is_set("WSL_DISTRO_NAME") {
            &["wslview", "xdg-open"]
        } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
            &["xdg-open"]
        } else {
            return Err(Reason::NoBrowser("there is no screen (DISPLAY is not set)".to_owned()));
        };
        let found = names.iter().find_map(|name| Self::of(name, environment));
        found.ok_or_else(|| Reason::NoBrowser(format!("{} is not installed", names.join(" or "))))
    }

    /// Reads a command as `BROWSER` has it, if its program is found.
    fn of(command: &str, environment: &Environment) -> Option<Self> {
        let mut words = command.split_whitespace();
        let name = words.next()?;
        let program = find_in_path(environment.search_path(), name)?;
        Some(Self { program, arguments: words.map(str::to_owned).collect() })
    }

    /// Returns what the program is called.
    pub fn name(&self) -> &str {
        self.program.file_name().and_then(OsStr::to_str).unwrap_or("the browser")
    }

    /// Starts the program, which may outlive us. Its output is not shown: browsers are talkative.
    pub fn start(&self, file: &Path) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        let mut is_named = false;
        for argument in &self.arguments {
            is_named |= argument.contains("%s");
            command.arg(argument.replace("%s", &file.to_string_lossy()));
        }
        if !is_named {
            command.arg(file);
        }
        // A process group of its own, so that an interrupt at the terminal ends this command alone.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_programs(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            let path = directory.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    fn found(programs: &[&str], variables: &[(&str, &str)], apple: bool) -> Result<String, Reason> {
        let directory = with_programs(programs);
        let path = directory.path().to_str().unwrap();
        let environment = variables.iter().copied().chain([("PATH", path)]).collect();
        Opener::find_on(&environment, apple).map(|opener| {
            let words = [opener.name().to_owned()].into_iter().chain(opener.arguments.clone());
            words.collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn the_program_is_that_of_the_person_or_of_the_system() {
        let all = ["xdg-open", "wslview", "open", "firefox"];
        for (variables, apple, program) in [
            (&[("DISPLAY", ":0")][..], false, "xdg-open"),
            (&[("WAYLAND_DISPLAY", "wayland-0")], false, "xdg-open"),
            (&[("WSL_DISTRO_NAME", "Debian")], false, "wslview"),
            (&[], true, "open"),
            (&[("BROWSER", "nothing:firefox --new-window")], false, "firefox --new-window"),
            (&[("BROWSER", "firefox"), ("SSH_TTY", "/dev/pts/1")], false, "firefox"),
        ] {
            assert_eq!(found(&all, variables, apple).as_deref(), Ok(program), "{variables:?}");
        }
    }

    #[test]
    fn where_no_browser_can_be_opened_that_is_said() {
        let screen = ("DISPLAY", ":0");
        let ssh = ("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22");
        assert_eq!(found(&["xdg-open"], &[screen, ssh], false), Err(Reason::Remote));
        assert_eq!(found(&["open"], &[ssh], true), Err(Reason::Remote));
        for (programs, variables, word) in [
            (&["xdg-open"][..], &[][..], "screen"),
            (&[], &[screen], "xdg-open is not installed"),
            (&["xdg-open"], &[screen, ("BROWSER", "lost")], "BROWSER"),
        ] {
            let Err(Reason::NoBrowser(reason)) = found(programs, variables, false) else {
                panic!("{variables:?}");
            };
            assert!(reason.contains(word), "{reason}");
        }
    }
}
