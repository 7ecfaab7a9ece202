//! What a source file must and must not hold: a header, no dead file, `unsafe` at home beside its proof.

use super::{Fault, Files, fault};

/// Where `unsafe` may stand: shared memory, the files that touch the kernel, and the side of the canonical ABI that is
/// compiled for the sandbox alone.
const UNSAFE_HOMES: &[&str] = &["storage/shm/", "storage/wal/src/device", "arbitrator/sdk/src/guest.rs"];

/// A counting allocator is an `unsafe impl` by its trait; it may stand in the test that proves a claim with it, and in the
/// probe that shows it.
const ALLOCATOR_MARK: &str = "unsafe impl GlobalAlloc for";
const ALLOCATOR_HOME: &str = "tools/latency_probe/src/allocations.rs";

/// How far above an `unsafe` its SAFETY line may begin.
const SAFETY_LINES_MAX: usize = 8;

/// A longer file does more than one thing.
const FILE_LINES_MAX: usize = 700;

/// Marks of unfinished work. Spelled in two halves so that this file does not find itself.
const UNFINISHED: &[&str] =
    &[concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("#[ig", "nore")];

/// Paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];

/// Crates whose name stands in one file, so that they can be replaced there: (words in code, the only file or folder).
const NAMED_ONCE: &[(&str, &str)] =
    &[("glommio::", "engine/node/src/executor.rs"), ("io_uring::", "storage/wal/src/device")];

pub(super) fn check(files: &Files, faults: &mut Vec<Fault>) {
    for (path, text) in files.iter() {
        check_words(path, text, faults);
        if path.ends_with(".rs") {
            check_header(path, text, faults);
            check_length(path, text, faults);
            check_unsafe(path, text, faults);
            check_named_once(path, text, faults);
            check_reached(files, path, faults);
        }
    }
}

fn check_words(path: &str, text: &str, faults: &mut Vec<Fault>) {
    for (index, line) in text.lines().enumerate() {
        for mark in UNFINISHED {
            if line.contains(mark) {
                faults.push(fault(path, index + 1, format!("`{mark}` marks unfinished work: finish it")));
            }
        }
        for machine_path in MACHINE_PATHS {
            if line.contains(machine_path) {
                faults.push(fault(path, index + 1, format!("`{machine_path}` exists on one machine only")));
            }
        }
    }
}

fn check_header(path: &str, text: &str, faults: &mut Vec<Fault>) {
    if !text.lines().any(|line| line.starts_with("//!")) {
        faults.push(fault(path, 1, "a file opens with `//!`: its purpose and its invariant"));
    }
}

fn check_length(path: &str, text: &str, faults: &mut Vec<Fault>) {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(fault(
            path,
            lines,
            format!("{lines} lines (at most {FILE_LINES_MAX}): it does more than one thing"),
        ));
    }
}

fn check_unsafe(path: &str, text: &str, faults: &mut Vec<Fault>) {
    let lines: Vec<&str> = text.lines().collect();
    let at_home = UNSAFE_HOMES.iter().any(|home| path.starts_with(home));
    let counts_allocations = lines.iter().any(|line| line.contains(ALLOCATOR_MARK))
        && (is_test_or_bench(path) || path == ALLOCATOR_HOME);
    for (index, line) in lines.iter().enumerate() {
        if !opens_unsafe(line) {
            continue;
        }
        if !at_home && !counts_allocations {
            faults.push(fault(
                path,
                index + 1,
                "`unsafe` outside its rooms (storage/shm, storage/wal/src/device, arbitrator/sdk/src/guest.rs)",
            ));
        }
        let above = &lines[index.saturating_sub(SAFETY_LINES_MAX)..=index];
        if !above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
            faults.push(fault(
                path,
                index + 1,
                "an `unsafe` without its SAFETY line: name the proof and the pairing fence",
            ));
        }
    }
}

fn is_test_or_bench(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/benches/")
}

/// Whether code on this line opens unsafe ground (comments, strings and lint names do not).
fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"]
        .iter()
        .any(|form| code.find(form).is_some_and(|start| !code[..start].contains('"')))
}

