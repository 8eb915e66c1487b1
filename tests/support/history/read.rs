//! Reads what the program says: pushes, tool results, hook output, the inbox, the log, notices.

use serde_json::Value;

use super::{Seen, Span, Stored};

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn words(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Reads the parameters of a `notifications/claude/channel`.
pub fn push(params: &Value) -> Seen {
    let meta = &params["meta"];
    Seen {
        id: word(&meta["message_id"]),
        from: word(&meta["from_id"]),
        text: word(&params["content"]),
        repeat: meta["repeat"] == "true",
        already_pushed: false,
        part: false,
    }
}

/// Reads the messages of a result of `check_messages`, from its `structuredContent`.
pub fn check_messages(structured: &Value) -> Vec<Seen> {
    list(&structured["messages"]).iter().map(view).collect()
}

/// Reads the answer in the result of a `send_message` that waited, if one came.
pub fn answer(structured: &Value) -> Option<Seen> {
    let message = &structured["answer"]["message"];
    (!message.is_null()).then(|| view(message))
}

fn view(message: &Value) -> Seen {
    Seen {
        id: word(&message["message_id"]),
        from: word(&message["from_id"]),
        text: word(&message["text"]),
        repeat: message["repeat"] == true,
        already_pushed: message["already_pushed"] == true,
        part: !message["part"].is_null(),
    }
}

/// Reads the states of the session's own messages in a result of `check_messages`: id, state, way.
///
/// The way is that of the last offer, and is not told here.
pub fn own_unread(structured: &Value) -> Vec<(String, String, Option<String>)> {
    let own = list(&structured["own_unread"]).iter();
    own.map(|own| (word(&own["message_id"]), word(&own["state"]), None)).collect()
}

/// Reads the output of `claude-peers inbox --json`.
pub fn inbox(output: &Value) -> Vec<Seen> {
    list(&output["messages"]).iter().map(delivery).collect()
}

/// Reads the answer in the output of `claude-peers send --wait --json`, if one came.
pub fn answer_to_command(output: &Value) -> Option<Seen> {
    (!output["answer"].is_null()).then(|| delivery(&output["answer"]))
}

fn delivery(message: &Value) -> Seen {
    Seen {
        id: word(&message["id"]),
        from: word(&message["from"]["id"]),
        text: word(&message["text"]),
        repeat: message["repeat"] == true,
        already_pushed: message["already_pushed"] == true,
        part: false,
    }
}

/// Reads the context that a hook prints for the model.
pub fn hook(context: &str) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    let mut is_open = false;
    for line in context.lines() {
        if let Some(heading) = line.strip_prefix("message_id ") {
            found.push(headed(heading));
            is_open = true;
        } else if let (Some(text), true, Some(message)) =
            (line.strip_prefix("| "), is_open, found.last_mut())
        {
            if !message.text.is_empty() {
                message.text.push('\n');
            }
            message.text.push_str(text);
        } else {
            is_open = false;
        }
    }
    found
}

/// Reads `m1, from NAME (from_id ID) in PATH, 5s ago, a repeat: it may have been shown before`.
fn headed(heading: &str) -> Seen {
    let (id, rest) = heading.split_once(", ").unwrap_or((heading, ""));
    let from = rest.split_once("from_id ").map_or("", |(_, from)| from);
    let from = from.split([')', ' ', ',', ';']).next().unwrap_or_default();
    Seen {
        id: id.to_owned(),
        from: from.to_owned(),
        text: String::new(),
        repeat: heading.ends_with(", a repeat: it may have been shown before"),
        already_pushed: heading.ends_with(", already pushed into this session"),
        part: false,
    }
}

/// Reads what a hook printed on standard output: the messages in its context.
pub fn hook_output(output: &str) -> Vec<Seen> {
    let said: Value = serde_json::from_str(output).unwrap_or_default();
    hook(said["hookSpecificOutput"]["additionalContext"].as_str().unwrap_or_default())
}

/// Reads `claude-peers log --json`, as what is stored.
pub fn stored(log: &Value, span: Span) -> Vec<Stored> {
    let messages = list(&log["messages"]).iter();
    let read = |message: &Value| {
        let (state, via) = standing(message);
        Stored {
            span,
            id: word(&message["id"]),
            from: word(&message["from"]["id"]),
            to: word(&message["to"]["id"]),
            text: word(&message["text"]),
            state,
            via,
        }
    };
    messages.map(read).collect()
}

/// Reads `claude-peers log --json`, as states that are told: id, state, way.
pub fn log(log: &Value) -> Vec<(String, String, Option<String>)> {
    let messages = list(&log["messages"]).iter();
    let read = |message: &Value| {
        let (state, via) = standing(message);
        (word(&message["id"]), state, via)
    };
    messages.map(read).collect()
}

fn standing(message: &Value) -> (String, Option<String>) {
    let state = word(&message["state"]);
    let via = match state.as_str() {
        "read" => words(&message["read_via"]),
        "offered" | "unconfirmed" => words(&message["offered_via"]),
        _ => None,
    };
    (state, via)
}

/// Reads the text of a notice: the ids that it names, and the state in which each ended.
pub fn notice(text: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for line in text.lines() {
        for (word, state) in [("(expired): ", "expired"), ("(unconfirmed): ", "unconfirmed")] {
            let Some((_, ids)) = line.split_once(word) else { continue };
            let ids = ids.trim_end_matches('.').split(", ");
            let ids = ids.map(|id| id.split(' ').next().unwrap_or_default());
            found.extend(ids.map(|id| (id.to_owned(), state)));
        }
    }
    found
}
