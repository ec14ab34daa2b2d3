//! The structure that the design promises: imports flow down, and the mock stays independent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module may import, beside itself. A module that is not listed may be imported
/// by nobody but the crate root.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("clock", &["types"]),
    ("exchange", &["types"]),
    ("report", &["types"]),
    ("market", &["types"]),
    ("config", &["types", "exchange", "report", "state"]),
    ("net", &["exchange"]),
    ("scope", &["report"]),
    ("state", &["types", "market"]),
    ("environment", &["clock", "net"]),
    ("rate", &["exchange"]),
    // Profit is counted at the last tick.
    ("positions", &["types", "market"]),
    ("risk", &["types", "config", "positions"]),
    ("program", &[]),
    ("alerts", &["types", "clock", "config", "exchange", "net", "program", "report", "scope"]),
    ("orders", &["types", "clock", "exchange", "positions", "rate", "report", "risk", "state"]),
    (
        "connection",
        &[
            "types",
            "clock",
            "config",
            "exchange",
            "market",
            "net",
            "orders",
            // Compared with what the exchange says.
            "positions",
            "rate",
            "report",
            "scope",
        ],
    ),
    (
        "shutdown",
        &[
            "types",
            "alerts",
            "clock",
            "config",
            "connection",
            "market",
            "orders",
            "positions",
            "program",
            "report",
            "risk",
            "scope",
            "state",
        ],
    ),
    ("observe", &["types", "report", "shutdown"]),
];

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the sources are readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            // Tests may build what they need of any part.
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
}

/// The top-level modules that a file names after `crate::`, outside its tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let named = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    };
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let found: BTreeSet<String> = lines
        .flat_map(|line| line.split("crate::").skip(1).map(named).collect::<Vec<_>>())
        .collect();
    assert!(!found.contains(""), "name one module after `crate::`, so that this test can read it");
    found
}

#[test]
fn imports_flow_down_and_never_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in &files {
        let below = file.strip_prefix(&root).expect("a file below src");
        let first = below.components().next().expect("a name").as_os_str();
        let module = Path::new(first).file_stem().and_then(|s| s.to_str()).expect("a module");
        let Some(may) = allowed.get(module) else { continue };
        seen.insert(module.to_owned());
        let text = fs::read_to_string(file).expect("a readable file");
        for import in imports(&text) {
            if import != module && !may.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", below.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(seen.len() >= ALLOWED.len() - 1, "modules are gone: only {seen:?} were found");
}

#[test]
fn the_mock_exchange_knows_nothing_of_the_gateway() {
    let mock = Path::new(env!("CARGO_MANIFEST_DIR")).join("mock-exchange");
    let manifest = fs::read_to_string(mock.join("Cargo.toml")).expect("the mock's manifest");
    assert!(!manifest.contains("exchange-gateway"), "the mock depends on the gateway");
    let mut files = Vec::new();
    rust_files(&mock.join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable file");
        assert!(!text.contains("exchange_gateway"), "{} names the gateway", file.display());
    }
}
