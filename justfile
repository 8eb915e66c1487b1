# Short names for the scripts and commands that CI runs, too: `just` lists them.

_list:
    @just --list --unsorted

# Formats, lints and checks the documentation
check:
    .ci/run format lints documentation

# Runs the unit tests and those of the whole program, or some of them: just test talk::
test *names:
    cargo test --locked {{ if names == "" { "" } else { "--test it " + names } }}

# Shows two sessions that talk, in a temporary directory
demo:
    cargo run --release --locked -- demo

# Runs one system test: just system claude-code
system name:
    cargo build --release --locked
    tests/system/{{ name }}/run target/release/claude-peers

# Measures what a message costs
bench *options:
    cargo bench --bench messages -- {{ options }}

# Compiles with the oldest Rust that is supported
msrv:
    .ci/msrv

# Runs everything that must pass before a change lands, or some of its steps: just ci tests fuzzing
ci *steps:
    .ci/run {{ steps }}

# Writes what is made from the program anew: man pages, the references in docs/
generate:
    UPDATE_OPENAPI=1 cargo test --locked --lib openapi
    UPDATE_MAN_PAGES=1 cargo test --locked --test it manual
    UPDATE_DOCS=1 cargo test --locked --test it documented::reference

# Builds the Debian package
deb *options:
    packaging/deb/build {{ options }}

# Makes what a release consists of, in target/release-files
release *options:
    packaging/release/build {{ options }}
