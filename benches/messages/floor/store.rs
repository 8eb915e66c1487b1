//! The store: the relay that has the place of the broker.
//!
//! It reads from many, so it asks by `poll`, takes all that has come, writes it in one piece, syncs
//! once, and then pushes and answers. It writes over a file that has its full length already, as
//! SQLite does with its log, because a file that grows costs a sync about twice as much.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};

use crate::floor::{Lengths, Role};
use crate::lines::CHUNK;

/// The length of the file that is written over and over.
const FILE: usize = 4 * 1024 * 1024;

/// What is read of a line: sender, receiver, number, each followed by a space.
const HEAD: usize = 17;

/// Returns a line of a given length for a message.
pub fn line(sender: usize, receiver: usize, number: usize, length: usize) -> Vec<u8> {
    let mut line = format!("{sender:03} {receiver:03} {number:08} ").into_bytes();
    debug_assert_eq!(line.len(), HEAD);
    line.resize(length - 1, b'.');
    line.push(b'\n');
    line
}

/// A relay that is connected.
struct Connection {
    role: Role,
    number: u8,
    stream: UnixStream,
    /// What came and is not handled.
    came: Vec<u8>,
    length: usize,
    /// What is to be written to it after the sync.
    leaving: Vec<u8>,
}

impl Connection {
    /// Takes a new connection; its first two bytes say who it is.
    fn accept(listener: &UnixListener) -> Self {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 2];
        stream.read_exact(&mut hello).unwrap();
        let [role, number] = hello;
        let role = Role::from_byte(role);
        Self { role, number, stream, came: vec![0; CHUNK], length: 0, leaving: Vec::new() }
    }

    /// Writes what is to leave.
    fn flush(&mut self) {
        if !self.leaving.is_empty() {
            let _ = self.stream.write_all(&self.leaving);
            self.leaving.clear();
        }
    }
}

/// The file, made when there is something to write.
struct Log {
    path: PathBuf,
    file: Option<File>,
    at: usize,
}

impl Log {
    /// Writes a batch and syncs it.
    fn write(&mut self, batch: &[u8]) {
        let file = self.file.get_or_insert_with(|| {
            let file = File::create(&self.path).unwrap();
            file.write_all_at(&vec![0; FILE], 0).unwrap();
            file.sync_all().unwrap();
            file
        });
        if self.at + batch.len() > FILE {
            self.at = 0;
        }
        file.write_all_at(batch, self.at as u64).unwrap();
        file.sync_data().unwrap();
        self.at += batch.len();
    }
}

/// Serves until it is killed.
pub fn serve(listener: &UnixListener, file: &Path, lengths: Lengths) {
    let mut log = Log { path: file.to_owned(), file: None, at: 0 };
    let filler = vec![b'.'; lengths.answer.max(lengths.push)];
    // Those that ask, and those that are pushed to.
    let (mut from, mut to) = (Vec::<Connection>::new(), Vec::<Connection>::new());
    let mut batch = Vec::new();
    loop {
        let mut asked = vec![PollFd::new(listener, PollFlags::IN)];
        asked.extend(from.iter().map(|sender| PollFd::new(&sender.stream, PollFlags::IN)));
        poll(&mut asked, None).unwrap();
        let mut ready =
            asked.iter().map(|asked| !asked.revents().is_empty()).collect::<Vec<_>>().into_iter();
        let is_new = ready.next().unwrap();
        from.retain_mut(|sender| {
            !ready.next().unwrap() || read(sender, &mut to, &mut batch, &filler, lengths)
        });
        if !batch.is_empty() {
            log.write(&batch);
            batch.clear();
        }
        to.iter_mut().chain(&mut from).for_each(Connection::flush);
        if is_new {
            let mut new = Connection::accept(listener);
            if new.role == Role::Receiver {
                // The benchmark waits for this line.
                fill(&mut new.leaving, &[b'.'; HEAD], &filler, lengths.push);
                new.flush();
                to.push(new);
                to.sort_by_key(|receiver| receiver.number);
            } else {
                from.push(new);
            }
        }
    }
}

/// Reads what a sender has written, and prepares what follows from it. Returns whether it goes on.
fn read(
    sender: &mut Connection,
    to: &mut [Connection],
    batch: &mut Vec<u8>,
    filler: &[u8],
    lengths: Lengths,
) -> bool {
    let Lengths { call, answer, push } = lengths;
    let length = sender.stream.read(&mut sender.came[sender.length..]).unwrap_or(0);
    sender.length += length;
    let whole = sender.length / call * call;
    for line in sender.came[..whole].chunks_exact(call) {
        let head = &line[..HEAD];
        fill(&mut sender.leaving, head, filler, answer);
        if sender.role == Role::Sender {
            let receiver: usize = std::str::from_utf8(&line[4..7]).unwrap().parse().unwrap();
            if let Some(receiver) = to.get_mut(receiver) {
                fill(&mut receiver.leaving, head, filler, push);
            }
        }
    }
    if sender.role == Role::Sender {
        batch.extend_from_slice(&sender.came[..whole]);
    }
    sender.came.copy_within(whole..sender.length, 0);
    sender.length -= whole;
    length > 0
}

/// Appends a line that begins as another did.
fn fill(lines: &mut Vec<u8>, head: &[u8], filler: &[u8], length: usize) {
    lines.extend_from_slice(head);
    lines.extend_from_slice(&filler[..length - head.len() - 1]);
    lines.push(b'\n');
}
