//! What a session costs its model, in tokens: characters by four.

use claude_peers::protocol::route;
use serde_json::{Value, json};

use crate::Size;
use crate::figures::Figures;
use crate::peer::Peer;
use crate::wire::{StandIn, Wire};
use crate::world::World;

/// A message of 77 characters.
const TEXT: &str = "The build is green again: the flaky test waited for a port that was taken....";

pub fn tokens(world: &World, _: &Size, figures: &mut Figures) {
    figures.measure("tokens", "tokens (characters / 4, as the model reads them)");
    let mut a = Peer::spawn_with(&world.sandbox, "a", "off");
    let instructions = a.initialize_answer()["result"]["instructions"].clone();
    a.initialized();
    let tools = answer(&mut a, "tools/list", json!({}))["tools"].clone();
    // The session is registered with its first call.
    a.call("list_peers", json!({}));
    a.next();
    let mut calls = Wire::open(&world.sandbox);
    let others: Vec<StandIn> = (1..10)
        .map(|number| StandIn::live(&world.sandbox, &mut calls, &format!("peer-{number}")))
        .collect();
    let listed = answer(&mut a, "tools/call", json!({ "name": "list_peers", "arguments": {} }));
    calls.post(route::MESSAGES, &others[0].secret, &json!({ "to": "a", "text": TEXT }));
    let checked =
        answer(&mut a, "tools/call", json!({ "name": "check_messages", "arguments": {} }));
    assert!(checked.to_string().contains(TEXT), "{checked}");
    let parts = [
        ("instructions", "initialize: the instructions", characters(&instructions)),
        ("tools", "tools/list: the tools", tools.to_string().chars().count()),
        ("list", "list_peers with 10 peers", read(&listed)),
        ("check", "check_messages with one message of 77 characters", read(&checked)),
    ];
    for (name, what, count) in parts {
        figures.value(name, what, "", tokens_of(count));
    }
    let all = parts.iter().map(|(_, _, count)| count).sum();
    figures.value("session", "all of these: what a session costs", "", tokens_of(all));
    for (name, what, result) in
        [("list", "list_peers", &listed), ("check", "check_messages", &checked)]
    {
        let whole = result.to_string().chars().count();
        figures.value(
            &format!("{name}.whole"),
            &format!("{what}: the whole result"),
            "",
            tokens_of(whole),
        );
    }
}

fn tokens_of(characters: usize) -> f64 {
    characters as f64 / 4.0
}

fn answer(peer: &mut Peer, method: &str, params: Value) -> Value {
    peer.request(method, params);
    peer.next().1["result"].clone()
}

/// The characters of a result that Claude Code shows its model: the structured content as JSON where
/// there is some, else the text.
fn read(result: &Value) -> usize {
    match &result["structuredContent"] {
        Value::Null => {
            let content = result["content"].as_array().unwrap();
            content.iter().map(|part| characters(&part["text"])).sum()
        }
        structured => structured.to_string().chars().count(),
    }
}

fn characters(text: &Value) -> usize {
    text.as_str().unwrap_or_default().chars().count()
}
