//! The agent's life, with a launchctl that keeps its promises in files. What is tested is what
//! we ask of launchd, in which order, and what we leave behind.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use crate::service::Unavailable;
use crate::service::launchd::*;

/// Knows a graphical session, a background one, and any number of jobs in each; its exit codes are
/// launchctl's own. Orders are written down. A file `refuse` makes the order that it names fail.
const LAUNCHCTL: &str = r#"#!/bin/sh
root=$(dirname "$0")
echo "$@" >>"$root/orders"
if [ "$1" = "$(cat "$root/refuse" 2>/dev/null)" ]; then
    echo "Bootstrap failed: 5: Input/output error" >&2
    exit 5
fi
case $1 in
print)
    case $2 in
    gui/*/*) [ -e "$root/jobs/${2##*/}" ] && exec cat "$root/jobs/${2##*/}" ;;
    user/*/*) [ -e "$root/background/${2##*/}" ] && exec cat "$root/background/${2##*/}" ;;
    gui/*) [ -e "$root/session" ] && exit 0 ;;
    user/*) [ -e "$root/background" ] && exit 0 ;;
    esac
    echo "Could not find service" >&2
    exit 113 ;;
enable) ;;
bootstrap)
    name=$(basename "$3" .plist)
    case $2 in gui/*) jobs=$root/jobs ;; *) jobs=$root/background ;; esac
    [ -e "$3" ] && [ ! -e "$jobs/$name" ] || exit 5
    printf '%s = {\n\tstate = not running\n\tlast exit code = (never exited)\n}\n' \
        "$name" >"$jobs/$name" ;;
bootout)
    case $2 in gui/*) jobs=$root/jobs ;; *) jobs=$root/background ;; esac
    rm "$jobs/${2##*/}" || exit 3 ;;
kickstart)
    case $3 in gui/*) jobs=$root/jobs ;; *) jobs=$root/background ;; esac
    [ -e "$jobs/${3##*/}" ] || exit 113 ;;
*) exit 64 ;;
esac
"#;

struct Mac {
    directory: TempDir,
    config: Config,
}

impl Mac {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("jobs")).unwrap();
        std::fs::write(root.join("session"), "").unwrap();
        std::fs::write(root.join("launchctl"), LAUNCHCTL).unwrap();
        let executable = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(root.join("launchctl"), executable).unwrap();
        let environment = [("HOME", root), ("XDG_STATE_HOME", root)].into_iter().collect();
        let config = Config::from_environment(&environment).unwrap();
        Self { directory, config }
    }

    fn launchd(&self) -> Launchd<'_> {
        let launchctl = Launchctl::new(self.path("launchctl"));
        Launchd::with(&self.config, launchctl)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn property_list(&self) -> PathBuf {
        self.path("Library/LaunchAgents/claude-peers.plist")
    }

    /// The orders since the last time, without the questions.
    fn orders(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("orders")).unwrap_or_default();
        std::fs::write(self.path("orders"), "").unwrap();
        let orders = text.lines().filter(|line| !line.starts_with("print "));
        orders.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

fn changed(steps: &[Step]) -> bool {
    steps.iter().any(|step| step.changed)
}

#[test]
fn install_and_uninstall_can_be_repeated() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    assert_eq!(launchd.status().unwrap().state, State::NotInstalled);
    assert!(changed(&launchd.install().unwrap()));
    assert_eq!(mac.orders(), ["enable", "bootstrap"]);
    assert_eq!(launchd.status().unwrap().state, State::Ready);
    assert!(launchd.status().unwrap().problems.is_empty());
    assert!(mac.config.paths.runtime().is_dir());
    assert!(mac.config.paths.log.parent().unwrap().is_dir());

    assert!(!changed(&launchd.install().unwrap()));
    assert_eq!(mac.orders(), [""; 0]);

    assert!(changed(&launchd.uninstall().unwrap()));
    assert_eq!(mac.orders(), ["bootout"]);
    assert!(!mac.property_list().exists());
    assert!(!changed(&launchd.uninstall().unwrap()));
    assert_eq!(launchd.status().unwrap().state, State::NotInstalled);
}

#[test]
fn an_agent_that_changed_is_loaded_anew() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    launchd.install().unwrap();
    let text = std::fs::read_to_string(mac.property_list()).unwrap();
    std::fs::write(mac.property_list(), text.replace("broker.sock", "old.sock")).unwrap();
    let problems = launchd.status().unwrap().problems;
    assert!(problems[0].contains("the agent listens on a different one"), "{problems:?}");
    mac.orders();
    assert!(changed(&launchd.install().unwrap()));
    assert_eq!(mac.orders(), ["bootout", "enable", "bootstrap"]);
    assert_eq!(std::fs::read_to_string(mac.property_list()).unwrap(), text);
}

#[test]
fn a_failed_install_leaves_nothing_behind() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    std::fs::write(mac.path("refuse"), "bootstrap").unwrap();
    let error = launchd.install().unwrap_err();
    assert!(error.to_string().contains("Input/output error"), "{error}");
    assert!(matches!(error, ServiceError::Undone(_)));
    assert!(!mac.property_list().exists());

    std::fs::remove_file(mac.path("session")).unwrap();
    let error = launchd.install().unwrap_err();
    assert!(error.to_string().contains("neither a graphical nor a background session"), "{error}");
    assert!(!mac.property_list().exists());
}

