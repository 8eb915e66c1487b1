//! Whom a word means: an id, a name, or an unambiguous prefix of either.

use crate::broker::testing::{ErrorCode, World};
use crate::protocol::error::Missing;

#[test]
fn an_exact_id_or_name_is_that_peer() {
    let mut world = World::new();
    let bob = world.live("bob");
    assert_eq!(world.resolve(bob.id.as_str()), Ok(bob.id.clone()));
    assert_eq!(world.resolve("bob"), Ok(bob.id.clone()));
}

#[test]
fn a_name_is_found_in_any_spelling_and_as_senders_are_shown() {
    let mut world = World::new();
    let bob = world.live("bob");
    for word in ["Bob", "BOB", "@bob", " bob ", "bob (by its command line)"] {
        assert_eq!(world.resolve(word), Ok(bob.id.clone()), "{word}");
    }
}

#[test]
fn an_exact_name_wins_over_a_longer_one_that_begins_with_it() {
    let mut world = World::new();
    let (shop, _) = (world.live("shop"), world.live("shop-search"));
    assert_eq!(world.resolve("shop"), Ok(shop.id));
}

#[test]
fn an_unambiguous_prefix_is_enough() {
    let mut world = World::new();
    world.next_ids(&["aaaaaaa1", "aaabaaa2"]);
    let (front, back) = (world.live("frontend"), world.live("backend"));
    assert_eq!(world.resolve("fro"), Ok(front.id.clone()));
    assert_eq!(world.resolve("b"), Ok(back.id));
    assert_eq!(world.resolve("aaaa"), Ok(front.id), "of an id as well");
    assert_eq!(world.resolve("aaa").unwrap_err().code, ErrorCode::Ambiguous);
}

#[test]
fn an_ambiguous_prefix_names_the_candidates_and_sends_nothing() {
    let mut world = World::new();
    let (ann, one, two) = (world.live("ann"), world.live("shop-login"), world.live("shop-search"));
    let refused = world.try_send(&ann, "shop", "hello").unwrap_err();
    assert_eq!(refused.code, ErrorCode::Ambiguous);
    let mut candidates: Vec<_> = refused.candidates.into_iter().map(|one| one.id).collect();
    candidates.sort();
    let mut expected = vec![one.id, two.id];
    expected.sort();
    assert_eq!(candidates, expected);
    assert_eq!(world.count("messages"), 0);
}

#[test]
fn a_word_that_fits_no_peer_is_refused() {
    let mut world = World::new();
    let bob = world.live("bob");
    for word in ["alice", "bobby", "obb", "zzzzzzz9"] {
        assert_eq!(world.resolve(word).unwrap_err().code, ErrorCode::NotFound, "{word}");
    }
    for word in ["", "  ", "@"] {
        assert_eq!(world.resolve(word).unwrap_err().code, ErrorCode::BadRequest, "{word:?}");
    }
    assert_eq!(world.resolve("bob"), Ok(bob.id));
}

#[test]
fn a_prefix_means_live_peers_and_not_those_that_are_away_without_mail() {
    let mut world = World::new();
    let (away, here) = (world.live("shop-login"), world.live("shop-search"));
    world.close_stream(&away);
    assert_eq!(world.resolve("shop"), Ok(here.id));
    assert_eq!(world.resolve("shop-login"), Ok(away.id), "it may reconnect");
}

#[test]
fn the_command_line_is_called_cli() {
    let mut world = World::new();
    let cli = world.cli();
    assert_eq!(world.resolve("cli"), Ok(cli.id));
}

#[test]
fn a_peer_cannot_write_to_itself_or_to_the_broker() {
    let mut world = World::new();
    let ann = world.live("ann");
    for word in ["ann", ann.id.as_str(), "broker"] {
        let refused = world.try_send(&ann, word, "hello").unwrap_err();
        assert_eq!(refused.code, ErrorCode::BadRequest, "{word}");
    }
    assert_eq!(world.count("messages"), 0);
}

#[test]
fn a_mistyped_name_is_answered_with_those_that_may_have_been_meant() {
    let mut world = World::new();
    let _ = (world.live("frontend"), world.live("backend"), world.live("日本語"));
    for (word, meant) in [
        ("fronted", Some("frontend")),
        ("Frnotend", Some("frontend")),
        ("backedn", Some("backend")),
        ("日木語", Some("日本語")),
        ("sidecar", None),
        ("f-and-much-longer-than-that", None),
    ] {
        let refused = world.resolve(word).unwrap_err();
        assert_eq!(refused.missing, Some(Missing::Peer));
        let names: Vec<_> =
            refused.candidates.iter().filter_map(|one| one.name.as_deref()).collect();
        assert_eq!(names.first().copied(), meant, "{word}");
        let asked = meant.map(|name| format!("Did you mean {name:?}?"));
        assert_eq!(refused.hint, asked, "{word}");
    }
}
