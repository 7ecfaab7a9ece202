//! Doors lead only downwards, and an effect's crate is named in one room.

use super::{Fault, Files, fault};

/// Package, folder, floor. A package may name packages of lower floors only.
const FLOORS: &[(&str, &str, u8)] = &[
    ("io_oi_record", "engine/record", 0),
    ("io_oi_arbitrator_sdk", "arbitrator/sdk", 0),
    ("io_oi_guests", "arbitrator/guests", 1),
    ("io_oi_arbitrator", "arbitrator/host", 2),
    ("io_oi_shm", "storage/shm", 0),
    ("io_oi_consensus", "engine/consensus", 1),
    ("io_oi_cache", "storage/cache", 1),
    ("io_oi_cold", "storage/cold", 1),
    ("io_oi_wal", "storage/wal", 1),
    ("io_oi_client", "net/client", 1),
    ("io_oi_history", "engine/history", 1),
    ("io_oi_quic", "net/quic", 1),
    ("io_oi_resp", "net/resp", 2),
    ("io_oi_shard", "engine/shard", 2),
    ("io_oi_sim", "engine/sim", 3),
    ("io_oi_node", "engine/node", 3),
    ("io_oi", "tools/cli", 4),
    ("io_oi_latency_probe", "tools/latency_probe", 4),
    ("io_oi_bench", "bench", 4),
    ("xtask", "xtask", 4),
];

/// Crates that touch the world, and the packages that may name each: one, but for what the probe and the benches both read and draw.
const HOMES: &[(&str, &str)] = &[
    ("glommio", "io_oi_node"),
    ("core_affinity", "io_oi_node"),
    ("io-uring", "io_oi_wal"),
    ("ed25519-dalek", "io_oi_record"),
    ("quinn-proto", "io_oi_quic"),
    ("quinn-udp", "io_oi_quic"),
    ("rustls", "io_oi_quic"),
    ("ring", "io_oi_quic"),
    ("loom", "io_oi_shm"),
    ("wasmtime", "io_oi_arbitrator"),
    ("wasmparser", "io_oi_arbitrator"),
    ("wasm-encoder", "io_oi_arbitrator"),
    ("dbn", "io_oi_latency_probe"),
    ("dbn", "io_oi_bench"),
    ("plotters", "io_oi_latency_probe"),
    ("plotters", "io_oi_bench"),
    ("criterion", "io_oi_bench"),
];

/// What may stand at the top of the tree.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "REGRESSIONS.md",
    "arbitrator",
    "bench",
    "engine",
    "net",
    "rustfmt.toml",
    "storage",
    "tools",
    "tuning",
    "xtask",
];

/// Names that say nothing: a thing belongs to the room whose thing it is.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "misc", "crates", "docs", "scripts", "manager"];

pub(super) fn check(files: &Files, faults: &mut Vec<Fault>) {
    for (path, text) in files.iter() {
        check_names(path, faults);
        if path.ends_with("Cargo.toml") && path != "Cargo.toml" {
            check_manifest(path, text, faults);
        }
    }
}

fn check_names(path: &str, faults: &mut Vec<Fault>) {
    let top = path.split('/').next().unwrap_or_default();
    if !TOP.contains(&top) {
        faults.push(fault(path, 1, format!("`{top}` does not belong at the top: find the room it serves")));
    }
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or_default();
        if EMPTY_NAMES.contains(&stem) {
            faults.push(fault(path, 1, format!("`{stem}` names nothing: use the noun of the domain")));
        }
    }
    if path.ends_with(".rs") && path.chars().any(|letter| letter.is_ascii_uppercase() || letter == '-') {
        faults.push(fault(path, 1, "source files are named in snake_case"));
    }
}

