//! SQLite's write-ahead log, as it stands in its file.
//!
//! The layout is that of <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The log of a database since it began anew.
pub struct Log {
    /// Each round of the log has its own.
    salt: Vec<u8>,
    written: Written,
}

/// What was written to the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    pub pages: usize,
    pub commits: usize,
}

impl Log {
    /// Reads the log of a database, which must have one.
    pub fn of(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let log = std::fs::read(name).expect("there is a log");
        let page_size = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
        let salt = log[16..24].to_vec();
        let mut written = Written::default();
        // What stands behind the frames of this round is of an earlier one.
        for frame in log[HEADER..].chunks_exact(FRAME_HEADER + page_size) {
            if frame[8..16] != salt {
                break;
            }
            written.pages += 1;
            // The last frame of a commit says how large the database is then.
            written.commits += usize::from(frame[4..8] != [0; 4]);
        }
        Self { salt, written }
    }

    /// Returns what was written since, unless the log began anew.
    pub fn since(&self, before: &Self) -> Option<Written> {
        let (now, before_it) = (self.written, before.written);
        (self.salt == before.salt).then(|| Written {
            pages: now.pages - before_it.pages,
            commits: now.commits - before_it.commits,
        })
    }
}
