//! Opening files of ours, whatever else may be at their path.
//!
//! A pipe there would block, a device has no end, and a link leads to a file that is not meant. So
//! files are opened without blocking and without following a link, and what was opened is checked
//! before it is read or written.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::io::Errno;

/// The most that is read of a file of ours that holds a short record, in bytes.
pub const MAX_RECORD: u64 = 64 * 1024;

/// The permission to write, of the group and of all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Returns the effective user id, which owns the files that this process makes.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What else is at the path of a file of ours.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    #[error("it is a symbolic link")]
    Link,
    #[error("it is a {0}")]
    Kind(&'static str),
    /// A hard link: what is written would be in the file of another name.
    #[error("the same file has {0} names (hard links)")]
    Names(u64),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

impl NotOurs {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Link => {
                "Nothing was written through it. Move the link away, or set the path itself in the settings."
            }
            Self::Kind(_) | Self::TooLarge(_) => "Something else is at that path: move it away.",
            Self::Names(_) => {
                "Nothing was written to it. Give it a file of its own: `cp -p FILE FILE.own && mv FILE.own FILE`, or move it away."
            }
        }
    }

    /// Returns the one that an error is made of.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<NotOurs> for io::Error {
    fn from(problem: NotOurs) -> Self {
        let kind = match problem {
            NotOurs::TooLarge(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::AlreadyExists,
        };
        Self::new(kind, problem)
    }
}

/// Opens a file of ours with these options, and with mode 0600 if it is made.
///
/// # Errors
///
/// If it cannot be opened, is a link, no regular file, or another user's.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open_safely(path, options.mode(0o600), libc::O_NOFOLLOW)?;
    let found = file.metadata()?;
    refuse_kind(found.file_type())?;
    refuse_others(&found)?;
    Ok(file)
}

/// Opens a file of ours for writing, like [`open_own`].
///
/// # Errors
///
/// The same, and if the file has a second name.
pub fn open_own_to_write(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open_own(path, options)?;
    refuse_second_name(&file.metadata()?)?;
    Ok(file)
}

/// Reads a file of at most `limit` bytes, by way of links as well. `/dev/null` is an empty one.
///
/// # Errors
///
/// If it cannot be read, is neither a regular file nor a device, or is larger.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_safely(path, OpenOptions::new().read(true), 0)?;
    match file.metadata()?.file_type() {
        kind if kind.is_char_device() => {}
        kind => refuse_kind(kind)?,
    }
    read_all(file, limit)
}

/// Reads the text of a regular file, like [`read_limited`].
///
/// # Errors
///
/// The same, and if it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_limited(path, limit)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads the rest of an open file of at most `limit` bytes.
///
/// # Errors
///
/// If it cannot be read, or is larger.
pub fn read_all(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(NotOurs::TooLarge(limit).into()) } else { Ok(bytes) }
}

/// Checks a file that another library is about to open by its path. A missing one is in order.
///
/// # Errors
///
/// If it is a link, no regular file, another user's, or has a second name.
pub fn check_own(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => {
            refuse_kind(found.file_type())?;
            refuse_others(&found)?;
            refuse_second_name(&found)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns whether only our user can have written what is in the file at `path`.
#[must_use]
pub fn is_written_by_us_alone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file()
            && found.uid() == effective_uid()
            && found.nlink() <= 1
            && found.mode() & WRITABLE_BY_OTHERS == 0
    })
}

/// Opens a file. One that is no regular file is not waited for, and does not become our terminal.
fn open_safely(path: &Path, options: &mut OpenOptions, flags: i32) -> io::Result<File> {
    let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
    options.custom_flags(flags).open(path).map_err(|error| {
        match std::fs::symlink_metadata(path).map(|found| found.file_type()) {
            Ok(kind) if kind.is_symlink() && Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                NotOurs::Link.into()
            }
            // The system's reason (a pipe without a reader, say) names no cause that helps.
            Ok(kind) if !kind.is_symlink() && !kind.is_file() => {
                refuse_kind(kind).err().unwrap_or(error)
            }
            _ => error,
        }
    })
}

fn refuse_kind(kind: FileType) -> io::Result<()> {
    let name = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_symlink() => return Err(NotOurs::Link.into()),
        kind if kind.is_dir() => "directory",
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    };
    Err(NotOurs::Kind(name).into())
}

fn refuse_others(found: &Metadata) -> io::Result<()> {
    match found.uid() {
        owner if owner == effective_uid() => Ok(()),
        owner => Err(belongs_to(owner)),
    }
}

