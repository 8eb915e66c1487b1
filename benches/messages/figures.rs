//! Figures and how they are printed: an aligned table as they come, or JSON at the end.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// The figures so far.
pub struct Figures {
    json: bool,
    found: Vec<Value>,
    /// The heading and the columns of the last line.
    above: Option<(String, Vec<String>)>,
}

impl Figures {
    pub fn new(json: bool) -> Self {
        Self { json, found: Vec::new(), above: None }
    }

    /// Adds the quantiles of durations, in milliseconds.
    pub fn quantiles(&mut self, heading: &str, what: &str, mut durations: Vec<Duration>) {
        durations.sort_unstable();
        let at = |share: f64| {
            #[allow(clippy::cast_precision_loss)]
            let rank = (durations.len() as f64 * share).ceil();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let index = (rank as usize).clamp(1, durations.len()) - 1;
            durations[index].as_secs_f64() * 1e3
        };
        let values = [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
        self.line(heading, what, "ms", &values.map(|(name, share)| (name, at(share))));
    }

    /// Adds one line of figures under a heading.
    pub fn line(&mut self, heading: &str, what: &str, unit: &str, values: &[(&str, f64)]) {
        let mut found = Map::new();
        found.insert("heading".to_owned(), heading.into());
        found.insert("what".to_owned(), what.into());
        found.insert("unit".to_owned(), unit.into());
        for (name, value) in values {
            found.insert((*name).to_owned(), json!(value));
        }
        self.found.push(found.into());
        if self.json {
            return;
        }
        let columns: Vec<String> = values.iter().map(|(name, _)| (*name).to_owned()).collect();
        let above = (heading.to_owned(), columns);
        if self.above.as_ref() != Some(&above) {
            let gap = if self.above.is_some() { "\n" } else { "" };
            let columns: String = above.1.iter().map(|name| format!("{name:>10}")).collect();
            println!("{gap}{heading:<60}{columns}");
            self.above = Some(above);
        }
        let values: String =
            values.iter().map(|(_, value)| format!("{:>10}", short(*value))).collect();
        println!("{}", format!("  {what:<58}{values}  {unit}").trim_end());
    }

    pub fn finish(self) {
        if self.json {
            let version = claude_peers::VERSION;
            println!("{:#}", json!({ "version": version, "figures": self.found }));
        }
    }
}

/// Formats a number with three significant digits.
fn short(value: f64) -> String {
    match value {
        _ if value.fract() == 0.0 || value >= 1_000.0 => format!("{value:.0}"),
        _ if value >= 100.0 => format!("{value:.1}"),
        _ if value >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
