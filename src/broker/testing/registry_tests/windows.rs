//! Several client processes that show one session: each keeps its own peer, whatever restarts.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::broker::testing::{Hook, NOTHING, Start, TestPeer, World, ended, event, running};
use crate::protocol::hook::HookEvent;
use crate::protocol::{ProcessId, ShellSession};
use crate::sys::process;

/// A client process that runs, and can be seen from here.
struct Client(Child);

impl Client {
    fn new() -> Self {
        // It ends with this test at the latest, when its input is closed.
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn process(&self) -> ProcessId {
        process::of_pid(self.0.id()).unwrap()
    }

    fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|end| end.is_none()) {
            self.stop();
        }
    }
}

/// After this time a registration without a stream counts no more.
const ARRIVED: Duration = Duration::from_secs(6);

/// How a server of the session "one" starts under a client process.
fn shows_one(client: &ProcessId) -> Start {
    Start::at("/src/one").session("one").client(client.clone())
}

/// Two client processes that show one session, and their servers, whose streams are open.
fn two_windows(world: &mut World, clients: [&ProcessId; 2]) -> [TestPeer; 2] {
    clients.map(|client| {
        let peer = world.start(shows_one(client));
        world.open_stream(&peer);
        peer
    })
}

/// An event of a hook of a client process that shows the session "one".
fn hook_of(client: &ProcessId, peer: &TestPeer, source: &str) -> HookEvent {
    HookEvent {
        session: "one".to_owned(),
        client: Some(client.clone()),
        source: source.to_owned(),
        room: 0,
        ..event(peer, Hook::SessionStart, "")
    }
}

#[test]
fn a_second_window_whose_server_restarts_is_the_same_peer_with_its_mail() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let [first, second] = two_windows(&mut world, [&running(1), &running(2)]);
    assert_ne!(first.id, second.id);
    for _ in 0..2 {
        world.close_stream(&second);
        let id = world.send(&ann, &second, "for the second");
        let again = world.start(second.start());
        assert_eq!((&again.id, &again.name), (&second.id, &second.name));
        assert_eq!(again.notes, NOTHING, "it has no new peer");
        assert_eq!(world.take(&again), ["for the second"]);
        world.confirm(&again, &[id]);
        world.open_stream(&second);
    }
    let third = world.start(shows_one(&running(3)));
    assert!(third.id != first.id && third.id != second.id);
}

#[test]
fn each_window_is_its_own_peer_for_the_next_broker_in_any_order() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let clients = [Client::new(), Client::new()].map(|client| (client.process(), client));
    let [first, second] = two_windows(&mut world, [&clients[0].0, &clients[1].0]);
    for order in [[&first, &second], [&second, &first]] {
        world.crash();
        for window in order {
            let id = world.send(&ann, window, &window.name);
            let server = world.start(window.start());
            assert_eq!(server.id, window.id);
            assert_eq!(world.take(&server), [window.name.as_str()]);
            world.confirm(&server, &[id]);
        }
    }
}

#[test]
fn a_window_keeps_its_peer_after_the_first_has_ended() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let (client, window) = (Client::new(), Client::new());
    let [first, second] = two_windows(&mut world, [&client.process(), &window.process()]);
    world.close_stream(&first);
    client.end();
    world.close_stream(&second);
    world.send(&ann, &first, "for the first");
    world.send(&ann, &second, "for the second");
    world.try_hook(hook_of(&window.process(), &second, "startup")).unwrap();
    let shown = world.hook(&second, Hook::UserPromptSubmit, "turn");
    assert_eq!(shown.lines(), ["for the second"], "by its hooks, before its server");
    let again = world.start(second.start());
    assert_eq!(again.id, second.id);
    world.open_stream(&again);
    // The event says that the session was resumed, which is free.
    world.try_hook(hook_of(&window.process(), &again, "resume")).unwrap();
    assert_eq!(world.start(second.start()).id, second.id);
    assert!(world.look(&second).live && !world.look(&first).live);
    let resumed = world.start(shows_one(&running(3)));
    assert_eq!(resumed.id, first.id);
    assert_eq!(world.take(&resumed), ["for the first"]);
}

#[test]
fn an_ended_window_is_continued_by_the_next_one() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let [first, second] = two_windows(&mut world, [&running(1), &ended(2)]);
    world.close_stream(&second);
    world.send(&ann, &second, "for the second");
    let longer = world.start(Start::at("/src/one").session("one:2").client(running(5)));
    assert_ne!(longer.id, second.id, "another session, whose id begins like this one's");
    let next = world.start(shows_one(&running(3)));
    assert_eq!(next.id, second.id);
    assert_eq!(world.take(&next), ["for the second"]);
    world.open_stream(&next);
    let last = world.start(shows_one(&running(4)));
    assert!(last.id != first.id && last.id != second.id);
    world.close_stream(&next);
    assert_eq!(world.start(next.start()).id, second.id);
}