fn refuse_second_name(found: &Metadata) -> io::Result<()> {
    match found.nlink() {
        // 0: it was removed since it was opened.
        0 | 1 => Ok(()),
        names => Err(NotOurs::Names(names).into()),
    }
}

/// Returns the error about a file or directory of another user.
pub(super) fn belongs_to(owner: u32) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to user id {owner}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    type Plant = fn(&Path, &Path);

    /// The options of every way in which a file of ours is opened.
    fn ways() -> [OpenOptions; 4] {
        let all = std::array::from_fn(|_| OpenOptions::new());
        let [mut reads, mut writes, mut appends, mut both] = all;
        reads.read(true);
        writes.write(true);
        appends.append(true).create(true);
        both.read(true).write(true).create(true).truncate(false);
        [reads, writes, appends, both]
    }

    #[test]
    fn what_is_no_file_of_ours_is_opened_in_no_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own");
        let precious = directory.path().join("precious");
        std::fs::write(&precious, "kept").unwrap();
        let plants: [(Plant, &str); 4] = [
            (|path, precious| symlink(precious, path).unwrap(), "a symbolic link"),
            (|path, _| symlink("/nonexistent/file", path).unwrap(), "a symbolic link"),
            (|path, _| pipe(path), "a pipe"),
            (|path, _| std::fs::create_dir(path).unwrap(), "a directory"),
        ];
        for (plant, word) in plants {
            plant(&path, &precious);
            for mut way in ways() {
                let error = open_own(&path, &mut way).unwrap_err();
                assert!(error.to_string().contains(word), "{word}: {error}");
                assert!(NotOurs::of(&error).is_some());
            }
            assert!(check_own(&path).is_err() && !is_written_by_us_alone(&path), "{word}");
            if path.is_dir() {
                std::fs::remove_dir(&path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
        for mut way in ways().into_iter().skip(2) {
            open_own(&path, &mut way).unwrap();
        }
        assert!(check_own(&path).is_ok() && is_written_by_us_alone(&path));
        assert!(read_limited(&directory.path().join("none"), 1).is_err());
    }

    #[test]
    fn a_file_of_another_user_is_opened_in_no_way() {
        if effective_uid() != 0 {
            // Only root can give a file to another.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own");
        std::fs::write(&path, "of another").unwrap();
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        for mut way in ways() {
            let error = open_own(&path, &mut way).unwrap_err();
            assert!(error.to_string().contains("user id 12345"), "{error}");
        }
        assert!(check_own(&path).is_err() && !is_written_by_us_alone(&path));
    }

    #[test]
    fn a_file_with_a_second_name_is_read_and_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("own"), directory.path().join("other"));
        std::fs::write(&other, "kept").unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        open_own(&path, OpenOptions::new().read(true)).unwrap();
        let error = open_own_to_write(&path, OpenOptions::new().append(true)).unwrap_err();
        assert!(error.to_string().contains("2 names"), "{error}");
        assert!(check_own(&path).is_err() && !is_written_by_us_alone(&path));
    }

    #[test]
    fn no_more_is_read_than_the_limit_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        std::fs::write(&path, "four").unwrap();
        symlink(&path, directory.path().join("link")).unwrap();
        assert_eq!(read_text(&directory.path().join("link"), 4).unwrap(), "four");
        let error = read_limited(&path, 3).unwrap_err();
        assert!(matches!(NotOurs::of(&error), Some(NotOurs::TooLarge(3))), "{error}");
        let endless = read_limited(Path::new("/dev/zero"), 3).unwrap_err();
        assert!(endless.to_string().contains("larger than 3 bytes"), "{endless}");
        assert_eq!(read_limited(Path::new("/dev/null"), 3).unwrap(), b"");
        let fifo = directory.path().join("fifo");
        pipe(&fifo);
        assert!(read_limited(&fifo, 3).unwrap_err().to_string().contains("pipe"));
    }

    #[test]
    fn what_others_may_have_written_is_not_ours_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own");
        std::fs::write(&path, "").unwrap();
        for (mode, ours) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_written_by_us_alone(&path), ours, "{mode:o}");
        }
        if effective_uid() == 0 {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            assert!(!is_written_by_us_alone(&path) && check_own(&path).is_err());
            let error = open_own(&path, OpenOptions::new().read(true)).unwrap_err();
            assert!(error.to_string().contains("belongs to user id 12345"), "{error}");
        }
    }
}
