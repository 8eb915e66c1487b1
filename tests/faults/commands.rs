//! Hooks and command lines, which come and go.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::history::{Answer, Send, Way, read};
use crate::support::{Chance, log_lines};
use crate::world::{Kind, World};

/// One turn of a session, as its hooks report it.
pub fn turn(world: &Arc<World>, at: usize) {
    let session = &world.sessions[at];
    let Some(peer) = session.peer.get() else { return };
    let turn = world.text("a turn");
    for event in ["UserPromptSubmit", "PostToolUse", "Stop"] {
        let input = json!({
            "session_id": format!("session-{}", session.name),
            "hook_event_name": event,
            "prompt_id": turn,
            "cwd": world.sandbox.path().join("work").join(&session.name),
        });
        let began = world.recorder.now();
        let mut command = world.command(&["hook", event]);
        let (output, success) = world.run(Kind::Hook, &mut command, Some(&input.to_string()));
        let messages = read::hook_output(&output);
        let span = world.recorder.until_now(began);
        // What a killed hook has printed, its client drops.
        if success && (output.is_empty() || !messages.is_empty()) {
            for _ in &messages {
                world.count("messages shown by hooks");
            }
            let receiver = format!("{}#hook", session.name);
            world.recorder.looked(span, peer, &receiver, Way::Hook, messages);
        } else {
            world.recorder.look(began, peer, Way::Hook, false);
        }
    }
}

/// Sends by the command line, asks, and reads its mail and the log, until the run is over.
pub fn command_line(world: &Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        if world.is_settling() {
            inbox(world);
            std::thread::sleep(Duration::from_millis(200));
            continue;
        }
        match chance.below(10) {
            0..=4 => send(world, &mut chance, false),
            5 => send(world, &mut chance, true),
            6..=8 => inbox(world),
            _ => log(world),
        }
        std::thread::sleep(chance.between(Duration::from_millis(20), Duration::from_millis(300)));
    }
}

fn send(world: &Arc<World>, chance: &mut Chance, waits: bool) {
    let to = chance.below(world.sessions.len() as u64) as usize;
    let (Some(to), Some(from)) = (world.sessions[to].peer.get(), world.cli.get()) else { return };
    let question = if waits { "question " } else { "" };
    let text = format!("{question}{}", world.text("the command line"));
    let sending = world.recorder.begin(Send {
        began: 0,
        from: from.clone(),
        to: to.clone(),
        text: text.clone(),
        key: None,
        reply_to: None,
        waits,
        place: None,
        answer: None,
    });
    let mut command = world.command(&["send", to, &text, "--json"]);
    if waits {
        command.args(["--wait", "2"]);
    }
    let began = world.recorder.now();
    let (output, success) = world.run(Kind::CommandLine, &mut command, None);
    let answer: Value = serde_json::from_str(&output).unwrap_or_default();
    match answer["id"].as_str() {
        Some(id) => {
            world.count("sends acknowledged");
            world.succeeded();
            let state = answer["state"].as_str().filter(|_| !waits);
            world.recorder.accepted(sending, id, state);
        }
        None => {
            world.count("sends told as failed or unknown");
            world.recorder.answered(sending, Answer::Unknown);
        }
    }
    if waits {
        let span = world.recorder.until_now(began);
        match read::answer_to_command(&answer) {
            Some(seen) => {
                world.count("questions answered");
                let receiver = format!("cli#{text}");
                world.recorder.looked(span, from, &receiver, Way::Answer, vec![seen]);
            }
            None if !success => world.recorder.look(began, from, Way::Answer, false),
            None => {}
        }
    }
}

fn inbox(world: &Arc<World>) {
    let Some(me) = world.cli.get() else { return };
    let began = world.recorder.now();
    let (output, success) =
        world.run(Kind::CommandLine, &mut world.command(&["inbox", "--json"]), None);
    let read: Value = serde_json::from_str(&output).unwrap_or_default();
    let span = world.recorder.until_now(began);
    // What was printed whole was seen, even if the confirmation failed.
    if read.is_null() {
        world.recorder.look(began, me, Way::Inbox, output.is_empty());
        return;
    }
    if success {
        world.succeeded();
    }
    let messages = read::inbox(&read);
    for _ in &messages {
        world.count("messages shown by inbox");
    }
    world.recorder.looked(span, me, "cli", Way::Inbox, messages);
}

/// Reads the states of the newest messages: each was true when it was told.
fn log(world: &Arc<World>) {
    let began = world.recorder.now();
    let mut command = world.command(&["log", "-n", "40", "--json"]);
    let (output, success) = world.run(Kind::CommandLine, &mut command, None);
    if success && let Some(log) = log_lines(output.as_bytes()) {
        world.succeeded();
        world.count("listings of states");
        world.recorder.told(world.recorder.until_now(began), read::log(&log));
    }
}
