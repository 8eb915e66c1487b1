//! Logging to the journal, with structured fields and the id of the log catalogue's entry.
//!
//! A field `peer` of an event becomes `CLAUDE_PEERS_PEER`, and so on. `MESSAGE_ID` makes
//! `journalctl -x` print the text that `systemd/claude-peers.catalog` has under that id.

use std::fmt::Debug;
use std::io;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::logging::role::Role;

const PREFIX: &str = "CLAUDE_PEERS";

/// The log events that the catalogue explains. Their ids must never change, because old logs have them.
const CATALOGUE: &[(&str, &str)] = &[
    ("started", "26d3f7ff564e47dbbd3dc12d16630e74"),
    ("takeover", "ec6a4ff578814d73a19228c0ea927486"),
    ("database_damaged", "6a6ae0690c51443ab7d3b946bbd02a68"),
    ("database_replaced", "373638dfdca74367a534b2e3c2d744e9"),
    ("limit_reached", "a8836e0e368c4c689c8375f60e50b6d6"),
    ("upgraded", "c37e1a3041a047eb9e75f7fd024b700a"),
    ("port_in_use", "fac8502b406a4a8bac734d627f66f274"),
    ("database_taken_over", "bac5abd48e854608b96d62d951c3d249"),
    ("storage", "c8c8a686da754319bac3a103710d387a"),
    ("reloaded", "692eb26b372742b282a0a3c5bf40f0ed"),
    ("reload_failed", "692eb26b372742b282a0a3c5bf40f0ed"),
    ("restart_needed", "692eb26b372742b282a0a3c5bf40f0ed"),
    ("idle_exit", "aa00319d86944ce7b975861702f890ca"),
    ("clock_jump", "5fa76cf280f14637ada4427bc2319044"),
];

pub struct Journal {
    role: Role,
    layer: tracing_journald::Layer,
}

impl Journal {
    /// # Errors
    ///
    /// If the journal does not listen.
    pub fn connect(role: Role) -> io::Result<Self> {
        Ok(Self { role, layer: layer(role)? })
    }
}

fn layer(role: Role) -> io::Result<tracing_journald::Layer> {
    Ok(tracing_journald::layer()?
        .with_field_prefix(Some(PREFIX.to_owned()))
        .with_syslog_identifier(role.identifier().to_owned()))
}

impl<S> Layer<S> for Journal
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.layer.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut extra = Extra::default();
        event.record(&mut extra);
        if extra.fields.is_empty() {
            return self.layer.on_event(event, context);
        }
        // Such events are rare, so a socket for each is cheap enough.
        match layer(self.role) {
            Ok(layer) => layer.with_custom_fields(extra.fields).on_event(event, context),
            Err(_) => self.layer.on_event(event, context),
        }
    }
}

/// The fields of an event for which the journal has names of its own.
#[derive(Default)]
struct Extra {
    fields: Vec<(&'static str, String)>,
}

impl Visit for Extra {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event"
            && let Some((_, number)) = CATALOGUE.iter().find(|(event, _)| *event == value)
        {
            self.fields.push(("MESSAGE_ID", (*number).to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // `message` is the text of the event itself.
        if field.name() == "mail" {
            self.fields.push(("CLAUDE_PEERS_MESSAGE", format!("{value:?}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_explains_each_number_and_no_other() {
        let text = include_str!("../../systemd/claude-peers.catalog");
        let entries: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        let numbers: BTreeSet<&str> = CATALOGUE.iter().map(|(_, number)| *number).collect();
        for number in &numbers {
            assert!(entries.contains(number), "{number} has no entry");
        }
        assert_eq!(entries.len(), numbers.len());
        for entry in text.split("\n-- ").skip(1) {
            assert!(
                entry.contains("\nSubject: ") && entry.contains("\nDefined-By: claude-peers\n")
            );
        }
    }
}
