//! Judges from the first line to a verdict: templates that build, components that are looked at, tables that are answered.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Answer, ask, io_oi};

/// A component that ships.
fn shipped(name: &str) -> PathBuf {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator/guests/prebuilt");
    room.join(format!("{name}.wasm"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One command in a directory of the test's own.
fn ask_in(dir: &Path, arguments: &[&str]) -> Answer {
    Answer(io_oi().args(arguments).current_dir(dir).output().unwrap())
}

/// Writes a table, asks the component, and answers every line.
fn run_table(component: &str, table: &str, exit_code: i32) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cases.toml"), table).unwrap();
    let component = shipped(component);
    let arguments =
        ["arbitrator", "test", text(&component), "--vectors", "cases.toml", "--runs", "2", "--json"];
    let answer = ask_in(dir.path(), &arguments).expect(exit_code);
    answer.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes a judge of this language, builds it, and asks it its own cases; says so when there is no compiler.
fn template_works(lang: &str) {
    let dir = tempfile::tempdir().unwrap();
    ask_in(dir.path(), &["arbitrator", "new", "count", "--lang", lang]).expect(0);
    let built = ask_in(dir.path(), &["arbitrator", "build", "count", "--json"]);
    if built.exit_code() == 1 && built.err().contains("compiler here can aim at") {
        println!("SKIPPED: a judge in {lang} is not built here: {}", built.err());
        return;
    }
    let built = built.expect(0).json();
    assert_eq!(built["sealed"]["admitted"], true, "{built}");
    assert_eq!(built["manifest"]["name"], "count");
    assert!(built["bytes"].as_u64().unwrap() < 8_192, "{built}");
    for tier in ["sealed", "general"] {
        let arguments = [
            "arbitrator",
            "test",
            "count/count.wasm",
            "--vectors",
            "count/cases.toml",
            "--tier",
            tier,
            "--json",
        ];
        let out = ask_in(dir.path(), &arguments).expect(0).out();
        let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert_eq!((&last["cases"], &last["failed"]), (&7.into(), &0.into()), "{tier}: {out}");
    }
}

#[test]
fn a_judge_in_rust_is_built_admitted_and_answers_its_cases() {
    template_works("rust");
}

#[test]
fn a_judge_in_c_is_built_admitted_and_answers_its_cases() {
    template_works("c");
}

#[test]
fn a_judge_in_zig_made_of_the_wit_alone_is_sealed_and_decides() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator/guests");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("tick-size.wasm");
    let mut zig = std::process::Command::new("python3");
    zig.args(["-m", "ziglang", "build-exe"]).arg(room.join("zig/tick_size.zig")).current_dir(dir.path());
    zig.args(["-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-fstrip", "-rdynamic"]);
    zig.args(["--export=__heap_base", "--stack", "4096"]).arg(format!("-femit-bin={}", text(&out)));
    let there = std::process::Command::new("python3").args(["-m", "ziglang", "version"]).output();
    if !there.is_ok_and(|there| there.status.success()) {
        println!("SKIPPED: no Zig here: pip install ziglang");
        return;
    }
    let made = zig.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (component, cases) = (text(&out), room.join("tick_size.toml"));
    let out = ask(&["arbitrator", "test", component, "--vectors", text(&cases), "--json"]).expect(0).out();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["cases"], &last["failed"]), (&4.into(), &0.into()), "{out}");
}

/// Eighteen megabytes compile for minutes where the compiler of guests is not optimised itself.
#[test]
fn a_judge_in_python_made_of_the_wit_alone_decides_when_its_size_is_allowed() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator");
    // The compiler leaves files beside the source.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(room.join("guests/python/tick_size.py"), dir.path().join("tick_size.py")).unwrap();
    let out = dir.path().join("tick-size.wasm");
    let mut tool = std::process::Command::new("componentize-py");
    tool.arg("-d").arg(room.join("wit/arbitrator.wit")).args([
        "-w",
        "arbitrator",
        "componentize",
        "--stub-wasi",
    ]);
    tool.arg("-p").arg(dir.path()).arg("-o").arg(&out).arg("tick_size");
    let made = match tool.output() {
        Ok(made) => made,
        Err(error) => {
            println!("SKIPPED: no componentize-py here ({error}): pip install componentize-py");
            return;
        }
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (component, cases) = (text(&out), room.join("guests/tick_size.toml"));
    let test = ["arbitrator", "test", component, "--vectors", text(&cases), "--tier", "general", "--json"];
    let refused = ask(&test).expect(4);
    assert!(refused.err().contains("component-bytes-max"), "{}", refused.err());
    let allowed = [&test[..], &["--component-bytes-max", "20000000", "--runs", "2"]].concat();
    let out = ask(&allowed).expect(0).out();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["cases"], &last["failed"]), (&4.into(), &0.into()), "{out}");
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("count")).unwrap();
    std::fs::write(dir.path().join("count/mine"), "x").unwrap();
    let answer = ask_in(dir.path(), &["arbitrator", "new", "count"]).expect(1);
    assert!(answer.err().contains("--dir"), "{}", answer.err());
    assert_eq!(std::fs::read_dir(dir.path().join("count")).unwrap().count(), 1);
    for name in ["", "a/b", "..", "tick size", "9lives"] {
        ask_in(dir.path(), &["arbitrator", "new", name, "--dir", "new"]).expect(2);
    }
    ask_in(dir.path(), &["arbitrator", "new", "9lives", "--lang", "c", "--dir", "new"]).expect(0);
}

#[test]
fn a_directory_without_a_judge_is_not_built() {
    let dir = tempfile::tempdir().unwrap();
    let answer = ask_in(dir.path(), &["arbitrator", "build"]).expect(1);
    assert!(answer.err().contains("arbitrator new"), "{}", answer.err());
}