#[test]
fn a_suspended_session_keeps_its_peer_while_another_client_resumes_it() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let (suspended, other) = (Client::new(), Client::new());
    let first = world.start(shows_one(&suspended.process()));
    world.open_stream(&first);
    world.send(&ann, &first, "for the first");
    world.crash();
    // It has not reconnected yet. The other client's hook may come before its server.
    let before = HookEvent {
        client: Some(other.process()),
        ..event(&first, Hook::UserPromptSubmit, "turn")
    };
    assert_eq!(world.try_hook(before.clone()).unwrap().lines(), NOTHING.map(str::to_owned));
    let second = world.start(shows_one(&other.process()));
    assert_ne!(second.id, first.id);
    assert!(second.notes[0].contains("is already registered for this session, as one"));
    world.open_stream(&second);
    world.try_hook(hook_of(&other.process(), &second, "resume")).unwrap();
    assert_eq!(world.try_hook(before).unwrap().lines(), NOTHING.map(str::to_owned));
    assert_eq!(world.take(&second), NOTHING);
    assert_eq!(world.register_again(&first).peer.id, first.id);
    let server = world.start(first.start());
    assert_eq!(server.id, first.id, "also where the server was replaced meanwhile");
    assert_eq!(world.take(&server), ["for the first (repeat)"]);
}

#[test]
fn a_running_client_that_resumes_a_suspended_session_does_not_become_its_peer() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let (suspended, other) = (Client::new(), Client::new());
    let first = world.start(shows_one(&suspended.process()));
    let mine = world.start(Start::at("/src/two").session("two").client(other.process()));
    world.hook(&mine, Hook::SessionStart, "");
    world.crash();
    world.register_again(&mine);
    world.open_stream(&mine);
    world.send(&ann, &first, "for the first");
    world.try_hook(hook_of(&other.process(), &mine, "resume")).unwrap();
    assert!(world.look(&mine).live && !world.look(&first).live);
    assert_eq!(world.pushed(&mine), NOTHING);
    suspended.end();
    world.try_hook(hook_of(&other.process(), &mine, "startup")).unwrap();
    world.hook(&mine, Hook::SessionStart, "");
    world.try_hook(hook_of(&other.process(), &mine, "resume")).unwrap();
    assert_eq!(world.pushed(&mine), ["for the first"], "whose client process has ended");
}

#[test]
fn a_process_that_cannot_be_seen_keeps_its_peer_while_it_has_a_stream() {
    let mut world = World::new();
    let first = world.start(shows_one(&running(1)));
    world.open_stream(&first);
    assert_ne!(world.start(shows_one(&running(2))).id, first.id);
    world.close_stream(&first);
    assert_eq!(world.start(shows_one(&running(3))).id, first.id);
}

#[test]
fn a_wrapper_of_the_client_is_no_other_client() {
    let mut world = World::new();
    let client = Client::new();
    let wrapped = world.start(shows_one(&process::own()));
    world.advance(ARRIVED);
    assert_eq!(world.start(shows_one(&client.process())).id, wrapped.id);
}

#[test]
fn a_window_that_turned_out_to_show_another_session_is_none() {
    let mut world = World::new();
    let (first_client, second_client) = (Client::new(), Client::new());
    let client = second_client.process();
    let two = world.live_in_ended_client("/src/two");
    world.close_stream(&two);
    let [first, second] = two_windows(&mut world, [&first_client.process(), &client]);
    let shows_two = HookEvent { session: two.session(), ..hook_of(&client, &second, "resume") };
    world.try_hook(shows_two).unwrap();
    assert!(world.look(&two).live, "the new peer was merged into the session's");
    world.close_stream(&first);
    first_client.end();
    // Now it resumes the session for whose window it was taken at first.
    world.try_hook(hook_of(&client, &second, "resume")).unwrap();
    assert!(world.look(&first).live && !world.look(&two).live);
}

#[test]
fn a_shell_in_a_window_speaks_as_that_window() {
    let mut world = World::new();
    let (client, window) = (Client::new(), Client::new());
    let [first, second] = two_windows(&mut world, [&client.process(), &window.process()]);
    for peer in [&first, &second] {
        world.hook(peer, Hook::SessionStart, "");
        let inside =
            ShellSession { above: vec![peer.client().unwrap()], session: Some("one".to_owned()) };
        assert_eq!(world.speaks_as(&inside), Some(peer.id.clone()));
    }
}
