//! The list of peers: which are in it, and how each can be reached.

use std::time::Duration;

use crate::broker::testing::{
    Channel, ErrorCode, Hook, Reachability, Scope, Start, TestPeer, World,
};
use crate::protocol::peers::{ListPeers, Peer, SetProfile};

fn names(world: &mut World, caller: &TestPeer, scope: Scope) -> Vec<String> {
    let request = ListPeers { scope, ..ListPeers::default() };
    let list = world.list(caller, &request).unwrap();
    let mut names: Vec<_> = list.peers.into_iter().filter_map(|peer| peer.name).collect();
    names.sort();
    names
}

#[test]
fn the_live_ones_are_listed_and_the_caller_stands_apart() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    world.peer("registered-only");
    let gone = world.live("gone");
    world.close_stream(&gone);
    assert_eq!(names(&mut world, &ann, Scope::Machine), ["bob"]);
    let list = world.list(&bob, &ListPeers::default()).unwrap();
    assert_eq!(list.me.unwrap().id, bob.id);
    assert_eq!(list.away, 0);
}

#[test]
fn a_peer_that_is_away_with_mail_or_a_chosen_name_is_counted_and_listed_on_demand() {
    let mut world = World::new();
    let (ann, mail) = (world.live("ann"), world.peer("mail"));
    world.send(&ann, &mail, "hello");
    world.start(Start::at("/src/x").named("chosen"));
    let list = world.list(&ann, &ListPeers::default()).unwrap();
    assert_eq!((list.peers.len(), list.away, list.away_unread), (0, 2, Some(1)));
    let all = world.list(&ann, &ListPeers { all: true, ..ListPeers::default() }).unwrap();
    assert_eq!(all.peers.len(), 2);
}