#[test]
fn a_component_is_shown_with_what_both_tiers_say() {
    let said = ask(&["arbitrator", "show", text(&shipped("risk-limit")), "--json"]).expect(0).json();
    assert_eq!((&said["sealed"]["admitted"], &said["general"]["admitted"]), (&true.into(), &true.into()));
    assert_eq!(
        (&said["manifest"]["reads"], &said["world"]),
        (&"cell-of-key-prefix".into(), &"arbitrator".into())
    );
    let hash = said["hash"].as_str().unwrap();
    assert!(io_oi_guests_manifest().contains(hash), "{hash} is not what ships");
    let said = ask(&["arbitrator", "show", text(&shipped("batch-auction")), "--json"]).expect(0).json();
    assert_eq!((&said["sealed"]["admitted"], &said["general"]["admitted"]), (&true.into(), &false.into()));
    ask(&["arbitrator", "show", text(&shipped("no-such-judge"))]).expect(1);
    let answer = ask(&["arbitrator", "show", env!("CARGO_BIN_EXE_io_oi"), "--json"]).expect(4);
    assert!(answer.err().contains("bytes"), "{}", answer.err());
}

fn io_oi_guests_manifest() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../arbitrator/guests/prebuilt/manifest.txt");
    std::fs::read_to_string(path).unwrap()
}

/// A component that ships, made as long as a language runtime by a section that no code reads.
fn grown(bytes: usize) -> tempfile::NamedTempFile {
    let mut component = std::fs::read(shipped("accept-all")).unwrap();
    let mut length = bytes + 2;
    component.push(0);
    while length >= 0x80 {
        component.push(length as u8 | 0x80);
        length >>= 7;
    }
    component.extend([length as u8, 1, b'x']);
    component.resize(component.len() + bytes, 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), component).unwrap();
    file
}

#[test]
fn eighteen_megabytes_are_refused_until_an_operator_allows_them_in_the_general_tier() {
    let file = grown(18 << 20);
    let answer = ask(&["arbitrator", "show", text(file.path()), "--json"]).expect(4);
    let said: Value = serde_json::from_str(&answer.out()).unwrap();
    assert!(said["sealed"]["reason"].as_str().unwrap().contains("at most 262144"), "{said}");
    assert!(said["general"]["reason"].as_str().unwrap().contains("component-bytes-max"), "{said}");
    let allowed = ["arbitrator", "show", text(file.path()), "--component-bytes-max", "20000000", "--json"];
    let said = ask(&allowed).expect(0).json();
    assert_eq!((&said["sealed"]["admitted"], &said["general"]["admitted"]), (&false.into(), &true.into()));
    let beyond = ["arbitrator", "show", text(file.path()), "--component-bytes-max", "40000000"];
    ask(&beyond).expect(2);
}

const VERSIONS: &str = r#"
[[case]]
name = "a new key begins with version 1"
state = [{ key = "k" }]
proposal = { key = "k", value = ["u64:0", "hello"] }
plan = ["k"]
expect = "accept"
effects = [{ key = "k", value = ["u64:1", "hello"] }]

[[case]]
name = "a version that nobody has is refused"
state = [{ key = "k", value = ["u64:4", "now"], sequence = 7 }]
proposal = { key = "k", value = ["u64:3", "hello"] }
expect = "refuse"
"#;

#[test]
fn a_planning_judge_is_asked_for_its_plan_too() {
    let lines = run_table("compare-version", VERSIONS, 0);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["plan"][0]["key"], "k");
    assert!(lines[0]["fuel"].as_u64().unwrap() > 0 && lines[0]["ns_p50"].as_u64().unwrap() > 0);
    assert_eq!((&lines[2]["cases"], &lines[2]["failed"]), (&2.into(), &0.into()));
}

#[test]
fn what_comes_out_otherwise_is_said_case_by_case() {
    let wrong = VERSIONS.replace("expect = \"refuse\"", "expect = \"refuse 999\"").replacen(
        "plan = [\"k\"]",
        "plan = [\"another\"]",
        1,
    );
    let lines = run_table("compare-version", &wrong, 1);
    assert!(lines[0]["wrong"].as_str().unwrap().contains("plans to read k"), "{}", lines[0]);
    assert!(lines[1]["wrong"].as_str().unwrap().contains("refuse 999"), "{}", lines[1]);
    assert_eq!(lines[2]["failed"], 2);
    let slow = VERSIONS.replacen("plan = [\"k\"]", "fuel-max = 1", 1);
    assert!(run_table("compare-version", &slow, 1)[0]["wrong"].as_str().unwrap().contains("fuel"));
    let other = VERSIONS.replace("\"u64:1\", \"hello\"", "\"u64:2\", \"hello\"");
    assert!(run_table("compare-version", &other, 1)[0]["wrong"].as_str().unwrap().contains("effects"));
}

#[test]
fn a_batch_has_one_answer_for_each_proposal() {
    let order = |key: &str, side: u8| {
        format!(
            "[[case.batch]]\nproposal = {{ key = '{key}', value = ['u8:1', 'u8:{side}', 'hex:000000000000', 'u64:5', \
             'u64:100'] }}\nexpect = 'accept'\n"
        )
    };
    let table = format!("[[case]]\nname = 'two that meet'\n{}{}", order("a", 1), order("b", 2));
    let lines = run_table("batch-auction", &table, 0);
    assert_eq!(lines[0]["answers"].as_array().unwrap().len(), 2);
    // A table for another world is a mistake of whoever typed the command.
    assert!(run_table("risk-limit", &table, 2).is_empty());
    assert!(run_table("risk-limit", "case = []", 2).is_empty());
}
