//! FORMAT.md draws what the program writes: every table adds up, and every drawn total is a real size.

use io_oi_record::certificate::CERTIFICATE_HEAD_BYTES;
use io_oi_record::component::SHIPMENT_HEAD_BYTES;
use io_oi_record::limits::RECEIPT_BYTES;
use io_oi_record::message::MESSAGE_HEAD_BYTES;
use io_oi_record::proposal::PROPOSAL_HEAD_BYTES;
use io_oi_record::published::PUBLISHED_HEAD_BYTES;
use io_oi_record::record::RECORD_HEAD_BYTES;
use io_oi_record::sign::PREAMBLE_BYTES;
use io_oi_record::statement::{BALLOT_BYTES, BALLOT_GRANT_BYTES, VOTE_BYTES};
use io_oi_record::{HEADER_BYTES, RefusalCode, Signature, genesis, governance};

const PAGE: &str = include_str!("../../FORMAT.md");

/// A section's title, the total that it names, and (offset, bytes) of each row.
struct Drawing {
    title: &'static str,
    total: usize,
    rows: Vec<(usize, usize)>,
}

fn drawings() -> Vec<Drawing> {
    PAGE.split("\n### ")
        .skip(1)
        .map(|section| {
            let (heading, body) = section.split_once('\n').expect("a heading is a line");
            let (title, size) = heading.split_once(": ").expect("a heading names its size");
            let total = size.split_whitespace().find_map(|word| word.parse().ok()).expect("a size in bytes");
            let numbers = |line: &str| {
                let mut cells = line.strip_prefix("| ")?.split(" | ");
                Some((cells.next()?.parse().ok()?, cells.next()?.parse().ok()?))
            };
            let section_end = body.find("\n## ").unwrap_or(body.len());
            Drawing { title, total, rows: body[..section_end].lines().filter_map(numbers).collect() }
        })
        .collect()
}

#[test]
fn every_table_adds_up_to_its_total() {
    for drawing in drawings() {
        let mut end = 0;
        for (offset, bytes) in &drawing.rows {
            assert_eq!(*offset, end, "{}: a row at {offset} does not follow the one before", drawing.title);
            end += bytes;
        }
        assert_eq!(end, drawing.total, "{}", drawing.title);
    }
}

#[test]
fn every_total_is_the_real_size() {
    let real = [
        ("Proposal", PROPOSAL_HEAD_BYTES),
        ("Record", RECORD_HEAD_BYTES),
        ("Block header", HEADER_BYTES),
        ("Receipt", RECEIPT_BYTES),
        ("Published record", PUBLISHED_HEAD_BYTES),
        ("Vote", VOTE_BYTES),
        ("Ballot", BALLOT_BYTES),
        ("Ballot grant", BALLOT_GRANT_BYTES),
        ("Quorum certificate", CERTIFICATE_HEAD_BYTES),
        // Kind, version and a signature.
        ("Signed governance record", 2 + Signature::BYTES),
        ("Governance record with its payload", SHIPMENT_HEAD_BYTES),
        ("Signed evidence", 2 + Signature::BYTES),
        ("Message", MESSAGE_HEAD_BYTES),
        ("Member", size_of::<genesis::ArchivedMember>()),
        ("Genesis", size_of::<genesis::ArchivedGenesis>()),
        ("Signed genesis", size_of::<genesis::ArchivedSignedGenesis>()),
        ("Governance record", size_of::<governance::ArchivedGovernance>()),
        // The evidence's root is private to its file and asserted there.
        ("Evidence", 587),
        // The proof's root is private to its file and asserted there.
        ("Proof of a record", 50),
        ("Hello", size_of::<io_oi_record::attach::ArchivedHello>()),
        ("Welcome", size_of::<io_oi_record::attach::ArchivedWelcome>()),
        ("Shard door", size_of::<io_oi_record::attach::ArchivedShardDoor>()),
        ("Refused", size_of::<io_oi_record::attach::ArchivedRefused>()),
        ("Inquiry", size_of::<io_oi_record::attach::ArchivedInquiry>()),
        ("Answer", size_of::<io_oi_record::attach::ArchivedAnswer>()),
        ("Preamble", PREAMBLE_BYTES),
    ];
    let drawn: Vec<_> = drawings().iter().map(|drawing| (drawing.title, drawing.total)).collect();
    assert_eq!(drawn, real);
}

#[test]
fn the_page_lists_every_refusal_code() {
    let page = PAGE.replace('\n', " ");
    for code in RefusalCode::ALL {
        let entry = format!("{} {}", code.to_code(), code.name());
        assert!(page.contains(&entry), "FORMAT.md misses `{entry}`");
    }
}
