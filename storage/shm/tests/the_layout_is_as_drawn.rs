//! `LAYOUT.md` against the code: every word named there stands where the page says.

use io_oi_shm::layout::{self, counters, feed, hot, lane, ring};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../LAYOUT.md");

/// Name and byte offset of every row that starts with a constant's name.
fn drawn() -> BTreeMap<&'static str, usize> {
    let mut rows = BTreeMap::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next().unwrap().trim_matches('`');
        let offset = cells.next().unwrap().parse().unwrap_or_else(|_| panic!("no offset in: {line}"));
        assert!(rows.insert(name, offset).is_none(), "{name} is drawn twice");
    }
    rows
}

#[test]
fn every_word_stands_where_the_page_says() {
    let coded = [
        ("AT_MAGIC", layout::AT_MAGIC),
        ("AT_VERSION_AND_KIND", layout::AT_VERSION_AND_KIND),
        ("AT_BYTES", layout::AT_BYTES),
        ("AT_INCARNATION", layout::AT_INCARNATION),
        ("AT_SHARD", layout::AT_SHARD),
        ("AT_HEARTBEAT", layout::AT_HEARTBEAT),
        ("AT_PARKED", layout::AT_PARKED),
        ("AT_GEOMETRY", layout::AT_GEOMETRY),
        ("hot::AT_SLOTS", hot::AT_SLOTS),
        ("hot::AT_STASH_BUCKETS", hot::AT_STASH_BUCKETS),
        ("hot::AT_CELLS", hot::AT_CELLS),
        ("hot::AT_GRANULES", hot::AT_GRANULES),
        ("hot::AT_SEED", hot::AT_SEED),
        ("hot::AT_ENTRIES_MAX", hot::AT_ENTRIES_MAX),
        ("hot::AT_HOP_SLOTS", hot::AT_HOP_SLOTS),
        ("hot::AT_ENTRIES", hot::AT_ENTRIES),
        ("hot::AT_LARGE_USED_BYTES", hot::AT_LARGE_USED_BYTES),
        ("hot::SLOT_LOCK", hot::SLOT_LOCK),
        ("hot::SLOT_META", hot::SLOT_META),
        ("hot::SLOT_SEQUENCE", hot::SLOT_SEQUENCE),
        ("hot::SLOT_EPOCH_AND_LENGTH", hot::SLOT_EPOCH_AND_LENGTH),
        ("hot::SLOT_TIME", hot::SLOT_TIME),
        ("hot::SLOT_PAYLOAD", hot::SLOT_PAYLOAD),
        ("hot::SLOT_GRANULE", hot::SLOT_GRANULE),
        ("hot::CELL_FLAGS", hot::CELL_FLAGS),
        ("hot::CELL_LINKS", hot::CELL_LINKS),
        ("lane::AT_PROPOSAL_BYTES", lane::AT_PROPOSAL_BYTES),
        ("lane::AT_RECEIPT_BYTES", lane::AT_RECEIPT_BYTES),
        ("lane::AT_PROPOSAL_FRAME_BYTES_MAX", lane::AT_PROPOSAL_FRAME_BYTES_MAX),
        ("lane::AT_RECEIPT_FRAME_BYTES_MAX", lane::AT_RECEIPT_FRAME_BYTES_MAX),
        ("lane::AT_PROPOSAL_CONTROL", lane::AT_PROPOSAL_CONTROL),
        ("lane::AT_RECEIPT_CONTROL", lane::AT_RECEIPT_CONTROL),
        ("lane::AT_PINS", lane::AT_PINS),
        ("lane::AT_DATA", lane::AT_DATA),
        ("ring::AT_TAIL", ring::AT_TAIL),
        ("ring::AT_HEAD", ring::AT_HEAD),
        ("feed::AT_DATA_BYTES", feed::AT_DATA_BYTES),
        ("feed::AT_FRAME_BYTES_MAX", feed::AT_FRAME_BYTES_MAX),
        ("feed::AT_CLAIM", feed::AT_CLAIM),
        ("feed::AT_TAIL", feed::AT_TAIL),
        ("feed::AT_LAST", feed::AT_LAST),
        ("feed::AT_DATA", feed::AT_DATA),
        ("counters::AT_COUNT", counters::AT_COUNT),
        ("counters::AT_LEASE", counters::AT_LEASE),
        ("counters::AT_COUNTERS", counters::AT_COUNTERS),
    ];
    let coded: BTreeMap<_, _> = coded.into_iter().map(|(name, word)| (name, word * 8)).collect();
    assert_eq!(drawn(), coded);
}

#[test]
fn sizes_are_what_the_page_says() {
    assert!(
        PAGE.starts_with(&format!("# Layout of the shared segments, version {}\n", layout::LAYOUT_VERSION))
    );
    assert_eq!((layout::PAGE_BYTES, hot::SLOT_WORDS * 8, hot::HOP_SLOTS), (4096, 128, 32));
    assert_eq!((hot::PAYLOAD_WORDS * 8, hot::NEAR_KEY_BYTES_MAX, hot::GRANULE_BYTES), (88, 80, 64));
    assert_eq!((hot::LOCK_BITS, hot::LENGTH_BITS), (40, 25));
    assert_eq!((lane::PINS, ring::CONTROL_WORDS * 8), (64, 256));
    assert_eq!((ring::FRAME_HEADER_WORDS, feed::FRAME_HEADER_WORDS), (1, 2));
    assert_eq!((counters::COUNTER_WORDS * 8, counters::LABEL_BYTES_MAX, counters::COUNT_MAX), (64, 56, 4096));
    assert_eq!(layout::MAGIC.to_le_bytes(), *b"io_oi\0sm");
}

#[test]
fn a_table_takes_the_memory_that_the_page_accounts_for() {
    use io_oi_shm::hot::{Config, Writer};
    let config =
        Config { entries_max: 100_000, large_bytes_max: 1 << 20, versions_max: 1000, ..Config::default() };
    let (writer, _region) = Writer::plain(&config).unwrap();
    let accounted = 100_000.0 * (204.8 + 0.4) + (1 << 20) as f64 + 1000.0 * 128.0 + 12_288.0;
    let taken = writer.stats().segment_bytes as f64;
    assert!((taken - accounted).abs() < 8192.0, "{taken} taken, {accounted} accounted for");
}