#[test]
fn a_property_list_of_somebody_else_is_not_touched() {
    let mac = Mac::new();
    std::fs::create_dir_all(mac.property_list().parent().unwrap()).unwrap();
    std::fs::write(mac.property_list(), "theirs").unwrap();
    assert!(mac.launchd().install().is_err());
    let said = mac.launchd().uninstall().unwrap();
    assert!(!changed(&said) && said[0].what.contains("was not written by claude-peers"));
    assert_eq!(std::fs::read_to_string(mac.property_list()).unwrap(), "theirs");
    assert_eq!(mac.orders(), [""; 0]);
}

#[test]
fn on_a_mac_that_nobody_sits_at_the_agent_lives_in_the_background_session() {
    let mac = Mac::new();
    std::fs::remove_file(mac.path("session")).unwrap();
    std::fs::create_dir(mac.path("background")).unwrap();
    let launchd = mac.launchd();
    let user = crate::sys::files::effective_uid();
    let ordered = || {
        let text = std::fs::read_to_string(mac.path("orders")).unwrap();
        std::fs::write(mac.path("orders"), "").unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("print "));
        lines.map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    launchd.install().unwrap();
    let domain = format!("user/{user}");
    let list = mac.property_list();
    assert_eq!(
        ordered(),
        [format!("enable {domain}/claude-peers"), format!("bootstrap {domain} {}", list.display())]
    );
    assert_eq!(launchd.status().unwrap().state, State::Ready);
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains("<string>Background</string>"), "{text}");

    // Its user comes to the screen: the agent is where it was, and is not loaded twice.
    std::fs::write(mac.path("session"), "").unwrap();
    assert_eq!(launchd.status().unwrap().state, State::Ready);
    assert!(!changed(&launchd.start().unwrap()));
    launchd.restart().unwrap();
    launchd.stop().unwrap();
    assert_eq!(
        ordered(),
        [format!("kickstart -k {domain}/claude-peers"), format!("bootout {domain}/claude-peers")]
    );
    launchd.start().unwrap();
    assert!(ordered()[1].starts_with(&format!("bootstrap gui/{user} ")));
}

#[test]
fn start_stop_and_restart_go_by_what_is_loaded() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    let error = launchd.start().unwrap_err();
    assert!(error.hint().contains("service install"), "{error}");
    launchd.install().unwrap();
    mac.orders();
    assert!(!changed(&launchd.start().unwrap()));
    assert!(changed(&launchd.stop().unwrap()));
    assert_eq!(launchd.status().unwrap().state, State::Stopped);
    assert!(!changed(&launchd.stop().unwrap()));
    assert!(changed(&launchd.restart().unwrap()));
    assert!(changed(&launchd.restart().unwrap()));
    assert_eq!(mac.orders(), ["bootout", "enable", "bootstrap", "kickstart"]);
}

#[test]
fn a_client_loads_an_agent_that_is_installed_for_its_settings() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    assert!(matches!(launchd.start_on_demand(), Err(Unavailable::NotInstalled)));
    launchd.install().unwrap();
    launchd.stop().unwrap();
    mac.orders();
    assert!(matches!(launchd.start_on_demand(), Err(Unavailable::Deaf)), "nobody listens here");
    let _listener = UnixListener::bind(&mac.config.paths.socket).unwrap();
    launchd.start_on_demand().unwrap();
    assert_eq!(mac.orders(), ["enable", "bootstrap", "bootout", "enable", "bootstrap"]);

    let text = std::fs::read_to_string(mac.property_list()).unwrap();
    std::fs::write(mac.property_list(), text.replace("broker.sock", "old.sock")).unwrap();
    assert!(matches!(launchd.start_on_demand(), Err(Unavailable::OtherSettings("socket"))));
    std::fs::write(mac.property_list(), text).unwrap();
    std::fs::remove_file(mac.path("session")).unwrap();
    assert!(matches!(launchd.start_on_demand(), Err(Unavailable::NoManager)));
    assert_eq!(mac.orders(), [""; 0]);
}

#[test]
fn an_agent_whose_program_fails_gives_way() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    assert!(launchd.crash_loop().is_none(), "it is not installed");
    launchd.install().unwrap();
    assert!(launchd.crash_loop().is_none(), "it was never started");
    let job = |text: &str| std::fs::write(mac.path("jobs/claude-peers"), text).unwrap();
    job("x = {\n\tstate = running\n\tpid = 7\n\tlast exit code = 1\n}\n");
    assert!(launchd.crash_loop().is_none(), "it runs again");
    job("x = {\n\tstate = spawn scheduled\n\tlast exit code = 1\n}\n");
    assert!(matches!(launchd.crash_loop(), Some(Unavailable::Failed { .. })));
    assert!(launchd.status().unwrap().problems[0].contains("exit code 1"));
    launchd.disable(&Unavailable::Deaf);
    assert_eq!(launchd.status().unwrap().state, State::Stopped);
}

#[test]
fn the_log_is_a_file() {
    let mac = Mac::new();
    let launchd = mac.launchd();
    assert!(launchd.logs(&Logs::default()).is_err(), "there is none yet");
    launchd.install().unwrap();
    std::fs::write(&mac.config.paths.log, "").unwrap();
    let command = launchd.logs(&Logs { lines: Some(5), ..Logs::default() }).unwrap();
    assert_eq!(command.get_program(), "tail");
    assert!(command.get_args().any(|argument| argument == mac.config.paths.log.as_os_str()));
}
