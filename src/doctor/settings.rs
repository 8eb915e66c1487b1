//! The settings: each value and its source, and where the running broker differs.

use std::path::Path;

use crate::config::{ConfigError, EffectiveSetting, Environment, FileError, Mistake, Source};
use crate::doctor::finding::{Finding, Level};
use crate::doctor::permissions::{SETTINGS, check_permissions, rename_command};
use crate::doctor::shell;
use crate::doctor::snapshot::Snapshot;
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Whereabouts};
use crate::mcp::summary;
use crate::protocol::health::{Detail, Setting, Started};
use crate::setup::edit::file::MAX_BYTES;
use crate::sys::files::{read_text, same_place};

const CHECK: &str = "configuration";

/// The check of the findings that list one setting each, for programs to read.
pub const VALUE: &str = "setting";

/// Reports a configuration that cannot be used, or a file that can be used in part only.
pub fn unusable(environment: &Environment, error: &ConfigError) -> Finding {
    let finding = Finding::failure(CHECK, error.to_string()).detail(error.hint());
    match error {
        ConfigError::File(FileError::Invalid { path, mistake }) => {
            finding.fix(correct_command(path, mistake))
        }
        ConfigError::File(FileError::Read { path, .. }) => {
            let known =
                check_permissions(environment, CHECK, "the configuration file", path, SETTINGS);
            let barred = known.filter(|finding| finding.level == Level::Failure);
            finding
                .fix(barred.and_then(|finding| finding.fix).unwrap_or_else(|| rename_command(path)))
        }
        ConfigError::Value { name, .. } => finding.fix(format!("unset {name}")),
        _ => finding,
    }
}

/// Returns a command that corrects one line of the file, keeps all others, and leaves a copy
/// beside it.
fn correct_command(path: &Path, mistake: &Mistake) -> String {
    let line = mistake.line;
    let script = match &mistake.renamed {
        Some((written, meant)) => format!("{line}s/{written}/{meant}/"),
        // The setting is then as if it had never been set.
        None => format!("{line}s/^/# /"),
    };
    format!("sed -i.old {} {}", shell::quoted(&script), shell::path(path))
}

pub fn values(snapshot: &Snapshot) -> Vec<Finding> {
    let finding = |setting: &EffectiveSetting| {
        Finding::ok(VALUE, format!("{} = {} ({})", setting.name(), setting.value, setting.source))
    };
    snapshot.config.effective().iter().map(finding).collect()
}

/// Reports an endpoint of automatic summaries that is never asked.
pub fn summary_endpoint(snapshot: &Snapshot) -> Option<Finding> {
    let problem = summary::endpoint_problem(&snapshot.config)?;
    let finding = Finding::warning(CHECK, format!("no automatic summaries: {problem}"));
    Some(finding.detail("CLAUDE_PEERS_SUMMARY_BASE_URL or OPENAI_BASE_URL names the endpoint; CLAUDE_PEERS_AUTO_SUMMARY=off switches automatic summaries off"))
}

/// Reports where this command and the broker use different values.
pub fn differences(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(other) = &snapshot.other_broker {
        let finding = Finding::failure(
            CHECK,
            format!(
                "the database {} is in use by a broker with other settings ({})",
                snapshot.database.display(),
                other.described()
            ),
        )
        .detail(format!(
            "that broker listens on {}; a database can have only one broker",
            other.socket.display()
        ));
        findings.push(match other.whereabouts() {
            Whereabouts::Here => finding.fix(format!(
                "CLAUDE_PEERS_SOCKET={} claude-peers kill-broker",
                shell::path(&other.socket)
            )),
            _ => finding.detail(ELSEWHERE_HINT),
        });
    }
    let Some(detail) = snapshot.detail() else { return findings };
    if let Some(problem) = &detail.settings_problem {
        findings.push(
            Finding::warning(CHECK, format!("when the broker was told to reload: {problem}"))
                .detail("a restart reads all settings")
                .fix(snapshot.restart()),
        );
    }
    // If the socket is set explicitly, that broker is meant, whatever its database.
    let named = snapshot.config.paths.socket_is_named;
    let effective = snapshot.config.effective();
    let compared: Vec<(&EffectiveSetting, Setting)> = effective
        .iter()
        .filter(|ours| ours.setting.is_of_broker() && !(named && ours.name() == "database"))
        .filter_map(|ours| Some((ours, of_broker(detail, ours.name())?)))
        .collect();
    let differ: Vec<Finding> = compared
        .iter()
        .filter(|(ours, theirs)| differs(snapshot, ours, theirs))
        .map(|(ours, theirs)| difference(snapshot, detail, ours, theirs))
        .collect();
    if differ.is_empty() && findings.is_empty() {
        return vec![Finding::ok(CHECK, "this command and the broker use the same settings")];
    }
    findings.extend(differ);
    findings
}

