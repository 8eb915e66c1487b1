//! What the processes of the floor do that stand for sessions, hooks and commands.
//!
//! Sender and receiver copy bytes: a thread for each direction blocks in `read`, which is one system
//! call less than asking first whether there is something.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::floor::{Lengths, Role, store};
use crate::lines::CHUNK;

/// The first argument of a relay.
pub const ARGUMENT: &str = "--relay";

/// Runs this process as a relay, if it was started as one. Returns whether it was.
#[expect(clippy::zombie_processes, reason = "a relay that started a store ends right after it")]
pub fn run(arguments: &[String]) -> bool {
    let Some((ARGUMENT, [what, place, numbers @ ..])) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    else {
        return false;
    };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let input = || owned(&std::io::stdin());
    let output = || File::from(owned(&std::io::stdout()));
    match (what.as_str(), numbers.as_slice()) {
        ("store", [call, answer, push]) => {
            let lengths = Lengths { call: *call, answer: *answer, push: *push };
            store::serve(&UnixListener::from(input()), Path::new(place), lengths);
        }
        ("sender", [number]) => {
            both_ways(&connect(place, Role::Sender, *number), input(), output())
        }
        ("asker", [number]) => both_ways(&connect(place, Role::Asker, *number), input(), output()),
        ("receiver", [number]) => copy(&connect(place, Role::Receiver, *number), output()),
        ("echo", [length]) => echo(*length),
        ("send", [length, answer]) => once(place, Role::Sender, *length, *answer),
        ("ask", [length, answer]) => once(place, Role::Asker, *length, *answer),
        ("start", [length, answer]) => {
            let mut store = start_store(Path::new(place), *length, *answer);
            once(place, Role::Asker, *length, *answer);
            let _ = store.kill();
        }
        _ => panic!("{arguments:?}"),
    }
    true
}

fn owned(stream: &impl AsFd) -> OwnedFd {
    stream.as_fd().try_clone_to_owned().unwrap()
}

fn connect(socket: &str, role: Role, number: usize) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&[role.byte(), u8::try_from(number).unwrap()]).unwrap();
    stream
}

/// Copies lines to the store and its answers back, until the input ends.
fn both_ways(store: &UnixStream, input: OwnedFd, output: File) {
    let to_store = store.try_clone().unwrap();
    std::thread::spawn(move || {
        copy(File::from(input), &to_store);
        // The store hears of it and closes its side, which ends the other way.
        let _ = to_store.shutdown(std::net::Shutdown::Write);
    });
    copy(store, output);
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

/// Answers the first line, and waits for the end of the input.
fn echo(length: usize) {
    let mut input = BufReader::new(File::from(owned(&std::io::stdin())));
    input.read_until(b'\n', &mut Vec::new()).unwrap();
    std::io::stdout().write_all(&store::line(0, 0, 0, length)).unwrap();
    std::io::stdout().flush().unwrap();
    let _ = input.read_until(b'\n', &mut Vec::new());
}

/// Sends one line, waits for the answer, and prints it.
fn once(socket: &str, role: Role, length: usize, answer: usize) {
    let mut store = connect(socket, role, 0);
    store.write_all(&store::line(0, 0, 0, length)).unwrap();
    let mut came = vec![0; answer];
    store.read_exact(&mut came).unwrap();
    std::io::stdout().write_all(&came).unwrap();
}

/// Starts a store that listens at `socket`.
fn start_store(socket: &Path, call: usize, answer: usize) -> Child {
    let listener = UnixListener::bind(socket).unwrap();
    let lengths = Lengths { call, answer, push: answer };
    let mut store = super::store_command(&socket.with_extension("log"), lengths);
    // Who waits for the end of this process' output does not wait for the store.
    store.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
    store.spawn().unwrap()
}
