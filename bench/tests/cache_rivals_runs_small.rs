//! `cargo xtask rivals --only cache`, with traces and tables so small that it takes a moment: every row is there, and
//! every subject answered right.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_subject_has_its_rows_and_the_picture_is_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("rivals.svg");
    let mut program = Command::new(env!("CARGO_BIN_EXE_cache_rivals"));
    program.args(["--json", "--quick", "--keys", "500", "--market"]).arg(folder.path());
    let output = program.arg("--svg").arg(&svg).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("exactly one JSON object");
    let rows = report["rows"].as_array().expect("rows");

    let rates: Vec<&Value> = rows.iter().filter(|row| !row["trace"].is_null()).collect();
    let traces: BTreeSet<&str> = rates.iter().filter_map(|row| row["trace"].as_str()).collect();
    for trace in traces {
        let of_trace: Vec<&&Value> = rates.iter().filter(|row| row["trace"] == trace).collect();
        let own = of_trace.iter().find(|row| row["subject"] == "io_oi").expect("our row");
        assert!(own["hit_rate"].as_f64() <= own["bound"].as_f64() && of_trace.len() > 7, "{trace}");
    }

    let has = |bench: &str, subject: &str, threads: u64| {
        let alike = |row: &&Value| {
            row["bench"] == bench
                && row["subject"] == subject
                && row["threads"] == threads
                && row["keys"] == 500
        };
        rows.iter().filter(alike).filter(|row| row["ns"].as_f64().is_some_and(|ns| ns > 0.0)).count()
    };
    for subject in ["io_oi", "quick_cache", "moka", "TinyUFO", "dashmap", "papaya", "foyer"] {
        for bench in ["hit", "serialized hit", "miss", "update"] {
            assert_eq!(has(bench, subject, 1), 1, "{bench} of {subject}");
        }
        assert_eq!(has("update", subject, 2), usize::from(subject != "io_oi"), "one writer is ours");
        let weighs = |row: &&Value| row["subject"] == subject && row["bytes_per_entry"].is_number();
        assert_eq!(report["memory"].as_array().expect("memory").iter().filter(weighs).count(), 1);
    }
    for bench in ["hit", "serialized hit", "miss"].map(|bench| format!("{bench} from another process")) {
        assert_eq!((has(&bench, "io_oi", 1), has(&bench, "io_oi", 2)), (1, 1), "{bench}");
    }
    assert_eq!(has("floor", "dependent load", 1), 1);
    let picture = std::fs::read_to_string(&svg).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
}
