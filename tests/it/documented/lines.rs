//! Documentation: the lines that are not run in a sandbox to a successful end, and what is done with them.

/// How a line is run.
pub enum How {
    /// In the sandbox, with exit code 0: all lines with our commands that are not listed.
    Succeeds,
    /// In the sandbox, until it has printed something; it does not end by itself.
    Follows,
    /// In the sandbox, in a terminal where this is typed.
    Keys(&'static str),
    /// By this script, which has the line, or runs the same by these words.
    By(&'static str, &'static str),
}

use How::{By, Follows, Keys};

const CI: &str = ".ci/run";
const CLAUDE_CODE: &str = "tests/system/claude-code/scenarios/documented.py";
const COMPILED: &str = "tests/system/documented/run";
const EXAMPLES: &str = "tests/it/api/examples.rs";
const SYSTEMD: &str = "tests/system/systemd/scenarios/documented.py";

pub const LINES: &[(&str, How)] = &[
    // What compiles.
    ("cargo run --release -- demo", By(COMPILED, "cargo run --release -- demo")),
    ("cargo install --locked --path .", By(COMPILED, "cargo install --locked --path .")),
    ("cargo test", By(CI, "cargo test --locked")),
    ("cargo build --locked --profile dist", By("debian/rules", "build --profile dist ")),
    (
        "target/dist/claude-peers demo",
        By("packaging/aur/PKGBUILD", "target/dist/claude-peers demo"),
    ),
    (
        "cargo build                                  # target/debug/claude-peers",
        By(CI, "cargo test --locked"),
    ),
    (
        "cargo run -- demo                            # two sessions and a broker in a temporary directory",
        By(COMPILED, "cargo run --release -- demo"),
    ),
    (
        "cargo build --profile dist                   # as the packages ship it",
        By("debian/rules", "build --profile dist "),
    ),
    (
        ".ci/run format lints documentation tests",
        By(".github/workflows/ci.yml", ".ci/run format lints documentation"),
    ),
    // Tests. That these names mean some is checked by itself.
    (
        "cargo test --lib mailbox::                                   # the unit tests of one module",
        By(CI, "cargo test --locked"),
    ),
    (
        "cargo test --test it talk::                                  # one file of tests/it",
        By(CI, "cargo test --locked"),
    ),
    (
        "cargo test --test it talk::a_message_sent -- --nocapture     # one test, with its output",
        By(CI, "cargo test --locked"),
    ),
    // Removal: in a home of its own.
    ("claude-peers setup --undo", Keys("y\n")),
    ("claude-peers service uninstall", By(COMPILED, "claude-peers service uninstall")),
    (
        "rm -rf ~/.claude-peers* ~/.local/state/claude-peers ~/.config/claude-peers",
        By(COMPILED, "rm -rf ~/.claude-peers* ~/.local/state/claude-peers ~/.config/claude-peers"),
    ),
    // They ask.
    ("claude-peers setup", Keys("y\n")),
    ("claude-peers setup claude", Keys("y\n")),
    ("claude-peers setup claude --undo", Keys("y\n")),
    // For a person, not for a pipe.
    ("claude-peers", Keys("")),
    // The real Claude Code.
    (
        "claude mcp add --scope user --transport stdio claude-peers -- claude-peers mcp",
        By(
            CLAUDE_CODE,
            "claude mcp add --scope user --transport stdio claude-peers -- claude-peers mcp",
        ),
    ),
    ("claude plugin marketplace add ./", By(CLAUDE_CODE, "claude plugin marketplace add ./")),
    (
        "claude plugin install peers@claude-peers",
        By(CLAUDE_CODE, "claude plugin install peers@claude-peers"),
    ),
    (
        "claude --dangerously-load-development-channels server:claude-peers",
        By(CLAUDE_CODE, "claude --dangerously-load-development-channels server:claude-peers"),
    ),
    (
        "claude --dangerously-load-development-channels plugin:peers@claude-peers",
        By(CLAUDE_CODE, "claude --dangerously-load-development-channels plugin:peers@claude-peers"),
    ),
    // systemd.
    ("claude-peers service status", By(SYSTEMD, "claude-peers service status")),
    ("claude-peers service logs -n 50", By(SYSTEMD, "claude-peers service logs -n 50")),
    ("claude-peers service logs -n 200", By(SYSTEMD, "claude-peers service logs -n 200")),
    ("claude-peers service logs --follow", By(SYSTEMD, "claude-peers service logs --follow")),
    (
        "claude-peers service logs --since '1 hour ago'",
        By(SYSTEMD, "claude-peers service logs --since '1 hour ago'"),
    ),
    (
        "claude-peers service logs -- --output=json --priority=warning",
        By(SYSTEMD, "claude-peers service logs -- --output=json --priority=warning"),
    ),
    (
        "systemctl --user status claude-peers       # its state, and the number of peers and unread messages",
        By(SYSTEMD, "systemctl --user status claude-peers"),
    ),
    (
        "journalctl --user -u claude-peers -x       # its log; with the package installed, -x adds explanations",
        By(SYSTEMD, "journalctl --user -u claude-peers -x"),
    ),
    (
        "systemctl --user reload claude-peers       # reads the configuration again",
        By(SYSTEMD, "systemctl --user reload claude-peers"),
    ),
    (
        "systemctl --user mask claude-peers-tcp.socket",
        By(SYSTEMD, "systemctl --user mask claude-peers-tcp.socket"),
    ),
    (
        "systemctl --user status claude-peers.service",
        By(SYSTEMD, "systemctl --user status claude-peers.service"),
    ),
    (
        "systemctl --user reload claude-peers.service",
        By(SYSTEMD, "systemctl --user reload claude-peers.service"),
    ),
    (
        "journalctl --user -u claude-peers.service",
        By(SYSTEMD, "journalctl --user -u claude-peers.service"),
    ),
    (
        "systemctl --user mask claude-peers.socket claude-peers-tcp.socket",
        By(SYSTEMD, "systemctl --user mask claude-peers.socket claude-peers-tcp.socket"),
    ),
    (
        "systemctl --user mask --now claude-peers.socket claude-peers-tcp.socket claude-peers.service",
        By(
            SYSTEMD,
            "systemctl --user mask --now claude-peers.socket claude-peers-tcp.socket claude-peers.service",
        ),
    ),
    // A container: bubblewrap in the place of Docker, with the same two parts, the socket's directory and
    // the variable.
    (
        "docker run --user \"$(id -u)\" -v \"$XDG_RUNTIME_DIR/claude-peers:/run/claude-peers\" \\\n    -e CLAUDE_PEERS_SOCKET=/run/claude-peers/broker.sock …",
        By("tests/system/container/box.py", "CLAUDE_PEERS_SOCKET"),
    ),
    // They go on.
    ("claude-peers watch", Follows),
    ("claude-peers watch --notify", Follows),
    ("claude-peers watch --json | jq -r 'select(.type == \"message\") | .message.text'", Follows),
    (
        "curl --noproxy '*' -N -H \"Authorization: Bearer $(claude-peers token)\" \\\n    'http://127.0.0.1:7899/v1/events?recent=20'",
        Follows,
    ),
    // docs/api.md, whose blocks run as a whole.
    ("socket=$(claude-peers status --json | jq -r .socket)", By(EXAMPLES, "blocks(\"sh\")")),
    ("curl --unix-socket \"$socket\" http://localhost/v1/peers", By(EXAMPLES, "blocks(\"sh\")")),
];

/// Command lines of other programs in running text, and what runs them.
pub const IN_TEXT: &[(&str, &str, &str)] = &[
    ("CI=true .ci/run --full", ".github/workflows/ci.yml", ".ci/run"),
    (".ci/run --full", ".github/workflows/ci.yml", ".ci/run"),
    ("CLAUDE_PEERS_NAME=api claude", CLAUDE_CODE, "CLAUDE_PEERS_NAME=api claude"),
    ("UPDATE_DOCS=1 cargo test --test it documented::reference", "justfile", "UPDATE_DOCS=1 "),
    ("UPDATE_MAN_PAGES=1 cargo test --test it manual", "justfile", "UPDATE_MAN_PAGES=1 "),
    ("UPDATE_OPENAPI=1 cargo test --lib openapi", "justfile", "UPDATE_OPENAPI=1 "),
    ("brew uninstall claude-peers", "tests/system/macos/native", "brew uninstall claude-peers"),
    ("cargo bench --bench messages", CI, "cargo bench --profile release --locked --bench messages"),
    (
        "cargo clippy --locked --all-targets -- -D warnings",
        CI,
        "cargo clippy --locked --all-targets -- -D warnings",
    ),
    (
        "cargo test --features failpoints --test failpoints",
        CI,
        "cargo test --locked --features failpoints --test failpoints",
    ),
    ("cargo test --lib", CI, "cargo test --locked"),
    (
        "cargo test --test faults -- --minutes 30",
        CI,
        "cargo test --locked --test faults -- --minutes",
    ),
    ("cargo test --test it", CI, "cargo test --locked"),
    (
        "cargo test --test mutations -- --sample 10%",
        CI,
        "cargo test --locked --test mutations -- --sample 10%",
    ),
    ("cargo uninstall claude-peers", COMPILED, "cargo uninstall claude-peers"),
    (
        "claude plugin install peers --marketplace ./",
        CLAUDE_CODE,
        "claude plugin install peers --marketplace ./",
    ),
    (
        "claude plugin uninstall peers@claude-peers",
        CLAUDE_CODE,
        "claude plugin uninstall peers@claude-peers",
    ),
    ("just check", "justfile", "check:"),
    (
        "packaging/deb/build --install-build-deps",
        "tests/system/debian/clean",
        "packaging/deb/build --install-build-deps",
    ),
    (
        "packaging/release/check vVERSION",
        ".github/workflows/release.yml",
        "packaging/release/check",
    ),
    (
        "sudo apt install ./target/deb/claude-peers_*.deb",
        "tests/system/systemd/lab/machine.py",
        "apt(\"install\"",
    ),
    (
        "sudo apt remove claude-peers",
        "tests/system/systemd/scenarios/removal.py",
        "apt, \"remove\", \"claude-peers\"",
    ),
    ("systemctl --user reload claude-peers", SYSTEMD, "systemctl --user reload claude-peers"),
    (
        "systemctl --user try-restart claude-peers.service",
        SYSTEMD,
        "systemctl --user try-restart claude-peers.service",
    ),
    // From a source tree, where a broker of its own would be started.
    ("CLAUDE_PEERS_PORT=7999 cargo run -- peers", COMPILED, "cargo run --release -- demo"),
];

/// Names of programs and options in a sentence, which nobody is told to run.
pub const MENTIONS: &[&str] = &[
    "apt install",
    "cargo check",
    "cargo fmt",
    "claude --name",
    "claude -p",
    "claude mcp",
    "claude mcp add --scope user",
    "docker run --user",
    "journalctl -x",
    "systemctl --global enable",
];
