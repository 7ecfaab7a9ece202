//! Formats stay readable for ever: the committed files under `golden/` are exactly what today's program writes, and
//! today's program reads each of them.
//!
//! A difference means that signed or stored bytes changed. That is a new format version with golden files of its own
//! beside the old ones, never an edit of the old ones. Only while a noun has never been released:
//! `IO_OI_GOLDEN=write cargo test -p io_oi_record golden` writes the files anew; review the difference by eye.

use std::fmt::Write as _;
use std::path::PathBuf;

use io_oi_record::hash::Domain;
use io_oi_record::{Record, Signature, Signer, Statement, VerifyingKey};

use crate::corpus;

/// Returns what stands in the golden file, which is `text`.
fn compare(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.txt"));
    if std::env::var_os("IO_OI_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, text).expect("the golden folder is writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden, text, "{name}: the bytes of a format changed, see the top of golden.rs");
    golden
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// The value behind `name: ` in a golden file.
fn field<'a>(golden: &'a str, name: &str) -> &'a str {
    let line = golden.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {golden}"))
}

#[test]
fn every_noun_is_written_as_in_its_golden_file_and_read_from_it() {
    for example in corpus::all() {
        let text = format!("bytes: {}\n", hex(&example.bytes));
        let golden = compare(&format!("noun_{}", example.name), &text);
        let bytes = unhex(field(&golden, "bytes"));
        assert_eq!((example.reread)(&bytes), Ok(bytes.clone()), "{}", example.name);
    }
}

#[test]
fn no_golden_file_is_without_a_test() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut known: Vec<String> =
        corpus::all().iter().map(|example| format!("noun_{}.txt", example.name)).collect();
    known.extend(STATEMENTS.map(|name| format!("statement_{name}.txt")));
    known.extend(["hashes.txt".to_owned(), "wycheproof_ed25519.txt".to_owned()]);
    for entry in std::fs::read_dir(folder).expect("exists") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        assert!(known.contains(&name), "{name} is checked by no test");
    }
}

const STATEMENTS: [&str; 7] =
    ["block_header", "vote", "ballot", "ballot_grant", "governance", "genesis", "evidence"];

/// Signs, compares with the golden file, and checks the signature that stands in the file.
fn compare_statement<S: Statement>(name: &str, secret: u8, statement: &S) {
    assert!(STATEMENTS.contains(&name));
    let signer = Signer::from_secret(&[secret; 32]);
    let signed = statement.with_signed_bytes(hex);
    let text = format!(
        "secret: {}\npublic: {}\nkind: {}\nsigned: {signed}\nsignature: {}\n",
        hex(&[secret; 32]),
        signer.node(),
        S::KIND as u8,
        signer.sign(statement),
    );
    let golden = compare(&format!("statement_{name}"), &text);
    let signature: Signature = field(&golden, "signature").parse().expect("a signature");
    let key = VerifyingKey::new(&signer.node().0).expect("a proper key");
    assert_eq!(key.verify(statement, &signature), Ok(()));
}

#[test]
fn every_statement_is_signed_as_in_its_golden_file() {
    compare_statement("block_header", 1, &corpus::header());
    compare_statement("vote", 2, &corpus::vote());
    compare_statement("ballot", 1, &corpus::ballot());
    compare_statement("ballot_grant", 2, &corpus::ballot_grant());
    let (_, change) = corpus::changes().swap_remove(0);
    compare_statement("governance", 3, &corpus::governance(change));
    compare_statement("genesis", 3, &corpus::genesis());
    let (_, proof) = corpus::proofs().swap_remove(0);
    compare_statement("evidence", 2, &corpus::evidence(proof));
}

#[test]
fn every_hash_is_as_in_the_golden_file() {
    let (header, block) = corpus::block();
    let (_, change) = corpus::changes().swap_remove(0);
    let (_, proof) = corpus::proofs().swap_remove(0);
    let mut text = String::new();
    for (name, hash) in [
        ("record", corpus::records()[1].hash()),
        ("merkle root of four records", header.root),
        ("block header", header.hash()),
        ("governance", corpus::governance(change).hash()),
        ("evidence", corpus::evidence(proof).hash()),
        ("arbitrator", Domain::Arbitrator.hash(b"component")),
        ("arbitrator set", Domain::ArbitratorSet.hash(b"set")),
    ] {
        let _ = writeln!(text, "{name}: {hash}");
    }
    let _ = writeln!(text, "cluster: {}", corpus::genesis().cluster());
    compare("hashes", &text);
    let encoded = corpus::encoded_record(&corpus::records()[1]);
    assert_eq!(field(&text, "record"), Record::hash_encoded(&encoded).to_string());
    assert!(hex(&block).contains(field(&text, "merkle root of four records")));
}
