//! Claude Code's status line, of which there is one: ours is set only where the person asks for it and
//! has no other.

use serde_json::{Value, json};

use crate::setup::edit::change::{Change, path};
use crate::setup::edit::ownership::is_status_line;

/// The key in the settings.
const KEY: &str = "statusLine";

/// Returns the change that sets our status line, or the remark why it is not set; neither if it is
/// there. `program` is quoted for a shell.
pub fn wanted(settings: &Value, program: &str) -> Result<Option<Change>, String> {
    let ours = json!({ "type": "command", "command": format!("{program} statusline") });
    match settings.get(KEY) {
        Some(found) if *found == ours => Ok(None),
        Some(found) if !found.is_null() && !is_status_line(found) => Err(format!(
            "You have a status line already, and it stays. To have both, let its command also print the \
             output of: {program} statusline"
        )),
        _ => Ok(Some(Change::Set { path: path(&[KEY]), value: ours })),
    }
}

/// Returns what a person without a status line may want to know.
pub fn offer(settings: &Value) -> Option<String> {
    settings.get(KEY).is_none_or(Value::is_null).then(|| {
        "A status line with the session's name, the peers near it and its unread messages: \
         claude-peers setup claude --statusline"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_set_where_there_is_none_and_no_other_is_replaced() {
        let program = "\"/usr/bin/claude-peers\"";
        let ours = json!({ "type": "command", "command": "\"/usr/bin/claude-peers\" statusline" });
        for settings in [
            json!({}),
            json!({ "statusLine": null }),
            json!({ "statusLine": { "type": "command", "command": "/old/claude-peers statusline" } }),
        ] {
            let change = wanted(&settings, program).unwrap().unwrap();
            let mut value = settings.clone();
            change.apply(&mut value).unwrap();
            assert_eq!(value["statusLine"], ours);
            assert_eq!(wanted(&value, program), Ok(None));
        }
        let theirs = json!({ "statusLine": { "type": "command", "command": "~/line.sh" } });
        assert!(wanted(&theirs, program).unwrap_err().contains("statusline"));
        assert!(offer(&theirs).is_none() && offer(&json!({})).is_some());
    }
}