/// Returns the broker's value of a setting.
///
/// An old broker does not report all values, but has the most important ones in its health.
fn of_broker(detail: &Detail, name: &str) -> Option<Setting> {
    if let Some(found) = detail.settings.iter().find(|setting| setting.name == name) {
        return Some(found.clone());
    }
    let value = match name {
        "database" => detail.database.clone(),
        "idle_exit_seconds" => detail.idle_exit_seconds.to_string(),
        _ => return None,
    };
    Some(Setting { name: name.to_owned(), value, source: "source unknown".to_owned() })
}

/// Whether two values differ.
///
/// One file may have two paths, and a socket that is not set explicitly may be in another runtime
/// directory of this user.
fn differs(snapshot: &Snapshot, ours: &EffectiveSetting, theirs: &Setting) -> bool {
    match ours.name() {
        "database" => !same_place(Path::new(&ours.value), Path::new(&theirs.value)),
        "CLAUDE_PEERS_SOCKET" => {
            snapshot.config.paths.socket_is_named
                && !same_place(Path::new(&ours.value), Path::new(&theirs.value))
        }
        _ => ours.value != theirs.value,
    }
}

fn difference(
    snapshot: &Snapshot,
    detail: &Detail,
    ours: &EffectiveSetting,
    theirs: &Setting,
) -> Finding {
    let text = format!(
        "this command and the broker differ in {}: {} here ({}), {} in the broker ({})",
        ours.name(),
        ours.value,
        ours.source,
        theirs.value,
        theirs.source
    );
    let finding = if ours.name() == "database" {
        Finding::failure(CHECK, text)
            .detail("nothing can be sent from here: this command and the running broker use different databases")
    } else {
        Finding::warning(CHECK, text).detail("the broker's value is used")
    };
    finding.fix(agree(snapshot, detail, ours, theirs))
}

/// Returns the command after which the broker uses the value of this command.
fn agree(
    snapshot: &Snapshot,
    detail: &Detail,
    ours: &EffectiveSetting,
    theirs: &Setting,
) -> String {
    let service = detail.started == Started::Systemd && snapshot.is_service();
    let restart = snapshot.restart();
    let of_environment = theirs.source == Source::Environment.to_string();
    match (ours.source, service) {
        // A broker of the service manager does not see this shell's variables, but it reads the file.
        (Source::Environment, _) if !of_environment && ours.setting.key.is_some() => {
            format!("{} && {restart}", in_file(snapshot, ours))
        }
        (_, true) if of_environment => {
            format!("systemctl --user unset-environment {} && {restart}", ours.setting.variable)
        }
        // A broker that is started from here gets these settings.
        _ => restart.to_owned(),
    }
}

/// Returns a command that sets a value in the configuration file and keeps its other lines.
fn in_file(snapshot: &Snapshot, setting: &EffectiveSetting) -> String {
    let path = &snapshot.config.paths.config_file;
    let text = read_text(path, MAX_BYTES).unwrap_or_default();
    let (table, key) = setting.name().split_once('.').unwrap_or(("", setting.name()));
    // Numbers are written without quotes.
    let value = match setting.value.parse::<u64>() {
        Ok(number) => number.to_string(),
        Err(_) => format!("{:?}", setting.value),
    };
    let line = format!("{key} = {value}");
    let begins = |line: &str, word: &str| {
        line.trim_start().strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let file = shell::path(path);
    let rewritten = |program: &str, script: &str| {
        format!("{program} {} {file} > {file}.new && mv {file}.new {file}", shell::quoted(script))
    };
    // Backslash, slash and ampersand have a meaning in a script of sed.
    let literal = line.replace('\\', r"\\").replace('/', r"\/").replace('&', r"\&");
    if text.lines().any(|line| begins(line, key)) {
        return rewritten("sed", &format!("s/^[[:space:]]*{key}[[:space:]]*=.*/{literal}/"));
    }
    if !table.is_empty() && text.lines().any(|line| line.trim() == format!("[{table}]")) {
        // Not by sed, which cannot insert a line in the same way on every system.
        let text = line.replace('\\', r"\\").replace('"', "\\\"");
        return rewritten(
            "awk",
            &format!("{{ print }} /^[[:space:]]*\\[{table}\\]/ {{ print \"{text}\" }}"),
        );
    }
    let directory = shell::path(path.parent().unwrap_or(path));
    if table.is_empty() && !text.is_empty() {
        // Before any table.
        return format!(
            "{{ echo {}; cat {file}; }} > {file}.new && mv {file}.new {file}",
            shell::quoted(&line)
        );
    }
    let lines = if table.is_empty() { vec![line] } else { vec![format!("[{table}]"), line] };
    let words: Vec<String> = lines.iter().map(|line| shell::quoted(line)).collect();
    format!("mkdir -p {directory} && printf '%s\\n' {} >> {file}", words.join(" "))
}