fn check_manifest(path: &str, text: &str, faults: &mut Vec<Fault>) {
    let Ok(manifest) = text.parse::<toml::Table>() else {
        faults.push(fault(path, 1, "this manifest is not valid TOML"));
        return;
    };
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str)
        .unwrap_or_default();
    let folder = path.trim_end_matches("/Cargo.toml");
    let Some((_, home, floor)) = FLOORS.iter().find(|(package, _, _)| *package == name) else {
        faults.push(fault(
            path,
            1,
            format!("`{name}` has no floor: give it one in xtask/src/tidy/floors.rs"),
        ));
        return;
    };
    if *home != folder {
        faults.push(fault(path, 1, format!("`{name}` belongs in {home}")));
    }
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if inherits.and_then(toml::Value::as_bool) != Some(true) {
        faults.push(fault(path, 1, "every crate inherits the workspace's lints: `[lints] workspace = true`"));
    }
    for dependency in dependencies(&manifest) {
        check_door(path, text, name, *floor, dependency, faults);
    }
}

fn check_door(path: &str, text: &str, name: &str, floor: u8, dependency: &str, faults: &mut Vec<Fault>) {
    let line = line_of(text, dependency);
    let floor_below =
        FLOORS.iter().find(|(package, _, _)| *package == dependency).map(|(_, _, below)| *below);
    if let Some(below) = floor_below
        && below >= floor
    {
        let what = format!(
            "{name} (floor {floor}) may not open a door to {dependency} (floor {below}): doors lead downwards"
        );
        faults.push(fault(path, line, what));
    }
    let homes: Vec<&str> =
        HOMES.iter().filter(|(crate_name, _)| *crate_name == dependency).map(|(_, home)| *home).collect();
    if !homes.is_empty() && !homes.contains(&name) {
        let homes = homes.join(" and ");
        faults.push(fault(
            path,
            line,
            format!("`{dependency}` is at home in {homes} and named nowhere else"),
        ));
    }
}

/// Every dependency of every kind and target.
fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    const KINDS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table));
    tables
        .flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)))
        .filter_map(toml::Value::as_table)
        .flat_map(|named| named.keys().map(String::as_str))
        .collect()
}

fn line_of(text: &str, dependency: &str) -> usize {
    text.lines().position(|line| line.starts_with(dependency)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(path: &str, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        check(&Files::of(&[(path, text)]), &mut faults);
        faults.iter().map(ToString::to_string).collect()
    }

    const HEAD: &str = "[package]\nname = \"io_oi_shard\"\n[lints]\nworkspace = true\n";

    #[test]
    fn a_door_downwards_is_fine() {
        let text = format!("{HEAD}[dependencies]\nio_oi_record.workspace = true\n");
        assert_eq!(faults_of("engine/shard/Cargo.toml", &text), Vec::<String>::new());
    }

    #[test]
    fn a_door_upwards_is_found_with_its_line() {
        let text = format!("{HEAD}[dev-dependencies]\nio_oi_node.workspace = true\n");
        let faults = faults_of("engine/shard/Cargo.toml", &text);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("engine/shard/Cargo.toml:6:"), "{faults:?}");
    }

    #[test]
    fn a_door_to_a_neighbour_on_the_same_floor_is_found() {
        let text =
            HEAD.replace("io_oi_shard", "io_oi_wal") + "[dependencies]\nio_oi_client.workspace = true\n";
        assert_eq!(faults_of("storage/wal/Cargo.toml", &text).len(), 1);
    }

    #[test]
    fn an_effect_outside_its_home_is_found_below_a_target_too() {
        let text = format!("{HEAD}[target.'cfg(unix)'.dependencies]\nio-uring = \"0.7\"\n");
        assert_eq!(faults_of("engine/shard/Cargo.toml", &text).len(), 1);
    }

    #[test]
    fn a_crate_without_the_workspace_lints_is_found() {
        assert_eq!(faults_of("engine/shard/Cargo.toml", "[package]\nname = \"io_oi_shard\"\n").len(), 1);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert_eq!(faults_of("engine/shard/src/utils.rs", "").len(), 1);
        assert_eq!(faults_of("scripts/build.sh", "").len(), 2);
    }
}
