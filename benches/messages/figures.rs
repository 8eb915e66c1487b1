//! Figures and how they are printed: an aligned table as they come, or JSON at the end.

use std::time::Duration;

use serde_json::{Value, json};

/// One figure, with what the floor took in the same run where there is a floor.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name, which stays the same: "latency.pushed.p50".
    pub name: String,
    pub what: String,
    pub unit: &'static str,
    pub value: f64,
    pub floor: Option<f64>,
}

impl Figure {
    pub fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }
}

/// The figures so far.
pub struct Figures {
    json: bool,
    pub found: Vec<Figure>,
    /// The measure that is under way: its name, and a heading that is still to be printed, with what
    /// its figures stand beside.
    measure: String,
    heading: Option<(String, &'static str)>,
}

impl Figures {
    pub fn new(json: bool) -> Self {
        Self { json, found: Vec::new(), measure: String::new(), heading: None }
    }

    /// Begins the figures of a measure.
    pub fn measure(&mut self, name: &str, heading: &str) {
        self.measure_beside(name, heading, "floor");
    }

    /// Begins the figures of a measure that stand beside something else than the floor.
    pub fn measure_beside(&mut self, name: &str, heading: &str, beside: &'static str) {
        name.clone_into(&mut self.measure);
        self.heading = Some((heading.to_owned(), beside));
    }

    /// Adds the median and the 99th percentile of durations, in milliseconds.
    pub fn durations(&mut self, name: &str, what: &str, found: &[Duration], floor: &[Duration]) {
        let p99 = found.len() >= 100;
        for (quantile, share) in
            [("p50", 0.5), ("p99", 0.99)].into_iter().take(1 + usize::from(p99))
        {
            let floor = (!floor.is_empty()).then(|| at(floor, share));
            let name = format!("{name}.{quantile}");
            self.compared(&name, &format!("{what}, {quantile}"), "ms", at(found, share), floor);
        }
    }

    /// Adds a figure without a floor.
    pub fn value(&mut self, name: &str, what: &str, unit: &'static str, value: f64) {
        self.compared(name, what, unit, value, None);
    }

    /// Adds a figure beside its floor.
    pub fn compared(
        &mut self,
        name: &str,
        what: &str,
        unit: &'static str,
        value: f64,
        floor: Option<f64>,
    ) {
        let name = format!("{}.{name}", self.measure);
        let figure = Figure { name, what: what.to_owned(), unit, value, floor };
        if !self.json {
            if let Some((heading, beside)) = self.heading.take() {
                let gap = if self.found.is_empty() { "" } else { "\n" };
                println!("{gap}{heading:<66}{:>9}{beside:>9}{:>8}", "", "ratio");
            }
            let or_not = |value: Option<f64>| value.map_or_else(String::new, short);
            let (floor, ratio) = (or_not(figure.floor), or_not(figure.ratio()));
            println!(
                "{}",
                format!("  {what:<58}{unit:>6}{:>9}{floor:>9}{ratio:>8}", short(value)).trim_end()
            );
        }
        self.found.push(figure);
    }

    pub fn finish(&self) {
        if self.json {
            let version = claude_peers::VERSION;
            let figures: Vec<Value> = self.found.iter().map(|figure| {
                let Figure { name, what, unit, value, floor } = figure;
                json!({ "name": name, "what": what, "unit": unit, "value": value, "floor": floor, "ratio": figure.ratio() })
            }).collect();
            println!("{:#}", json!({ "version": version, "figures": figures }));
        }
    }
}

/// Returns the quantile of durations, in milliseconds.
pub fn at(durations: &[Duration], share: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() as f64 * share).ceil();
    let index = (rank as usize).clamp(1, sorted.len()) - 1;
    sorted[index].as_secs_f64() * 1e3
}

/// Returns the median.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Formats a number with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
