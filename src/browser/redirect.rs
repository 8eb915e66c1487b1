//! The private file that leads a browser to the page.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::files::{private_directory, write_private};
use crate::sys::random;

const PREFIX: &str = "open-";
const SUFFIX: &str = ".html";

/// From this age on a file is left over: its link is no longer good.
const LEFT_OVER: Duration = Duration::from_secs(5 * 60);

/// A file of mode 0600 in a directory of mode 0700. It is removed when this is dropped.
#[derive(Debug)]
pub struct Redirect(PathBuf);

impl Redirect {
    /// Writes the file. Those of calls that were killed are removed.
    pub fn write(directory: &Path, url: &str) -> io::Result<Self> {
        private_directory(directory)?;
        remove_left_over(directory);
        let name = format!("{PREFIX}{}{SUFFIX}", random::peer_id());
        let file = Self(directory.join(name));
        write_private(&file.0, &document(url))?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Redirect {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!("{} cannot be removed: {error}", self.0.display());
        }
    }
}

/// Returns a document that goes to this address, which is ours: letters, digits and `:/.#`.
fn document(url: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n<title>claude-peers</title>\n\
         <p><a href=\"{url}\">Open the page of claude-peers</a></p>\n</html>\n"
    )
}

fn remove_left_over(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours =
            name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        let age = entry.metadata().and_then(|file| file.modified()).map(|at| at.elapsed());
        if is_ours && age.is_ok_and(|age| age.is_ok_and(|age| age > LEFT_OVER)) {
            // Another call may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_file_is_private_and_is_gone_with_its_link() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("claude-peers");
        let url = "http://127.0.0.1:7899/#abc";
        let file = Redirect::write(&directory, url).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(file.path())), (0o700, 0o600));
        assert!(fs::read_to_string(file.path()).unwrap().contains(url));
        assert!(!file.path().display().to_string().contains("abc"));
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn files_that_were_left_over_are_removed_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - LEFT_OVER - Duration::from_secs(1);
        let make = |name: &str, is_old: bool| {
            let file = File::create(directory.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        };
        for (name, is_old) in
            [("open-a.html", true), ("open-b.html", false), ("open.html", true), ("a.html", true)]
        {
            make(name, is_old);
        }
        remove_left_over(directory.path());
        let mut left: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["a.html", "open-b.html", "open.html"]);
    }
}
