//! The policy says what it takes, to a few bytes, and after it was made it takes no more, whatever happens.

use io_oi_cache::{Admission, Config, EntryId, Epoch, Nanos, Newcomer, Policy, StandsFor};

const ENTRIES: u32 = 4_096;

fn policy(entries_expected: u32) -> Policy {
    let config = Config {
        entries_max: ENTRIES,
        entries_expected,
        bytes_max: u64::from(ENTRIES) * 64,
        prune_above_bytes: u64::from(ENTRIES) * 60,
        keep_epochs: 4,
        seed: 3,
    };
    Policy::new(&config).expect("these sizes fit each other")
}

#[test]
fn own_bytes_are_what_was_allocated() {
    for entries_expected in [1, 100, ENTRIES / 2, ENTRIES] {
        let mut made = None;
        let allocations = allocation_counter::measure(|| made = Some(policy(entries_expected)));
        let own_bytes = made.expect("made just now").stats().own_bytes as i64;
        assert_eq!(allocations.bytes_current, own_bytes, "{entries_expected}");
    }
}

#[test]
fn a_million_calls_allocate_nothing() {
    let mut policy = policy(ENTRIES);
    let mut free: Vec<u32> = (0..ENTRIES).collect();
    let mut went = 0;
    let allocations = allocation_counter::measure(|| {
        for call in 0..1_000_000_u64 {
            let word = call.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let entry = EntryId((word >> 40) as u32 % ENTRIES);
            if policy.tracked(entry).is_some() {
                policy.hit(entry, StandsFor::ONE);
            } else {
                let expires = (word & 3 == 0).then_some(Nanos(call + 50_000));
                let newcomer = Newcomer { hash: word, weight_bytes: 70, expires, is_written: word & 4 == 0 };
                let admission = policy.admit(entry, &newcomer, |_| went += 1);
                assert_ne!(admission, Admission::Full);
            }
            went += policy.expire(Nanos(call), 4, |_| {});
            policy.advance(Epoch(call / 10_000));
            went += policy.prune(1, |_| {});
        }
        free.clear();
    });
    assert_eq!(allocations.count_total, 0);
    assert!(went > 10_000, "{went}: nobody had to go, so nothing was shown");
}
