//! What a node says about a log that is not as it left it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::{NodeProcess, get, put};

/// A killed node's directory with fifty committed puts.
fn used_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    for key in 0..50u64 {
        assert!(put(&mut client, &key.to_le_bytes(), &[7; 1000]).is_accepted());
    }
    node.kill();
    dir
}

fn first_segment(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.join("shard-0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "log")).unwrap()
}

/// Offset behind the last byte that is not zero.
fn written_bytes(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn write(path: &Path, bytes: &[u8], offset: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_damaged_middle_is_refused_with_segment_and_offset_and_left_alone() {
    let dir = used_directory();
    let segment = first_segment(dir.path());
    // The beginning of a sector is never padding.
    let middle = written_bytes(&segment) / 2 / 4096 * 4096;
    write(&segment, &[0xA5; 64], middle);
    let before = std::fs::read(&segment).unwrap();
    for _ in 0..2 {
        let refusal = NodeProcess::try_start(dir.path(), &[]).err().expect("it starts");
        assert!(refusal.contains("segment 0 is damaged at offset"), "{refusal}");
        assert!(refusal.contains("restore"), "{refusal}");
    }
    assert!(std::fs::read(&segment).unwrap() == before, "a refused log is not changed");
}

#[test]
fn a_torn_tail_is_cut_and_nothing_acknowledged_is_missed() {
    let dir = used_directory();
    let segment = first_segment(dir.path());
    let end = written_bytes(&segment).next_multiple_of(4096);
    // A batch that was being written when the power went: some of its bytes, no end.
    let torn: Vec<u8> = (0..3_000u32).map(|byte| (byte * 7 + 1) as u8).collect();
    write(&segment, &torn, end);
    let node = NodeProcess::start(dir.path(), &[]);
    let mut client = node.attach();
    for key in 0..50u64 {
        assert_eq!(get(&mut client, &key.to_le_bytes()), Some(vec![7; 1000]));
    }
    assert!(put(&mut client, b"after", b"v").is_accepted());
    node.kill();
    let node = NodeProcess::start(dir.path(), &[]);
    assert_eq!(get(&mut node.attach(), b"after").as_deref(), Some(&b"v"[..]));
    node.stop();
}

#[test]
fn a_format_of_another_release_is_named() {
    let dir = used_directory();
    write(&first_segment(dir.path()), &99u32.to_le_bytes(), 8); // The version, see the log's format page.
    let refusal = NodeProcess::try_start(dir.path(), &[]).err().expect("it starts");
    assert!(refusal.contains("version 99") && refusal.contains("release"), "{refusal}");
}

#[test]
fn a_missing_log_beside_a_genesis_is_a_new_log_only_when_it_never_was() {
    let dir = used_directory();
    std::fs::remove_file(dir.path().join("genesis")).unwrap();
    let refusal = NodeProcess::try_start(dir.path(), &[]).err().expect("it starts");
    assert!(refusal.contains("genesis is missing"), "{refusal}");
}

#[test]
fn the_log_of_another_cluster_is_refused() {
    let (one, other) = (used_directory(), used_directory());
    std::fs::copy(first_segment(one.path()), first_segment(other.path())).unwrap();
    let refusal = NodeProcess::try_start(other.path(), &[]).err().expect("it starts");
    assert!(refusal.contains("another cluster"), "{refusal}");
}
