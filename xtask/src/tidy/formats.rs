//! A drawn format carries the version of its code; a numbered clause is cited, and a cited clause exists.

use super::{Fault, Files, fault};
use std::collections::BTreeSet;

/// Drawing, the source below which its version stands, and the constant that holds the version.
const DRAWINGS: &[(&str, &str, &str)] = &[
    ("storage/shm/LAYOUT.md", "storage/shm/src/", "LAYOUT_VERSION"),
    ("storage/wal/FORMAT.md", "storage/wal/src/", "FORMAT_VERSION"),
    ("net/quic/WIRE.md", "net/quic/src/", "WIRE_VERSION"),
    ("engine/record/FORMAT.md", "engine/record/src/", "FORMAT_VERSION"),
];

/// The page of numbered clauses, and where they are cited.
const CLAUSES: (&str, &str) = ("engine/consensus/PROTOCOL.md", "engine/");

pub(super) fn check(files: &Files, faults: &mut Vec<Fault>) {
    for (page, folder, constant) in DRAWINGS {
        check_drawing(files, page, folder, constant, faults);
    }
    check_clauses(files, faults);
}

fn check_drawing(files: &Files, page: &str, folder: &str, constant: &str, faults: &mut Vec<Fault>) {
    let found = files
        .iter()
        .filter(|(path, _)| path.starts_with(folder) && path.ends_with(".rs"))
        .find_map(|(path, text)| version_in(text, constant).map(|version| (path, version)));
    let Some((source, version)) = found else {
        if files.text(page).is_some() {
            faults.push(fault(page, 1, format!("no source below {folder} holds `const {constant}`")));
        }
        return;
    };
    let wanted = format!("version {version}");
    match files.text(page) {
        None => {
            faults.push(fault(source, 1, format!("{constant} {version} is drawn nowhere: {page} is missing")))
        }
        Some(text) if !text.lines().take(12).any(|line| line.to_lowercase().contains(&wanted)) => {
            faults.push(fault(
                page,
                1,
                format!("says nothing of `{wanted}` in its first lines; {source} is at {version}"),
            ));
        }
        Some(_) => {}
    }
}

/// The number in `const NAME: u32 = 3;`.
fn version_in(text: &str, constant: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains("const ") && line.contains(&format!("{constant}:")))?;
    line.split('=').nth(1)?.trim().trim_end_matches(';').parse().ok()
}

fn check_clauses(files: &Files, faults: &mut Vec<Fault>) {
    let (page, folder) = CLAUSES;
    let Some(text) = files.text(page) else { return };
    let written: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with("**[P-"))
        .filter_map(|line| clauses(line).next())
        .collect();
    let mut cited = BTreeSet::new();
    for (path, source) in files.iter().filter(|(path, _)| path.starts_with(folder) && path.ends_with(".rs")) {
        for (index, line) in source.lines().enumerate() {
            for clause in clauses(line) {
                cited.insert(clause);
                if !written.contains(clause) {
                    faults.push(fault(
                        path,
                        index + 1,
                        format!("[P-{clause}] is cited, but {page} has no such clause"),
                    ));
                }
            }
        }
    }
    for clause in written.difference(&cited) {
        faults.push(fault(page, 1, format!("[P-{clause}] is cited by no code and no test")));
    }
}

/// Every `P-12` that stands in brackets on this line.
fn clauses(line: &str) -> impl Iterator<Item = &str> {
    line.split("[P-").skip(1).filter_map(|rest| {
        let digits = rest.find(']')?;
        rest[..digits].chars().all(|letter| letter.is_ascii_digit()).then_some(&rest[..digits])
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
    fn a_drawing_of_another_version_is_found() {
        let source = ("storage/wal/src/frame.rs", "pub const FORMAT_VERSION: u32 = 2;\n");
        assert_eq!(faults_of(&[("storage/wal/FORMAT.md", "# Log\nVersion 1\n"), source]).len(), 1);
        assert_eq!(
            faults_of(&[("storage/wal/FORMAT.md", "# Log\nVersion 2\n"), source]),
            Vec::<String>::new()
        );
        assert_eq!(faults_of(&[source]).len(), 1);
    }

    #[test]
    fn a_cited_clause_exists_and_a_written_one_is_cited() {
        let page = ("engine/consensus/PROTOCOL.md", "**[P-1]** One.\n**[P-2]** Two, as [P-1].\n");
        let code = ("engine/consensus/src/lib.rs", "// [P-1]\n// [P-3]\n");
        let faults = faults_of(&[page, code]);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
