//! What the processes of the floor do.
//!
//! Sender and receiver copy bytes: a thread for each direction blocks in `read`, which is one system
//! call less than asking first whether there is something. The store reads from many, so it asks by
//! `poll`, takes all that has come, writes it in one piece, syncs once, and then pushes and answers.
//! It writes over a file that has its full length already, as SQLite does with its log, because a
//! file that grows costs a sync about twice as much.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, poll};

use crate::lines::CHUNK;

/// The first argument of a relay.
pub const ARGUMENT: &str = "--relay";

/// The length of the file that the store writes over and over.
const FILE: usize = 4 * 1024 * 1024;

/// What the store reads of a line: sender, receiver, number, each followed by a space.
const HEAD: usize = 17;

/// Runs this process as a relay, if it was started as one. Returns whether it was.
pub fn run(arguments: &[String]) -> bool {
    let Some((ARGUMENT, [role, place, numbers @ ..])) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    else {
        return false;
    };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let (input, output) =
        (File::from(owned(&std::io::stdin())), File::from(owned(&std::io::stdout())));
    match role.as_str() {
        "store" => store(UnixListener::from(owned(&std::io::stdin())), place, &numbers),
        "sender" => {
            let store = connect(place, b's', numbers[0]);
            let to_store = store.try_clone().unwrap();
            // When the benchmark ends the input, the store hears of it, and ends the other way.
            std::thread::spawn(move || {
                copy(input, &to_store);
                let _ = to_store.shutdown(std::net::Shutdown::Write);
            });
            copy(store, output);
        }
        "receiver" => copy(connect(place, b'r', numbers[0]), output),
        role => panic!("no relay is called {role}"),
    }
    true
}

fn owned(stream: &impl AsFd) -> OwnedFd {
    stream.as_fd().try_clone_to_owned().unwrap()
}

fn connect(socket: &str, role: u8, number: usize) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&[role, u8::try_from(number).unwrap()]).unwrap();
    stream
}

/// Copies what comes, until one side ends.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(length) if to.write_all(&chunk[..length]).is_err() => return,
            Ok(_) => {}
        }
    }
}

/// Returns a line of a given length for a message.
pub fn line(sender: usize, receiver: usize, number: usize, length: usize) -> Vec<u8> {
    let mut line = format!("{sender:03} {receiver:03} {number:08} ").into_bytes();
    debug_assert_eq!(line.len(), HEAD);
    line.resize(length - 1, b'.');
    line.push(b'\n');
    line
}

/// A connection of the store.
struct Connection {
    stream: UnixStream,
    /// What came and is not handled.
    came: Vec<u8>,
    length: usize,
    /// What is to be written to it after the sync.
    leaving: Vec<u8>,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self { stream, came: vec![0; CHUNK], length: 0, leaving: Vec::new() }
    }

    /// Writes what is to leave.
    fn flush(&mut self) {
        if !self.leaving.is_empty() {
            let _ = self.stream.write_all(&self.leaving);
            self.leaving.clear();
        }
    }
}

fn store(listener: UnixListener, file: &str, numbers: &[usize]) {
    let [senders, receivers, call, answer, push] = numbers else { panic!("{numbers:?}") };
    let file = File::options().create(true).write(true).truncate(true).open(file).unwrap();
    file.write_all_at(&vec![0; FILE], 0).unwrap();
    file.sync_all().unwrap();
    let (mut from, mut to) = accept(&listener, senders + receivers);
    let filler = vec![b'.'; (*answer).max(*push)];
    let (mut batch, mut at) = (Vec::new(), 0);
    while !from.is_empty() {
        let mut asked: Vec<PollFd<'_>> =
            from.iter().map(|sender| PollFd::new(&sender.stream, PollFlags::IN)).collect();
        poll(&mut asked, None).unwrap();
        let ready: Vec<bool> = asked.iter().map(|asked| !asked.revents().is_empty()).collect();
        let mut ended = Vec::new();
        for (index, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            let sender = &mut from[index];
            let length = sender.stream.read(&mut sender.came[sender.length..]).unwrap_or(0);
            if length == 0 {
                ended.push(index);
            }
            sender.length += length;
            let whole = sender.length / call * call;
            for line in sender.came[..whole].chunks_exact(*call) {
                let head = &line[..HEAD];
                let receiver: usize = std::str::from_utf8(&line[4..7]).unwrap().parse().unwrap();
                fill(&mut to[receiver].leaving, head, &filler, *push);
                fill(&mut sender.leaving, head, &filler, *answer);
            }
            batch.extend_from_slice(&sender.came[..whole]);
            sender.came.copy_within(whole..sender.length, 0);
            sender.length -= whole;
        }
        if !batch.is_empty() {
            if at + batch.len() > FILE {
                at = 0;
            }
            file.write_all_at(&batch, at as u64).unwrap();
            file.sync_data().unwrap();
            at += batch.len();
            batch.clear();
        }
        to.iter_mut().chain(&mut from).for_each(Connection::flush);
        for index in ended.into_iter().rev() {
            from.remove(index);
        }
    }
}

/// Appends a line that begins as another did.
fn fill(lines: &mut Vec<u8>, head: &[u8], filler: &[u8], length: usize) {
    lines.extend_from_slice(head);
    lines.extend_from_slice(&filler[..length - head.len() - 1]);
    lines.push(b'\n');
}

/// Takes the connections of all relays: senders, and receivers in their order.
fn accept(listener: &UnixListener, count: usize) -> (Vec<Connection>, Vec<Connection>) {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 2];
        stream.read_exact(&mut hello).unwrap();
        match hello {
            [b's', _] => senders.push(Connection::new(stream)),
            [_, number] => receivers.push((number, Connection::new(stream))),
        }
    }
    receivers.sort_by_key(|(number, _)| *number);
    (senders, receivers.into_iter().map(|(_, receiver)| receiver).collect())
}