fn check_named_once(path: &str, text: &str, faults: &mut Vec<Fault>) {
    for (name, home) in NAMED_ONCE {
        if path.starts_with(home) || path.starts_with("xtask/") || is_test_or_bench(path) {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(name) {
                faults.push(fault(path, index + 1, format!("`{name}` is named in {home} alone")));
            }
        }
    }
}

/// A module that nobody declares is dead.
fn check_reached(files: &Files, path: &str, faults: &mut Vec<Fault>) {
    let Some((folder, name)) = path.rsplit_once('/') else { return };
    let stem = name.trim_end_matches(".rs");
    if !path.contains("/src/") || (folder.ends_with("/src") && ["lib", "main", "build"].contains(&stem)) {
        return;
    }
    if folder.ends_with("/src/bin") {
        return;
    }
    let (parents, module) = if stem == "mod" { parents_of(folder) } else { (owners_of(folder), stem) };
    let declared = parents.iter().filter_map(|parent| files.text(parent)).any(|text| declares(text, module));
    if !declared {
        faults.push(fault(path, 1, format!("no file declares `mod {module}`: this one is dead")));
    }
}

/// The files that may declare the modules standing in `folder`.
fn owners_of(folder: &str) -> Vec<String> {
    vec![
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
        format!("{folder}/mod.rs"),
        format!("{folder}.rs"),
    ]
}

fn parents_of(folder: &str) -> (Vec<String>, &str) {
    let (above, module) = folder.rsplit_once('/').unwrap_or(("", folder));
    (owners_of(above), module)
}

fn declares(text: &str, module: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.trim().trim_end_matches([';', '{']).split_whitespace();
        words.by_ref().find(|word| !word.starts_with("pub")) == Some("mod") && words.next() == Some(module)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
        let mut faults = Vec::new();
        check(&Files::of(files), &mut faults);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unsafe_outside_its_rooms_is_found() {
        let text = "//! Header.\n// SAFETY: none.\nfn f() { unsafe { g() } }\n";
        assert_eq!(faults_of(&[("engine/node/src/lib.rs", text)]).len(), 1);
        assert_eq!(faults_of(&[("storage/shm/src/lib.rs", text)]), Vec::<String>::new());
    }

    #[test]
    fn unsafe_without_its_safety_line_is_found_even_at_home() {
        let text = "//! Header.\nfn f() { unsafe { g() } }\n";
        assert_eq!(faults_of(&[("storage/shm/src/lib.rs", text)]).len(), 1);
    }

    #[test]
    fn a_counting_allocator_may_stand_in_a_test() {
        let text =
            "//! Header.\n// SAFETY: forwards to the system.\nunsafe impl GlobalAlloc for Counting {}\n";
        assert_eq!(faults_of(&[("engine/shard/tests/no_allocation.rs", text)]), Vec::<String>::new());
        assert_eq!(faults_of(&[("engine/shard/src/lib.rs", text)]).len(), 1);
    }

    #[test]
    fn a_file_that_nobody_declares_is_dead() {
        let files =
            [("engine/x/src/lib.rs", "//! X.\npub(crate) mod a;\n"), ("engine/x/src/a.rs", "//! A.\n")];
        assert_eq!(faults_of(&files), Vec::<String>::new());
        let files = [("engine/x/src/lib.rs", "//! X.\n"), ("engine/x/src/a.rs", "//! A.\n")];
        assert_eq!(faults_of(&files).len(), 1);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(faults_of(&[("engine/x/src/lib.rs", "fn f() {}\n")]).len(), 1);
    }

    #[test]
    fn unfinished_work_is_found() {
        let text = format!("//! X.\nfn f() {{ {}) }}\n", UNFINISHED[0]);
        assert_eq!(faults_of(&[("engine/x/src/lib.rs", &text)]).len(), 1);
    }

    #[test]
    fn an_executor_named_outside_its_file_is_found() {
        let text = "//! X.\nuse glommio::LocalExecutor;\n";
        assert_eq!(faults_of(&[("engine/node/src/lib.rs", text)]).len(), 1);
        let files =
            [("engine/node/src/lib.rs", "//! X.\nmod executor;\n"), ("engine/node/src/executor.rs", text)];
        assert_eq!(faults_of(&files), Vec::<String>::new());
    }
}