#[test]
fn a_scope_is_the_same_directory_or_repository() {
    let mut world = World::new();
    let places = [
        ("/src/shop", Some("/src/shop/.git")),
        ("/src/shop", Some("/src/shop/.git")),
        ("/src/login", Some("/src/shop/.git")),
        ("/src/other", None),
    ];
    let peers = places.map(|(directory, repo)| {
        let start = Start::at(directory);
        let peer = world.start(if let Some(repo) = repo { start.repo(repo) } else { start });
        world.open_stream(&peer);
        peer
    });
    assert_eq!(names(&mut world, &peers[0], Scope::Directory), ["shop-2"]);
    assert_eq!(names(&mut world, &peers[0], Scope::Repo), ["shop-2", "shop-login"]);
    assert_eq!(names(&mut world, &peers[0], Scope::Machine), ["other", "shop-2", "shop-login"]);
    let request = ListPeers { scope: Scope::Repo, ..ListPeers::default() };
    assert_eq!(world.list(&peers[3], &request).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn of_many_peers_the_nearest_are_listed_and_the_others_counted() {
    let mut world = World::new();
    let mut live = |start: Start| {
        let peer = world.start(start);
        world.open_stream(&peer);
        world.advance(Duration::from_secs(1));
        peer
    };
    let me = live(Start::at("/src/shop").repo("/src/shop/.git"));
    for number in 0..20 {
        live(Start::at(&format!("/other/p{number}")));
    }
    live(Start::at("/src/shop/api").repo("/src/shop/.git"));
    live(Start::at("/src/shop").repo("/src/shop/.git"));
    let recent = live(Start::at("/other/recent"));
    let lively = live(Start::at("/other/lively"));
    live(Start::at("/other/last"));
    world.send(&me, &recent, "for you");
    // A hook event is activity, too.
    world.hook(&lively, Hook::SessionStart, "");
    let mut list = |limit: u32, name: Option<&str>| {
        let name = name.map(str::to_owned);
        let request = ListPeers { limit, name, ..ListPeers::default() };
        let list = world.list(&me, &request).unwrap();
        let name_of = |peer: Peer| (peer.name.unwrap_or_default(), peer.unread);
        (list.peers.into_iter().map(name_of).collect::<Vec<_>>(), list.more)
    };
    let (nearest, more) = list(5, None);
    let names: Vec<_> = nearest.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["shop-2", "shop-api", "lively", "last", "recent"]);
    assert_eq!((nearest[4].1, more), (1, 20), "each that is shown has its backlog");
    assert_eq!(list(0, None).0.len(), 25);
    assert_eq!(list(100, None).1, 0);
    let (ones, more) = list(2, Some("P1"));
    assert_eq!((ones.len(), more), (2, 9), "{ones:?}");
    assert!(ones.iter().all(|(name, _)| name.starts_with("p1")), "{ones:?}");
    assert_eq!(list(5, Some("nobody")), (Vec::new(), 0));
}

#[test]
fn how_a_peer_can_be_reached_follows_from_evidence() {
    let mut world = World::new();
    let cases = [
        (Channel::Absent, Reachability::Tools),
        (Channel::Presumed, Reachability::ChannelPresumed),
        (Channel::Proven, Reachability::ChannelProven),
    ];
    for (channel, reach) in cases {
        let peer = world.live_over("bob", channel);
        assert_eq!(world.look(&peer).reach, reach);
        world.close_stream(&peer);
        assert_eq!(world.look(&peer).reach, Reachability::Away);
    }
    let cli = world.cli();
    assert_eq!(world.look(&cli).reach, Reachability::Inbox);
}

#[test]
fn hooks_that_speak_are_better_than_a_push_that_may_not_be_shown() {
    let mut world = World::new();
    let (absent, proven) =
        (world.live_over("a", Channel::Absent), world.live_over("b", Channel::Proven));
    for peer in [&absent, &proven] {
        world.hook(peer, Hook::SessionStart, "");
    }
    assert_eq!(world.look(&absent).reach, Reachability::Hooks);
    assert_eq!(world.look(&proven).reach, Reachability::ChannelProven);
}

#[test]
fn the_backlog_is_what_waits_and_not_what_a_proven_channel_carries() {
    let mut world = World::new();
    let ann = world.live("ann");
    let cases = [(Channel::Absent, 2), (Channel::Presumed, 2), (Channel::Proven, 0)];
    for (channel, unread) in cases {
        let peer = world.live_over("bob", channel);
        world.send_all(&ann, &peer, &["one", "two"]);
        assert_eq!(world.look(&peer).unread, unread, "{channel:?}");
        world.close_stream(&peer);
    }
}

#[test]
fn a_summary_of_the_program_never_replaces_one_of_the_session() {
    let mut world = World::new();
    let bob = world.live("bob");
    let mut set = |text: &str, automatic| {
        let summary = Some(text.to_owned());
        let request = SetProfile { summary, automatic, ..SetProfile::default() };
        let set = world.set_profile(&bob, request).unwrap();
        (set.changed, set.peer.summary)
    };
    assert_eq!(set("guessed", true), (true, "guessed".to_owned()));
    assert_eq!(set("said", false), (true, "said".to_owned()));
    assert_eq!(set("guessed again", true), (false, "said".to_owned()));
}

#[test]
fn a_summary_that_is_too_long_changes_nothing() {
    let mut world = World::with(|limits| limits.max_summary_chars = 5);
    let bob = world.live("bob");
    let profile = |summary: &str, name: &str| SetProfile {
        summary: Some(summary.to_owned()),
        name: Some(name.to_owned()),
        automatic: false,
    };
    let refused = world.set_profile(&bob, profile("123456", "other")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
    assert_eq!(
        world.set_profile(&bob, profile("12345", "cli")).unwrap_err().code,
        ErrorCode::BadRequest
    );
    let now = world.look(&bob);
    assert_eq!((now.name.as_deref(), now.summary.as_str()), (Some("bob"), ""), "both or none");
}

#[test]
fn a_list_runs_as_many_statements_for_many_peers_as_for_few() {
    let mut world = World::new();
    let me = world.live("me");
    let mut count = |peers: usize| {
        for number in 0..peers {
            world.live(&format!("p{number}"));
        }
        let request = ListPeers { limit: 60, ..ListPeers::default() };
        world.statements(|world| drop(world.list(&me, &request).unwrap())).len()
    };
    let few = count(60);
    assert!(few <= 10, "{few}");
    assert_eq!(count(200), few);
}
