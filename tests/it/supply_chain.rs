//! Supply chain: where the crates come from, and that each licence allowed has its text shipped.
//!
//! `tests/system/supply-chain` runs cargo-deny, which checks the crates' licences by `deny.toml`.

use std::collections::BTreeSet;
use std::path::Path;

/// The one registry, as Cargo.lock names it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn table(path: &str) -> toml::Table {
    text(path).parse().unwrap()
}

#[test]
fn every_crate_comes_from_the_one_registry_and_has_a_checksum() {
    for (lock, own) in [
        ("Cargo.lock", &["claude-peers"][..]),
        ("tests/fuzz/Cargo.lock", &["claude-peers", "claude-peers-fuzz"]),
    ] {
        let lock = table(lock);
        let packages = lock["package"].as_array().unwrap();
        assert!(packages.len() > 100);
        for package in packages {
            let name = package["name"].as_str().unwrap();
            let source = package.get("source").and_then(toml::Value::as_str);
            if own.contains(&name) && source.is_none() {
                continue;
            }
            assert_eq!(source, Some(REGISTRY), "{name}");
            let checksum = package.get("checksum").and_then(toml::Value::as_str);
            assert!(checksum.is_some_and(|checksum| checksum.len() == 64), "{name}: {checksum:?}");
        }
    }
}

/// Both packages are built of the same versions, so that what is fuzzed is what is shipped.
#[test]
fn the_fuzzers_are_built_of_the_versions_that_are_shipped() {
    let versions = |lock: &str| -> BTreeSet<String> {
        let lock = table(lock);
        let packages = lock["package"].as_array().unwrap();
        packages
            .iter()
            .map(|package| format!("{} {}", package["name"], package["version"]))
            .collect()
    };
    let (shipped, fuzzed) = (versions("Cargo.lock"), versions("tests/fuzz/Cargo.lock"));
    let name = |package: &String| package.split(' ').next().unwrap().to_owned();
    let names: BTreeSet<String> = shipped.iter().map(name).collect();
    let others: Vec<&String> = fuzzed
        .iter()
        .filter(|package| names.contains(&name(package)) && !shipped.contains(*package))
        .collect();
    assert!(others.is_empty(), "tests/fuzz/Cargo.lock has other versions: {others:?}");
}

#[test]
fn every_licence_that_is_allowed_is_shipped_with_its_text() {
    let deny = table("deny.toml");
    let shipped = text("packaging/deb/copyright/licences");
    for licence in deny["licenses"]["allow"].as_array().unwrap() {
        // Debian's names for them.
        let name = match licence.as_str().unwrap() {
            "MIT" => "Expat",
            "Apache-2.0 WITH LLVM-exception" => "Apache-2.0 with LLVM exception",
            name => name,
        };
        assert!(
            shipped.lines().any(|line| line == format!("License: {name}")),
            "packaging/deb/copyright/licences lacks {name}"
        );
    }
}
